// The unique ids of this process whose ranks have met: their addresses no longer answer, and only this process knows
// why.
#pragma once

#include "bytes.h"

namespace tutti {

// Thread-safe.  Ids are known by their secrets; of very many, the oldest are forgotten.
void note_used_id(const Secret& secret);
bool is_used_id(const Secret& secret);

}  // namespace tutti

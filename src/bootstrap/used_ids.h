// Which unique ids this process has made whose ranks have met: the id's addresses no longer answer, and only this process knows
// why.
#pragma once

#include "bytes.h"

namespace tutti {

// Thread-safe.  Ids are known by their secrets; of very many, the oldest are forgotten.
void note_used_id(const Secret& secret);
bool is_used_id(const Secret& secret);

}  // namespace tutti

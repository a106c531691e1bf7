#include "link_forms.h"

namespace tutti {

Link::~Link() = default;

}  // namespace tutti

#include "link_conformance.h"
#include "shm_world.h"

namespace tutti {
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, LinkConformance, testing::Types<ShmWorld>);
}  // namespace tutti

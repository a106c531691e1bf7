#include "arena_world.h"
#include "link_conformance.h"

namespace tutti {
INSTANTIATE_TYPED_TEST_SUITE_P(Memory, LinkConformance, testing::Types<MemoryWorld>);
}  // namespace tutti

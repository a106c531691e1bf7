#include "link_conformance.h"
#include "ucx_world.h"

namespace tutti {
using UcxWorlds = testing::Types<UcxWorld, UcxWorldOfSharedMemory, UcxWorldOfVerbs>;
INSTANTIATE_TYPED_TEST_SUITE_P(Ucx, LinkConformance, UcxWorlds);
}  // namespace tutti

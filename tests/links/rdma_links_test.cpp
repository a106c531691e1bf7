// The conformance suite over queue pairs.
#include "link_conformance.h"
#include "rdma_world.h"

namespace tutti {

using RdmaWorlds = testing::Types<RdmaWorld, MoodyRdmaWorld>;
INSTANTIATE_TYPED_TEST_SUITE_P(Rdma, LinkConformance, RdmaWorlds);

}  // namespace tutti

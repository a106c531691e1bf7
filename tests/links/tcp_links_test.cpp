#include "link_conformance.h"
#include "tcp_world.h"

namespace tutti {
using TcpWorlds = testing::Types<TcpWorld, TcpWorldOfThree, TcpWorldV6, TcpWorldTight>;
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, LinkConformance, TcpWorlds);
}  // namespace tutti

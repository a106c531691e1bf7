// The rows of the registry, in order of preference.  A kind that is not built keeps its name, so that messages can
// say so.
#include "registry.h"

#include <algorithm>

#include "built_transports.h"

namespace tutti {

namespace memory {
TransportKind kind();
}
namespace shm {
TransportKind kind();
}
namespace rdma {
TransportKind kind();
}
namespace tcp {
TransportKind kind();
}
namespace ucx {
TransportKind kind();
}

namespace {

std::vector<TransportKind> rows() {
  return {
      memory::kind(),
#if TUTTI_HAVE_SHM
      shm::kind(),
#else
      {.name = "shm"},
#endif
#if TUTTI_HAVE_RDMA
      rdma::kind(),
#else
      {.name = "rdma"},
#endif
#if TUTTI_HAVE_TCP
      tcp::kind(),
#else
      {.name = "tcp", .everywhere = true},
#endif
#if TUTTI_HAVE_UCX
      ucx::kind(),
#else
      {.name = "ucx", .everywhere = true},
#endif
  };
}

std::vector<TransportKind>& kinds() {
  static std::vector<TransportKind> all = rows();
  return all;
}

}  // namespace

std::span<const TransportKind> transport_kinds() { return kinds(); }

std::vector<std::string_view> transport_names() {
  std::vector<std::string_view> names;
  for (const TransportKind& kind : kinds()) names.push_back(kind.name);
  return names;
}

void add_transport_kind(const TransportKind& kind) { kinds().push_back(kind); }

}  // namespace tutti

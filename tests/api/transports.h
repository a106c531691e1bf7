// The transports that suites run over.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sanitized.h"

namespace tutti::test {

// Why a transport cannot be had here; "": it can.
inline std::string lacks(std::string_view transport) {
  if (transport.find("ucx") == std::string_view::npos) return "";
  if (!TUTTI_TEST_HAS_UCX) return "this build has no ucx";
  if (kSanitized) return "UCX is not instrumented, and sanitizers cannot follow threads and memory through it";
  static void* const library = ::dlopen("libucp.so.0", RTLD_NOW | RTLD_NODELETE);
  return library ? "" : "libucp.so.0 cannot be loaded";
}

// These, and rdma on hosts that have it, as tests/rdma makes one.
inline std::vector<const char*> with_rdma(std::vector<const char*> transports) {
  std::error_code none;
  if (std::filesystem::exists("/sys/class/infiniband", none) && !std::filesystem::is_empty("/sys/class/infiniband", none))
    transports.push_back("rdma");
  return transports;
}

}  // namespace tutti::test

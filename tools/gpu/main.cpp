// gpu_facts: what a device and its driver do, as far as the design of src/cuda depends on it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "facts.h"

int main(int argc, char** argv) {
  using namespace tutti::gpu;
  const std::map<std::string, void (*)(const Session&, Findings&)> parts{
      {"device", find_device},       {"memory", find_memory},       {"rates", find_rates},
      {"processes", find_processes}, {"yardstick", find_yardstick}, {"calls", find_calls}};
  const bool is_peer = argc == 3 && std::strcmp(argv[1], "peer") == 0;
  if (!is_peer && (argc != 4 || !parts.contains(argv[1]))) {
    std::fprintf(stderr,
                 "usage: gpu_facts device|memory|rates|processes|yardstick|calls PROBES.fatbin RESULTS.jsonl\n"
                 "CUDA_TEST_LIBRARY names the driver's library (libcuda.so.1)\n");
    return 2;
  }
  const char* library = std::getenv("CUDA_TEST_LIBRARY");
  Findings findings(is_peer ? "/dev/null" : argv[3]);
  try {
    const Session session(library ? library : tutti::cuda::kDriverLibrary, argv[2]);
    if (is_peer) return be_peer(session);
    parts.at(argv[1])(session, findings);
  } catch (const std::exception& error) {
    findings.failed(argv[1], error.what());
  }
  if (is_peer) return 1;
  return findings.all_found() ? 0 : 1;
}

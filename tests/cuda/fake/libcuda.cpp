// libcuda.so.1 for tests without a device.  It keeps what the driver promises and no more: streams go their own way,
// memory is not cleared, and calls that may wait for the device do so.  What a real driver answers the same tests find
// out on a machine that has one (tests/cuda/README.md).
#include "entries.h"

using tutti::cuda::Error;

namespace fake_cuda {
namespace {

const std::vector<Row>& all_rows() {
  static const auto* const all = [] {
    auto* rows = new std::vector<Row>;  // never destroyed
    for (const auto& some : {device_rows(), memory_rows(), stream_rows(), graph_rows(), kernel_rows()})
      rows->insert(rows->end(), some.begin(), some.end());
    return rows;
  }();
  return *all;
}

}  // namespace
}  // namespace fake_cuda

extern "C" {

__attribute__((visibility("default"))) Error cuDriverGetVersion(int* version) {
  *version = fake_cuda::moods().version;
  return Error::success;
}

__attribute__((visibility("default"))) Error cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t,
                                                                 int* found) {
  constexpr int kNoSymbol = 1, kTooOld = 2;
  *function = nullptr;
  *found = kNoSymbol;
  for (const fake_cuda::Row& row : fake_cuda::all_rows()) {
    if (row.name != name) continue;
    *found = row.since <= fake_cuda::moods().version && row.since <= version ? 0 : kTooOld;
    if (*found == 0) *function = row.function;
  }
  return *found == kNoSymbol ? Error::not_found : Error::success;
}

// Not of the driver: how tests change moods, and count calls.
__attribute__((visibility("default"))) void fake_cuda_mood(const char* moods) { fake_cuda::set_moods(moods); }
// How often a function has been called; 0 of one that there is not.
__attribute__((visibility("default"))) uint64_t fake_cuda_calls(const char* name) {
  for (const fake_cuda::Row& row : fake_cuda::all_rows())
    if (row.name == name) return row.calls->load(std::memory_order_relaxed);
  return 0;
}
}

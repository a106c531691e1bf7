// Any bytes from a UCX worker or a store: headers and addresses are read whole and exactly, or not at all.
#include <cstdint>
#include <cstring>
#include <string_view>

#include "fuzz_check.h"
#include "ucx_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti::ucx;
  if (const auto header = decode_header({reinterpret_cast<const std::byte*>(data), size})) {
    FUZZ_CHECK(std::memcmp(&*header, data, size) == 0);
    const Terms terms{header->secret, 5, 9};
    FUZZ_CHECK(objection(*header, terms).empty() == (header->rank < 9 && header->rank != 5));
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto address = parse_address(text); address.ok()) {
    FUZZ_CHECK(address->worker.size() <= kLongestWorkerAddress);
    FUZZ_CHECK(to_text(*address) == text);
  } else {
    FUZZ_CHECK(!address.status().message().empty());
  }
  return 0;
}

// Any bytes from a queue pair or the socket where its ends meet: read whole and exactly, or not at all.
#include <cstdint>
#include <cstring>

#include "fuzz_check.h"
#include "rdma_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti::rdma;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const auto address = decode_end_address(bytes)) {
    FUZZ_CHECK(std::memcmp(&*address, data, size) == 0);
    FUZZ_CHECK(address->mtu >= 1 && address->mtu <= 5 && address->queue_pair < 1 << 24 && address->landing[0] != 0);
  }
  if (const auto frame = decode_frame(bytes)) {
    FUZZ_CHECK(std::memcmp(&*frame, data, sizeof *frame) == 0);
    FUZZ_CHECK(frame->returned <= kMostLanding);
    const size_t follows = frame->kind == Frame::Kind::message && frame->place == 0 ? frame->bytes : 0;
    FUZZ_CHECK(sizeof *frame + follows == size);
  }
  return 0;
}

// The first two bytes pick a codec and a length, the rest is a packet of it: decoded to numbers of which none is
// infinite, or refused.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fuzz_check.h"
#include "spec.h"

namespace {

std::unique_ptr<const tutti::Codec> codec(uint8_t choice) {
  using namespace tutti;
  constexpr const char* kSpecs[] = {"fp16", "bf16",          "fp8_e4m3",      "fp8_e5m2",
                                    "int8", "int4",          "int2",          "int4:range=minmax",
                                    "sign", "int4:levels=5", "int8:group=32", "sign:group=32"};
  return make_codec(*parse_codec(kSpecs[choice % std::size(kSpecs)]));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  if (size < 2) return 0;
  const auto chosen = codec(data[0]);
  const size_t n = 1 + data[1] * 5u % chosen->chunk();
  std::vector<uint32_t> packet(chosen->packet_bytes(n, 0) /
                               4);  // of this size exactly: AddressSanitizer sees what is read behind it
  std::memcpy(packet.data(), data + 2, std::min(size - 2, 4 * packet.size()));
  std::vector<float> out(n), add(n, 1);
  const auto* bytes = reinterpret_cast<const std::byte*>(packet.data());
  const Status status = chosen->decode(bytes, n, {}, {out.data()});
  FUZZ_CHECK(status.ok() == chosen->decode(bytes, n, {}, {add.data(), add.data(), 3}).ok());
  if (!status.ok()) {
    FUZZ_CHECK(!status.message().empty());
    return 0;
  }
  for (const float number : out) FUZZ_CHECK(packet[0] == 0 ? std::isfinite(number) : std::isnan(number));
  return 0;
}

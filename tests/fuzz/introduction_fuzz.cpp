// Any bytes in the place of a rank's introduction: what is accepted is within bounds and would be written the same; the name of its unix
// socket fits into an address of one.
#include "introduction.h"

#include <sys/un.h>

#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto introduction = decode_introduction(bytes, 3);
  if (!introduction.ok()) {
    FUZZ_CHECK(introduction.status().message().starts_with("rank 3 ") && introduction.status().message().size() < 200);
    return 0;
  }
  const Introduction& i = *introduction;
  FUZZ_CHECK(!i.host_id.empty() && i.host_id.size() <= 132 && i.host.size() <= 255 && std::to_string(i.pid).size() <= 10);
  FUZZ_CHECK(i.handoff.size() < sizeof(sockaddr_un::sun_path) && i.handoff_secret.size() <= 32 && i.cores.size() <= 16 << 10);
  FUZZ_CHECK(i.place.size() <= 64 && i.wire.size() <= kLongestWireSettings && i.user <= UINT32_MAX);
  const auto again = decode_introduction(encode(i), 3);  // numbers may have had leading zeros
  FUZZ_CHECK(again.ok() && encode(*again) == encode(i));
  return 0;
}

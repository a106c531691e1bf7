// Any bytes in the place of a listener's address in the control tree: it is an address, or there is a printable
// sentence that says why not.
#include <cstdint>
#include <string_view>

#include "bytes.h"
#include "fuzz_check.h"
#include "listener_address.h"
#include "net_address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const ListenerAddress listener = decode_listener_address({reinterpret_cast<const char*>(data), size});
  const std::string& why = listener.status.message();
  FUZZ_CHECK(listener.status.ok() == why.empty() && why.size() <= kLongestSentence && printable(why) == why);
  FUZZ_CHECK(listener.address.size() <= 128);
  FUZZ_CHECK(listener.address.empty() || SocketAddress::parse(listener.address).ok());
  const ListenerAddress again = decode_listener_address(encode(listener));
  FUZZ_CHECK(encode(again) == encode(listener));
  return 0;
}

// Any text: an address is read and written back the same, or refused with a sentence.  TUTTI_INTERFACE chooses or
// refuses.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "net_address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto address = SocketAddress::parse(text, 7); address.ok()) {
    const auto again = SocketAddress::parse(address->to_string());
    FUZZ_CHECK(again.ok() && *again == *address);
  } else {
    FUZZ_CHECK(!address.status().message().empty());
  }
  if (const auto parts = parse_host_port(text); parts.ok()) FUZZ_CHECK(!parts->host.empty() && parts->port > 0);

  std::vector<Interface> interfaces(3);
  interfaces[0] = {"lo", true, true, *SocketAddress::parse("127.0.0.1")};
  interfaces[1] = {"eth0", true, false, *SocketAddress::parse("10.0.0.1")};
  interfaces[2] = {"docker0", false, false, *SocketAddress::parse("172.17.0.1")};
  if (const auto local = choose_local_address(text, std::nullopt, interfaces); local.ok())
    FUZZ_CHECK(local->interface == "lo" || local->interface == "eth0");
  return 0;
}

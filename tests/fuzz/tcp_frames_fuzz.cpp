// Any bytes from a socket or a store: hellos, headers and endpoints are read whole and exactly, or not at all.
#include <cstdint>
#include <cstring>
#include <string_view>

#include "fuzz_check.h"
#include "tcp_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti::tcp;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const auto hello = decode_hello(bytes)) {
    FUZZ_CHECK(std::memcmp(&*hello, data, size) == 0);
    for (size_t n = 0; n <= size; ++n) FUZZ_CHECK(may_become_hello(bytes.first(n)));
    const Terms terms{hello->context, hello->secret, 5, 2};
    FUZZ_CHECK(objection(*hello, terms).empty() == (hello->rank >= 0 && hello->rank < 5 && hello->connection < 2));
  }
  if (const auto header = decode_header(bytes)) FUZZ_CHECK(std::memcmp(&*header, data, size) == 0);
  if (size >= 8 && !may_become_hello(bytes)) FUZZ_CHECK(!decode_hello(bytes));

  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto endpoint = parse_endpoint(text); endpoint.ok()) {
    const auto again = parse_endpoint(to_text(*endpoint));
    FUZZ_CHECK(again.ok() && again->address == endpoint->address && again->secret == endpoint->secret);
  } else {
    FUZZ_CHECK(!endpoint.status().message().empty());
  }
  return 0;
}

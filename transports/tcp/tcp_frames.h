// The frames of a TCP connection, and the text by which a rank is found.  Pure functions of untrusted bytes.
//
//   connection: Hello (from the rank that connected, once), then in each direction messages
//   message:    Header, then Header::length bytes of payload
//
// Everything is little endian, as it lies in memory.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bytes.h"
#include "net_address.h"
#include "vocabulary.h"

namespace tutti::tcp {

static_assert(std::endian::native == std::endian::little, "frames and signatures are sent as they lie in memory");

inline constexpr uint32_t kHelloMagic = 0x68747554;   // "Tuth"
inline constexpr uint32_t kHeaderMagic = 0x6d747554;  // "Tutm"
inline constexpr uint32_t kVersion = 1;               // of Hello and Header; the signature has its own

struct Hello {
  uint32_t magic = kHelloMagic;
  uint32_t version = kVersion;
  uint64_t context = 0;     // which communicator
  Secret secret{};          // of the rank that listens
  int32_t rank = -1;        // of the rank that connects
  uint32_t connection = 0;  // which one of the link's
};
static_assert(sizeof(Hello) == 40);

struct Header {
  uint32_t magic = kHeaderMagic;
  uint32_t length = 0;  // of the payload, in bytes
  Signature signature;
};
static_assert(sizeof(Header) == 40);

// None unless it is a whole hello of our version.
std::optional<Hello> decode_hello(std::span<const std::byte> bytes);
std::optional<Header> decode_header(std::span<const std::byte> bytes);  // none unless it is a whole header
bool may_become_hello(std::span<const std::byte> beginning);            // knows noise by its first bytes

// The demands of a listener on a hello.
struct Terms {
  uint64_t context = 0;
  Secret secret{};
  int rank = 0;              // of the listener; only lower ranks connect to it
  uint32_t connections = 1;  // of each link
};
std::string_view objection(const Hello& hello, const Terms& terms);  // why the hello is refused; empty if it is not

// Where a rank listens, and its secret: "10.0.0.1:40001/00112233445566778899aabbccddeeff".
struct Endpoint {
  SocketAddress address;
  Secret secret{};
};
std::string to_text(const Endpoint& endpoint);
Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace tutti::tcp

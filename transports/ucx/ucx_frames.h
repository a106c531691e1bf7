// What travels between two ranks over UCX, and the text by which a rank is found.  Pure functions of untrusted bytes.
//
// Each message is an active message: a Header, and the payload, whose length UCX tells.  UCX may deliver messages in
// another order than they were sent in, so they carry numbers.  It is also the word of what has arrived: a Header
// without payload.  Everything is little endian, as it lies in memory.
//
// The secret keeps out strangers that speak UCX's protocol.  UCX itself believes what reaches its sockets, and the
// addresses of ranks, so it belongs on networks whose hosts trust each other.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bytes.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti::ucx {

static_assert(std::endian::native == std::endian::little, "headers and signatures are sent as they lie in memory");

// The messages of a link's direction that may be under way: sent, and not known to be received.  This bounds what a
// receiver that is late has to keep; plans may count on one for each lane (TUTTI_LANES).
inline constexpr uint32_t kWindow = 64;

inline constexpr uint32_t kHeaderMagic = 0x75747554;  // "Tutu"

enum class Kind : uint8_t {
  message,
  word,  // tells only what was received
};

struct Header {
  uint32_t magic = kHeaderMagic;
  uint16_t rank = 0;  // of the sender
  LinkUse use = LinkUse::collectives;
  Kind kind = Kind::message;
  uint32_t number = 0;    // of this message in its direction of the link, modulo 2^32
  uint32_t received = 0;  // messages of the other direction so far, modulo 2^32
  Secret secret{};        // of the rank that receives
  Signature signature;
};
static_assert(sizeof(Header) == 64);

// None unless it is a whole header whose fields have values.
std::optional<Header> decode_header(std::span<const std::byte> bytes);

// The demands of a rank on a header.
struct Terms {
  Secret secret{};
  int rank = 0;  // of the receiver
  int size = 1;
};
std::string_view objection(const Header& header, const Terms& terms);  // why it is ignored; empty if it is not

// Where a rank is found, and its secret: "0123…/00112233445566778899aabbccddeeff", both in hexadecimal digits.
struct Address {
  std::string worker;  // as UCX wrote it
  Secret secret{};
};
inline constexpr size_t kLongestWorkerAddress = 16 << 10;  // bytes
std::string to_text(const Address& address);
Result<Address> parse_address(std::string_view text);

}  // namespace tutti::ucx

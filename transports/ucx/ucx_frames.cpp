#include "ucx_frames.h"

#include <cstring>

#include "words.h"

namespace tutti::ucx {

std::optional<Header> decode_header(std::span<const std::byte> bytes) {
  if (bytes.size() != sizeof(Header)) return std::nullopt;
  Header header;
  std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
  if (header.magic != kHeaderMagic || static_cast<size_t>(header.use) >= kLinkUses || header.kind > Kind::word) return std::nullopt;
  return header;
}

std::string_view objection(const Header& header, const Terms& terms) {
  if (header.secret != terms.secret) return "it does not know this rank's secret";
  if (header.rank >= terms.size || header.rank == terms.rank) return "it names a rank that has no reason to send it";
  return {};
}

std::string to_text(const Address& address) {
  return to_hex(std::span(reinterpret_cast<const unsigned char*>(address.worker.data()), address.worker.size())) + '/' +
         address.secret.hex();
}

Result<Address> parse_address(std::string_view text) {
  const Status bad(Code::invalid_argument, in_quotes(text) + " is no UCX address; expected hexadecimal digits/32 of them");
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash % 2 != 0 || slash > 2 * kLongestWorkerAddress) return bad;
  const auto secret = Secret::from_hex(text.substr(slash + 1));
  if (!secret) return bad;
  Address address{{}, *secret};
  address.worker.reserve(slash / 2);
  for (size_t at = 0; at < slash; at += 2) {
    const int high = hex_value(text[at]), low = hex_value(text[at + 1]);
    if (high < 0 || low < 0) return bad;
    address.worker.push_back(static_cast<char>(high << 4 | low));
  }
  return address;
}

}  // namespace tutti::ucx

#include "tcp_frames.h"

#include <algorithm>
#include <cstring>

#include "words.h"

namespace tutti::tcp {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

template <class Frame>
std::optional<Frame> whole_frame(std::span<const std::byte> bytes) {
  if (bytes.size() != sizeof(Frame)) return std::nullopt;
  Frame frame;
  std::memcpy(static_cast<void*>(&frame), bytes.data(), sizeof frame);
  return frame;
}

// Takes the same time wherever the first difference is.
bool same(const Secret& a, const Secret& b) {
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

std::optional<Secret> parse_secret(std::string_view text) {
  Secret secret{};
  if (text.size() != 2 * secret.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t digit = kHexDigits.find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    secret[i / 2] = static_cast<uint8_t>(secret[i / 2] * 16u + digit);
  }
  return secret;
}

}  // namespace

std::optional<Hello> decode_hello(std::span<const std::byte> bytes) {
  const auto hello = whole_frame<Hello>(bytes);
  if (!hello || hello->magic != kHelloMagic || hello->version != kVersion) return std::nullopt;
  return hello;
}

std::optional<Header> decode_header(std::span<const std::byte> bytes) {
  const auto header = whole_frame<Header>(bytes);
  if (!header || header->magic != kHeaderMagic) return std::nullopt;
  return header;
}

bool may_become_hello(std::span<const std::byte> beginning) {
  static constexpr uint32_t kStart[2] = {kHelloMagic, kVersion};
  const auto known = beginning.first(std::min(beginning.size(), sizeof kStart));
  return std::equal(known.begin(), known.end(), std::as_bytes(std::span(kStart)).begin());
}

std::string_view objection(const Hello& hello, const Terms& terms) {
  if (!same(hello.secret, terms.secret)) return "it does not know this rank's secret";
  if (hello.context != terms.context) return "it belongs to another communicator";
  if (hello.rank < 0 || hello.rank >= terms.rank) return "it names a rank that has no reason to connect";
  if (hello.connection >= terms.connections) return "it wants more connections than were agreed";
  return {};
}

std::string to_text(const Endpoint& endpoint) {
  std::string text = endpoint.address.to_string() + '/';
  for (const uint8_t byte : endpoint.secret) {
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
  return text;
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  const size_t slash = text.rfind('/');
  const auto secret = parse_secret(slash == std::string_view::npos ? "" : text.substr(slash + 1));
  if (!secret) return Status(Code::invalid_argument, in_quotes(text) + " is no TCP endpoint; expected address:port/32 hex digits");
  auto address = SocketAddress::parse(text.substr(0, slash));
  if (!address.ok()) return address.status();
  if (address->port() == 0) return Status(Code::invalid_argument, in_quotes(text) + " is no TCP endpoint: the port is missing");
  return Endpoint{*address, *secret};
}

}  // namespace tutti::tcp

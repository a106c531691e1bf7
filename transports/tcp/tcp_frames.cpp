#include "tcp_frames.h"

#include <algorithm>
#include <cstring>

#include "words.h"

namespace tutti::tcp {
namespace {

template <class Frame>
std::optional<Frame> whole_frame(std::span<const std::byte> bytes) {
  if (bytes.size() != sizeof(Frame)) return std::nullopt;
  Frame frame;
  std::memcpy(static_cast<void*>(&frame), bytes.data(), sizeof frame);
  return frame;
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
  if (hello.secret != terms.secret) return "it does not know this rank's secret";
  if (hello.context != terms.context) return "it belongs to another communicator";
  if (hello.rank < 0 || hello.rank >= terms.rank) return "it names a rank that has no reason to connect";
  if (hello.connection >= terms.connections) return "it wants more connections than were agreed";
  return {};
}

std::string to_text(const Endpoint& endpoint) { return endpoint.address.to_string() + '/' + endpoint.secret.hex(); }

Result<Endpoint> parse_endpoint(std::string_view text) {
  const size_t slash = text.rfind('/');
  const auto secret = Secret::from_hex(slash == std::string_view::npos ? "" : text.substr(slash + 1));
  if (!secret) return Status(Code::invalid_argument, in_quotes(text) + " is no TCP endpoint; expected address:port/32 hex digits");
  auto address = SocketAddress::parse(text.substr(0, slash));
  if (!address.ok()) return address.status();
  if (address->port() == 0) return Status(Code::invalid_argument, in_quotes(text) + " is no TCP endpoint: the port is missing");
  return Endpoint{*address, *secret};
}

}  // namespace tutti::tcp

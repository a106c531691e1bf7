#include "listener_address.h"

#include "bytes.h"
#include "net_address.h"

namespace tutti {
namespace {

constexpr size_t kLongestAddress = 128;  // as text

ListenerAddress refused(std::string why) {
  ListenerAddress listener;
  listener.status = Status(Code::unreachable, std::move(why));
  return listener;
}

}  // namespace

std::string encode(const ListenerAddress& listener) {
  ByteWriter writer;
  writer.text(listener.status.ok() ? "1" : "0");
  for (const unsigned char byte : listener.secret) writer.number(byte);
  const std::string& text = listener.status.ok() ? listener.address : listener.status.message();
  writer.text(std::string_view(text).substr(0, kLongestSentence));
  return writer.take();
}

ListenerAddress decode_listener_address(std::string_view bytes) {
  ByteReader reader(bytes);
  const std::string_view verdict = reader.text(1);
  ListenerAddress listener;
  for (unsigned char& byte : listener.secret) byte = reader.number<unsigned char>();
  const std::string_view text = reader.text(reader.rest().size());
  const bool known = reader.ok() && (verdict == "0" || verdict == "1");
  if (!known || text.size() > kLongestSentence || (verdict == "0" && text.empty())) return refused("it sent something unreadable");
  if (verdict == "0") return refused(printable(text));
  if (text.size() > kLongestAddress || (!text.empty() && !SocketAddress::parse(text).ok()))
    return refused("it sent an address that is none");
  listener.address = text;
  return listener;
}

}  // namespace tutti

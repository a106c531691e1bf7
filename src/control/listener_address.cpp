#include "listener_address.h"

#include "net_address.h"

namespace tutti {
namespace {

constexpr char kListens = '1', kRefuses = '0';
constexpr size_t kLongestAddress = 128;  // as text

ListenerAddress refused(std::string why) {
  ListenerAddress listener;
  listener.status = Status(Code::unreachable, std::move(why));
  return listener;
}

}  // namespace

std::string encode(const ListenerAddress& listener) {
  const std::string& text = listener.status.ok() ? listener.address : listener.status.message();
  ByteWriter writer;
  writer(listener.status.ok() ? kListens : kRefuses, listener.secret);
  writer.sentence(text, kLongestSentence);
  return writer.take();
}

ListenerAddress decode_listener_address(std::string_view bytes) {
  ByteReader reader(bytes);
  ListenerAddress listener;
  char verdict;
  std::string text;
  reader(verdict, listener.secret);
  reader.sentence(text, kLongestSentence);
  const bool listens = verdict == kListens;
  if (!reader.ok() || (!listens && (verdict != kRefuses || text.empty()))) return refused("it sent something unreadable");
  if (!listens) return refused(std::move(text));
  if (text.size() > kLongestAddress || (!text.empty() && !SocketAddress::parse(text).ok()))
    return refused("it sent an address that is none");
  listener.address = std::move(text);
  return listener;
}

}  // namespace tutti

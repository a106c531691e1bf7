// Any bytes from a socket, a file or a store: a rendezvous reads them within its bounds, and what it reads it would
// write the same.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "rendezvous.h"

namespace tutti {
namespace {

void read_request(std::string_view bytes) {
  RendezvousRequest request;
  size_t used = 0;
  std::string flaw;
  const Decoding decoding = decode(bytes, request, used, flaw);
  FUZZ_CHECK((decoding == Decoding::malformed) == !flaw.empty());
  if (decoding == Decoding::incomplete) FUZZ_CHECK(bytes.size() < kLongestRequest);
  if (decoding != Decoding::complete) return;
  FUZZ_CHECK(used <= bytes.size());
  if (request.version != kRendezvousVersion) return;
  FUZZ_CHECK(request.rank < request.size && request.size <= kMostRanks);
  FUZZ_CHECK(encode(request) == bytes.substr(0, used));
  for (size_t cut = 0; cut < used && cut < 256; ++cut)
    FUZZ_CHECK(decode(bytes.substr(0, cut), request, used, flaw) == Decoding::incomplete);
}

void read_reply(std::string_view bytes, uint32_t size) {
  RendezvousReply reply;
  size_t used = 0;
  std::string flaw;
  const Decoding decoding = decode(bytes, size, reply, used, flaw);
  FUZZ_CHECK((decoding == Decoding::malformed) == !flaw.empty());
  if (decoding != Decoding::complete) return;
  FUZZ_CHECK(used <= bytes.size());
  FUZZ_CHECK(reply.blobs.size() == (reply.kind == ReplyKind::blobs ? size : 0));
  FUZZ_CHECK(reply.status.ok() == (reply.kind != ReplyKind::failure));
  const std::string again = encode(reply);
  if (reply.kind == ReplyKind::blobs) FUZZ_CHECK(again == bytes.substr(0, used));
  FUZZ_CHECK(again.size() == used && printable(reply.text) == reply.text);
}

void read_greeting(std::string_view bytes) {
  RendezvousGreeting greeting;
  size_t used = 0;
  std::string flaw;
  const Decoding decoding = decode(bytes, greeting, used, flaw);
  FUZZ_CHECK((decoding == Decoding::malformed) == !flaw.empty());
  if (decoding == Decoding::incomplete) FUZZ_CHECK(bytes.size() < kGreeting);
  if (decoding == Decoding::complete) FUZZ_CHECK(used == kGreeting && encode(greeting) == bytes.substr(0, used));
}

void read_point(std::string_view text) {
  const auto point = decode_rendezvous_point(text);
  if (!point.ok()) return;
  FUZZ_CHECK(!point->addresses.empty());
  const auto again = decode_rendezvous_point(encode(*point));
  FUZZ_CHECK(again.ok() && again->secret == point->secret && again->addresses == point->addresses);
}

}  // namespace
}  // namespace tutti

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  tutti::read_greeting(bytes);
  tutti::read_request(bytes);
  for (const uint32_t ranks : {1u, 3u, tutti::kMostRanks}) tutti::read_reply(bytes, ranks);
  tutti::read_point(bytes);
  return 0;
}

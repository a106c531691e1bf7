#include "rendezvous_frames.h"

#include <algorithm>
#include <utility>

namespace tutti {
namespace {

constexpr uint32_t kRequestMagic = 0x714d7554;   // "TuMq"
constexpr uint32_t kReplyMagic = 0x724d7554;     // "TuMr"
constexpr uint32_t kGreetingMagic = 0x674d7554;  // "TuMg"
constexpr size_t kFixedHead = 6;                 // magic and version
constexpr uint32_t kAdmittedRound = 0xfffffffe, kEndedRound = 0xffffffff;
constexpr auto kNotTutti = "what answers there is not a rendezvous of Tutti";

Decoding malformed(std::string& flaw, std::string why) {
  flaw = std::move(why);
  return Decoding::malformed;
}

// A frame's first bytes are compared as they come, so that the first wrong one already shows another protocol.
bool begins_like(std::string_view bytes, uint32_t magic) {
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), sizeof magic); ++i)
    if (static_cast<unsigned char>(bytes[i]) != static_cast<unsigned char>(magic >> (8 * i))) return false;
  return true;
}

// A request's name and blob come behind its head.
struct Lengths {
  uint16_t name = 0;
  uint32_t blob = 0;
};

// After magic and version.
template <class Bytes, class Request, class Behind>
void fields(Bytes& bytes, Request& request, Behind& lengths) {
  bytes(request.kind, request.secret, request.rank, request.size, request.round, request.patience_ms, request.code);
  bytes.constant(uint8_t{0});
  bytes(lengths.name, lengths.blob);
}

struct ReplyHead {
  uint16_t version = 0, code = 0;
  uint32_t round = 0, count = 0;
  uint64_t length = 0;  // of the body
};

template <class Bytes, class Head>
void fields(Bytes& bytes, Head& head) {
  bytes.constant(kReplyMagic);
  bytes(head.version, head.code, head.round, head.count, head.length);
}

}  // namespace

std::string encode(const RendezvousGreeting& greeting) {
  ByteWriter writer;
  writer.constant(kGreetingMagic);
  writer(greeting.version);
  return writer.take();
}

std::string encode(const RendezvousRequest& request) {
  const Lengths lengths{static_cast<uint16_t>(request.name.size()), static_cast<uint32_t>(request.blob.size())};
  ByteWriter writer;
  writer.constant(kRequestMagic);
  writer(request.version);
  fields(writer, request, lengths);
  writer.text(request.name);
  writer.text(request.blob);
  return writer.take();
}

std::string encode(const RendezvousReply& reply) {
  const bool failure = reply.kind == ReplyKind::failure,
             notice = reply.kind == ReplyKind::admitted || reply.kind == ReplyKind::ended;
  ByteWriter body;
  if (failure) body.sentence(reply.status.message(), kLongestSentence);
  if (notice) body.sentence(reply.text, kLongestWho);
  for (const std::string& blob : reply.blobs) {
    body.number(static_cast<uint32_t>(blob.size()));
    body.text(blob);
  }
  const std::string bytes = body.take();
  ReplyHead head{reply.version, static_cast<uint16_t>(reply.status.code()), reply.round,
                 static_cast<uint32_t>(reply.blobs.size()), bytes.size()};
  if (failure) head.count = reply.look_again;
  if (notice) head.round = reply.kind == ReplyKind::admitted ? kAdmittedRound : kEndedRound;
  ByteWriter writer;
  fields(writer, head);
  writer.text(bytes);
  return writer.take();
}

RendezvousReply failure_reply(const Status& why, uint32_t round, bool look_again) {
  RendezvousReply reply;
  reply.kind = ReplyKind::failure;
  reply.round = round;
  reply.status = why;
  reply.look_again = look_again;
  return reply;
}

Decoding decode(std::string_view bytes, RendezvousGreeting& greeting, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kGreetingMagic)) return malformed(flaw, kNotTutti);
  if (bytes.size() < kGreeting) return Decoding::incomplete;
  ByteReader reader(bytes);
  reader.constant(kGreetingMagic);
  reader(greeting.version);
  used = kGreeting;
  return Decoding::complete;
}

namespace {

// A request's head against its bounds; "": it keeps to them.
std::string flaw_of(const RendezvousRequest& request, const Lengths& lengths) {
  const bool failed = request.kind == RequestKind::failed, done = request.kind == RequestKind::done;
  const size_t longest = done ? 0 : failed ? kLongestSentence : request.round == 0 ? kLongestWho : kLongestBlob;
  if (request.kind > RequestKind::done)
    return "a message of an unknown kind " + std::to_string(static_cast<unsigned>(request.kind));
  if (request.code > Code::internal || (request.code != Code::success) != failed)
    return "an unexpected status " + std::to_string(static_cast<unsigned>(request.code));
  if (lengths.name > kLongestName) return "a name of " + std::to_string(lengths.name) + " bytes";
  if (lengths.blob > longest) return "a blob of " + std::to_string(lengths.blob) + " bytes";
  if (request.size == 0 || request.size > kMostRanks || request.rank >= request.size)
    return "rank " + std::to_string(request.rank) + " of " + std::to_string(request.size);
  return "";
}

ReplyKind kind_of(const ReplyHead& head) {
  if (head.code != 0) return ReplyKind::failure;
  if (head.round < kAdmittedRound) return ReplyKind::blobs;
  return head.round == kAdmittedRound ? ReplyKind::admitted : ReplyKind::ended;
}

// The same of a reply to one of `size` ranks.
std::string flaw_of(const ReplyHead& head, uint32_t size) {
  const ReplyKind kind = kind_of(head);
  const bool blobs = kind == ReplyKind::blobs, failure = kind == ReplyKind::failure;
  const size_t longest = blobs ? size * (sizeof(uint32_t) + kLongestBlob) : failure ? kLongestSentence : kLongestWho;
  if (head.code > static_cast<uint16_t>(Code::internal)) return "an unknown status " + std::to_string(head.code);
  if (blobs ? head.count != size : head.count > (failure ? 1 : 0)) return "blobs of " + std::to_string(head.count) + " ranks";
  return head.length > longest ? "a reply of " + std::to_string(head.length) + " bytes" : "";
}

}  // namespace

Decoding decode(std::string_view bytes, RendezvousRequest& request, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kRequestMagic)) return malformed(flaw, "not a message of Tutti's rendezvous");
  if (bytes.size() < kFixedHead) return Decoding::incomplete;
  ByteReader reader(bytes);
  reader.constant(kRequestMagic);
  reader(request.version);
  if (request.version != kRendezvousVersion) {
    used = bytes.size();
    return Decoding::complete;
  }
  if (bytes.size() < kRequestHead) return Decoding::incomplete;
  Lengths lengths;
  fields(reader, request, lengths);
  if (!reader.ok()) return malformed(flaw, "an unexpected status");
  if (std::string found = flaw_of(request, lengths); !found.empty()) return malformed(flaw, std::move(found));
  used = kRequestHead + lengths.name + lengths.blob;
  if (bytes.size() < used) return Decoding::incomplete;
  request.name = reader.text(lengths.name);
  request.blob = reader.text(lengths.blob);
  return Decoding::complete;
}

Decoding decode(std::string_view bytes, uint32_t size, RendezvousReply& reply, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kReplyMagic)) return malformed(flaw, kNotTutti);
  if (bytes.size() < kReplyHead) return Decoding::incomplete;
  ByteReader reader(bytes);
  ReplyHead head;
  fields(reader, head);
  if (std::string found = flaw_of(head, size); !found.empty()) return malformed(flaw, std::move(found));
  used = kReplyHead + head.length;
  if (bytes.size() < used) return Decoding::incomplete;
  reply = {};
  reply.version = head.version;
  reply.kind = kind_of(head);
  reply.round = head.round;
  reply.look_again = reply.kind == ReplyKind::failure && head.count == 1;
  ByteReader body(reader.text(head.length));
  if (reply.kind == ReplyKind::blobs) {
    for (uint32_t i = 0; i < head.count; ++i) reply.blobs.emplace_back(body.text(body.number<uint32_t>()));
  } else {
    body.sentence(reply.text, kLongestSentence);
  }
  if (reply.kind == ReplyKind::failure) reply.status = Status(static_cast<Code>(head.code), std::exchange(reply.text, {}));
  if (!body.at_end()) return malformed(flaw, "blobs and body disagree in length");
  return Decoding::complete;
}

}  // namespace tutti

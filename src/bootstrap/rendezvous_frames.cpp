#include "rendezvous_frames.h"

#include <algorithm>

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

// A frame's first bytes are compared as they come, so that a stranger is known by its first wrong one.
bool begins_like(std::string_view bytes, uint32_t magic) {
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), sizeof magic); ++i)
    if (static_cast<unsigned char>(bytes[i]) != static_cast<unsigned char>(magic >> (8 * i))) return false;
  return true;
}

}  // namespace

std::string encode(const RendezvousGreeting& greeting) {
  ByteWriter writer;
  writer.number(kGreetingMagic);
  writer.number(greeting.version);
  return writer.take();
}

std::string encode(const RendezvousRequest& request) {
  ByteWriter writer;
  writer.number(kRequestMagic);
  writer.number(request.version);
  writer.number(static_cast<uint16_t>(request.kind));
  for (const unsigned char byte : request.secret) writer.number(byte);
  writer.number(request.rank);
  writer.number(request.size);
  writer.number(request.round);
  writer.number(request.patience_ms);
  writer.number(static_cast<uint16_t>(request.code));
  writer.number(static_cast<uint16_t>(request.name.size()));
  writer.number(static_cast<uint32_t>(request.blob.size()));
  writer.text(request.name);
  writer.text(request.blob);
  return writer.take();
}

std::string encode(const RendezvousReply& reply) {
  const bool failure = reply.kind == ReplyKind::failure,
             notice = reply.kind == ReplyKind::admitted || reply.kind == ReplyKind::ended;
  ByteWriter body;
  if (failure) body.text(std::string_view(reply.status.message()).substr(0, kLongestSentence));
  if (notice) body.text(std::string_view(reply.text).substr(0, kLongestWho));
  for (const std::string& blob : reply.blobs) {
    body.number(static_cast<uint32_t>(blob.size()));
    body.text(blob);
  }
  const std::string bytes = body.take();
  ByteWriter writer;
  writer.number(kReplyMagic);
  writer.number(reply.version);
  writer.number(static_cast<uint16_t>(reply.status.code()));
  writer.number(!notice ? reply.round : reply.kind == ReplyKind::admitted ? kAdmittedRound : kEndedRound);
  writer.number(failure ? uint32_t{reply.look_again} : static_cast<uint32_t>(reply.blobs.size()));
  writer.number(static_cast<uint64_t>(bytes.size()));
  writer.text(bytes);
  return writer.take();
}

Decoding decode(std::string_view bytes, RendezvousGreeting& greeting, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kGreetingMagic)) return malformed(flaw, kNotTutti);
  if (bytes.size() < kGreeting) return Decoding::incomplete;
  ByteReader reader(bytes);
  reader.number<uint32_t>();
  greeting.version = reader.number<uint16_t>();
  used = kGreeting;
  return Decoding::complete;
}

namespace {

// What a request's head may say; "": all is well.
std::string flaw_of(const RendezvousRequest& request, uint16_t kind, uint16_t code, size_t name_length, size_t blob_length) {
  const bool failed = request.kind == RequestKind::failed, done = request.kind == RequestKind::done;
  const size_t longest = done ? 0 : failed ? kLongestSentence : request.round == 0 ? kLongestWho : kLongestBlob;
  if (kind > static_cast<uint16_t>(RequestKind::done)) return "a message of an unknown kind " + std::to_string(kind);
  if (code > static_cast<uint16_t>(Code::internal) || (code != 0) != failed) return "an unexpected status " + std::to_string(code);
  if (name_length > kLongestName) return "a name of " + std::to_string(name_length) + " bytes";
  if (blob_length > longest) return "a blob of " + std::to_string(blob_length) + " bytes";
  if (request.size == 0 || request.size > kMostRanks || request.rank >= request.size)
    return "rank " + std::to_string(request.rank) + " of " + std::to_string(request.size);
  return "";
}

}  // namespace

Decoding decode(std::string_view bytes, RendezvousRequest& request, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kRequestMagic)) return malformed(flaw, "not a message of Tutti's rendezvous");
  if (bytes.size() < kFixedHead) return Decoding::incomplete;
  ByteReader reader(bytes);
  reader.number<uint32_t>();
  request.version = reader.number<uint16_t>();
  if (request.version != kRendezvousVersion) {
    used = bytes.size();
    return Decoding::complete;
  }
  if (bytes.size() < kRequestHead) return Decoding::incomplete;
  const auto kind = reader.number<uint16_t>();
  request.kind = static_cast<RequestKind>(kind);
  for (unsigned char& byte : request.secret) byte = reader.number<unsigned char>();
  request.rank = reader.number<uint32_t>();
  request.size = reader.number<uint32_t>();
  request.round = reader.number<uint32_t>();
  request.patience_ms = reader.number<uint32_t>();
  const auto code = reader.number<uint16_t>();
  const auto name_length = reader.number<uint16_t>();
  const auto blob_length = reader.number<uint32_t>();
  if (std::string found = flaw_of(request, kind, code, name_length, blob_length); !found.empty())
    return malformed(flaw, std::move(found));
  request.code = static_cast<Code>(code);
  used = kRequestHead + name_length + blob_length;
  if (bytes.size() < used) return Decoding::incomplete;
  request.name = reader.text(name_length);
  request.blob = reader.text(blob_length);
  return Decoding::complete;
}

Decoding decode(std::string_view bytes, uint32_t size, RendezvousReply& reply, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kReplyMagic)) return malformed(flaw, kNotTutti);
  if (bytes.size() < kReplyHead) return Decoding::incomplete;
  ByteReader reader(bytes);
  reader.number<uint32_t>();
  reply.version = reader.number<uint16_t>();
  const auto code = reader.number<uint16_t>();
  reply.round = reader.number<uint32_t>();
  const auto count = reader.number<uint32_t>();
  const auto length = reader.number<uint64_t>();
  if (code > static_cast<uint16_t>(Code::internal)) return malformed(flaw, "an unknown status " + std::to_string(code));
  const bool notice = code == 0 && reply.round >= kAdmittedRound;
  reply.kind = code != 0 ? ReplyKind::failure
               : !notice ? ReplyKind::blobs
                         : (reply.round == kAdmittedRound ? ReplyKind::admitted : ReplyKind::ended);
  const bool blobs = reply.kind == ReplyKind::blobs;
  reply.look_again = code != 0 && count == 1;
  if (blobs ? count != size : count > (code != 0 ? 1 : 0)) return malformed(flaw, "blobs of " + std::to_string(count) + " ranks");
  if (length > (blobs ? size * (sizeof(uint32_t) + kLongestBlob) : notice ? kLongestWho : kLongestSentence))
    return malformed(flaw, "a reply of " + std::to_string(length) + " bytes");
  used = kReplyHead + length;
  if (bytes.size() < used) return Decoding::incomplete;
  ByteReader body(reader.text(length));
  reply.status = code == 0 ? Status() : Status(static_cast<Code>(code), printable(body.text(length)));
  reply.text = notice ? body.text(length) : "";
  reply.blobs.clear();
  for (uint32_t i = 0; blobs && i < count; ++i) reply.blobs.emplace_back(body.text(body.number<uint32_t>()));
  if (!body.ok() || !body.rest().empty()) return malformed(flaw, "blobs and body disagree in length");
  return Decoding::complete;
}

}  // namespace tutti

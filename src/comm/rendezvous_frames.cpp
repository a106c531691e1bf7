#include "rendezvous_frames.h"

#include <algorithm>

namespace tutti {
namespace {

constexpr uint32_t kRequestMagic = 0x714d7554;  // "TuMq"
constexpr uint32_t kReplyMagic = 0x724d7554;    // "TuMr"
constexpr size_t kFixedHead = 6;                // magic and version

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

std::string encode(const MeetingRequest& request) {
  ByteWriter writer;
  writer.number(kRequestMagic);
  writer.number(request.version);
  writer.number(static_cast<uint16_t>(request.name.size()));
  for (const unsigned char byte : request.secret) writer.number(byte);
  writer.number(request.rank);
  writer.number(request.size);
  writer.number(request.round);
  writer.number(static_cast<uint32_t>(request.blob.size()));
  writer.text(request.name);
  writer.text(request.blob);
  return writer.take();
}

std::string encode(const MeetingReply& reply) {
  ByteWriter body;
  if (!reply.status.ok()) body.text(std::string_view(reply.status.message()).substr(0, kLongestSentence));
  for (const std::string& blob : reply.blobs) {
    body.number(static_cast<uint32_t>(blob.size()));
    body.text(blob);
  }
  const std::string bytes = body.take();
  ByteWriter writer;
  writer.number(kReplyMagic);
  writer.number(reply.version);
  writer.number(static_cast<uint16_t>(reply.status.code()));
  writer.number(reply.round);
  writer.number(static_cast<uint32_t>(reply.blobs.size()));
  writer.number(static_cast<uint64_t>(bytes.size()));
  writer.text(bytes);
  return writer.take();
}

Decoding decode(std::string_view bytes, MeetingRequest& request, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kRequestMagic)) return malformed(flaw, "not a message of Tutti's rendezvous");
  if (bytes.size() < kFixedHead) return Decoding::incomplete;
  ByteReader reader(bytes);
  reader.number<uint32_t>();
  request.version = reader.number<uint16_t>();
  if (request.version != kMeetingVersion) {
    used = bytes.size();
    return Decoding::complete;
  }
  if (bytes.size() < kRequestHead) return Decoding::incomplete;
  const auto name_length = reader.number<uint16_t>();
  for (unsigned char& byte : request.secret) byte = reader.number<unsigned char>();
  request.rank = reader.number<uint32_t>();
  request.size = reader.number<uint32_t>();
  request.round = reader.number<uint32_t>();
  const auto blob_length = reader.number<uint32_t>();
  if (name_length > kLongestName) return malformed(flaw, "a name of " + std::to_string(name_length) + " bytes");
  if (blob_length > kLongestBlob) return malformed(flaw, "a blob of " + std::to_string(blob_length) + " bytes");
  if (request.size == 0 || request.size > kMostRanks || request.rank >= request.size)
    return malformed(flaw, "rank " + std::to_string(request.rank) + " of " + std::to_string(request.size));
  used = kRequestHead + name_length + blob_length;
  if (bytes.size() < used) return Decoding::incomplete;
  request.name = reader.text(name_length);
  request.blob = reader.text(blob_length);
  return Decoding::complete;
}

Decoding decode(std::string_view bytes, uint32_t size, MeetingReply& reply, size_t& used, std::string& flaw) {
  if (!begins_like(bytes, kReplyMagic)) return malformed(flaw, "what answers there is not a rendezvous of Tutti");
  if (bytes.size() < kReplyHead) return Decoding::incomplete;
  ByteReader reader(bytes);
  reader.number<uint32_t>();
  reply.version = reader.number<uint16_t>();
  const auto code = reader.number<uint16_t>();
  reply.round = reader.number<uint32_t>();
  const auto count = reader.number<uint32_t>();
  const auto length = reader.number<uint64_t>();
  if (code > static_cast<uint16_t>(Code::internal)) return malformed(flaw, "an unknown status " + std::to_string(code));
  const bool success = code == 0;
  if (count != (success ? size : 0)) return malformed(flaw, "blobs of " + std::to_string(count) + " ranks");
  if (length > (success ? size * (sizeof(uint32_t) + kLongestBlob) : kLongestSentence))
    return malformed(flaw, "a reply of " + std::to_string(length) + " bytes");
  used = kReplyHead + length;
  if (bytes.size() < used) return Decoding::incomplete;
  ByteReader body(reader.text(length));
  reply.status = success ? Status() : Status(static_cast<Code>(code), printable(body.text(length)));
  reply.blobs.clear();
  for (uint32_t i = 0; i < count; ++i) reply.blobs.emplace_back(body.text(body.number<uint32_t>()));
  if (!body.ok() || !body.rest().empty()) return malformed(flaw, "blobs and body disagree in length");
  return Decoding::complete;
}

}  // namespace tutti

#include "control_frames.h"

namespace tutti {
namespace {

constexpr uint32_t kHelloMagic = 0x634d7554;  // "TuMc"
constexpr uint16_t kControlVersion = 2;

void put_signature(ByteWriter& writer, const Signature& signature) {
  writer.number(signature.version);
  writer.number(signature.collective);
  writer.number(signature.data_type);
  writer.number(signature.op);
  writer.number(signature.algorithm);
  writer.number(signature.detail);
  writer.number(signature.sequence);
  writer.number(static_cast<uint32_t>(signature.root));
  writer.number(signature.count);
  writer.number(signature.context);
}

Signature take_signature(ByteReader& reader) {
  Signature signature;
  signature.version = reader.number<uint16_t>();
  signature.collective = reader.number<uint8_t>();
  signature.data_type = reader.number<uint8_t>();
  signature.op = reader.number<uint8_t>();
  signature.algorithm = reader.number<uint8_t>();
  signature.detail = reader.number<uint16_t>();
  signature.sequence = reader.number<uint32_t>();
  signature.root = static_cast<int32_t>(reader.number<uint32_t>());
  signature.count = reader.number<uint64_t>();
  signature.context = reader.number<uint64_t>();
  return signature;
}

void put_rank(ByteWriter& writer, int32_t rank) { writer.number(static_cast<uint32_t>(rank)); }
int32_t take_rank(ByteReader& reader) { return static_cast<int32_t>(reader.number<uint32_t>()); }

std::string body_of(const ControlFrame& frame) {
  ByteWriter body;
  switch (frame.kind) {
    case FrameKind::hello:
      body.number(kHelloMagic);
      body.number(kControlVersion);
      for (const unsigned char byte : frame.secret) body.number(byte);
      put_rank(body, frame.rank);
      break;
    case FrameKind::report:
    case FrameKind::failure:
      put_rank(body, frame.cause.culprit);
      body.number(static_cast<uint8_t>(frame.cause.by_close));
      body.number(static_cast<uint8_t>(frame.cause.status.code()));
      body.text(std::string_view(frame.cause.status.message()).substr(0, kLongestCause));
      break;
    case FrameKind::stall:
    case FrameKind::timed_out:
      put_rank(body, frame.rank);
      put_rank(body, frame.stall.waits_for);
      body.number(frame.stall.step);
      body.number(frame.stall.steps);
      body.number(frame.stall.waited_ns);
      put_signature(body, frame.stall.signature);
      body.number(frame.query);
      break;
    case FrameKind::late:
      put_rank(body, frame.rank);
      body.text(std::string_view(frame.text).substr(0, kLongestCause));
      break;
    case FrameKind::suspect:
    case FrameKind::leaving:
    case FrameKind::exited: put_rank(body, frame.rank); break;
    case FrameKind::query: body.number(frame.query); break;
    case FrameKind::welcome:
    case FrameKind::ping:
    case FrameKind::pong:
    case FrameKind::goodbye_up: break;
  }
  return body.take();
}

bool take_body(ByteReader& reader, ControlFrame& frame) {
  switch (frame.kind) {
    case FrameKind::hello: {
      const bool ours = reader.number<uint32_t>() == kHelloMagic && reader.number<uint16_t>() == kControlVersion;
      for (unsigned char& byte : frame.secret) byte = reader.number<unsigned char>();
      frame.rank = take_rank(reader);
      return ours;
    }
    case FrameKind::report:
    case FrameKind::failure: {
      frame.cause.culprit = take_rank(reader);
      frame.cause.by_close = reader.number<uint8_t>() != 0;
      const auto code = reader.number<uint8_t>();
      frame.cause.status = Status(static_cast<Code>(code), printable(reader.text(reader.rest().size())));
      return code != 0 && code <= static_cast<uint8_t>(Code::internal);
    }
    case FrameKind::stall:
    case FrameKind::timed_out:
      frame.rank = take_rank(reader);
      frame.stall.waits_for = take_rank(reader);
      frame.stall.step = reader.number<uint32_t>();
      frame.stall.steps = reader.number<uint32_t>();
      frame.stall.waited_ns = reader.number<uint64_t>();
      frame.stall.signature = take_signature(reader);
      frame.query = reader.number<uint32_t>();
      return frame.rank >= 0;
    case FrameKind::late:
      frame.rank = take_rank(reader);
      frame.text = printable(reader.text(reader.rest().size()));
      return true;
    case FrameKind::suspect:
    case FrameKind::leaving:
    case FrameKind::exited: frame.rank = take_rank(reader); return frame.rank >= 0;
    case FrameKind::query: frame.query = reader.number<uint32_t>(); return true;
    case FrameKind::welcome:
    case FrameKind::ping:
    case FrameKind::pong:
    case FrameKind::goodbye_up: return true;
  }
  return false;
}

bool is_rank(int32_t rank, int size) { return rank >= -1 && rank < size; }

}  // namespace

std::string encode(const ControlFrame& frame) {
  const std::string body = body_of(frame);
  ByteWriter writer;
  writer.number(static_cast<uint16_t>(body.size()));
  writer.number(static_cast<uint8_t>(frame.kind));
  writer.text(body);
  return writer.take();
}

Decoding decode(std::string_view bytes, int size, ControlFrame& frame, size_t& used) {
  if (bytes.size() < kFrameHead) return Decoding::incomplete;
  ByteReader head(bytes);
  const auto length = head.number<uint16_t>();
  const auto kind = head.number<uint8_t>();
  if (kFrameHead + length > kLongestFrame) return Decoding::malformed;
  if (kind < static_cast<uint8_t>(FrameKind::hello) || kind > static_cast<uint8_t>(FrameKind::query)) return Decoding::malformed;
  used = kFrameHead + length;
  if (bytes.size() < used) return Decoding::incomplete;
  frame = {};
  frame.kind = static_cast<FrameKind>(kind);
  ByteReader body(head.text(length));
  if (!take_body(body, frame) || !body.ok() || !body.rest().empty()) return Decoding::malformed;
  if (!is_rank(frame.rank, size) || !is_rank(frame.cause.culprit, size) || !is_rank(frame.stall.waits_for, size))
    return Decoding::malformed;
  return Decoding::complete;
}

}  // namespace tutti

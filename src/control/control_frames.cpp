#include "control_frames.h"

#include <utility>

namespace tutti {
namespace {

constexpr uint32_t kHelloMagic = 0x634d7554;  // "TuMc"
constexpr uint16_t kControlVersion = 3;

template <class Bytes, class S>
void signature_fields(Bytes& bytes, S& s) {
  bytes(s.version, s.collective, s.data_type, s.op, s.algorithm, s.detail, s.sequence, s.root, s.count, s.context);
}

template <class Bytes, class Frame>
void cause_fields(Bytes& bytes, Frame& frame) {
  auto code = frame.cause.status.code();
  auto sentence = frame.cause.status.message();
  bytes(frame.cause.culprit, frame.cause.by_close, code);
  bytes.sentence(sentence, kLongestCause);
  if constexpr (!std::is_const_v<Frame>) frame.cause.status = Status(code, std::move(sentence));
}

template <class Bytes, class Frame>
void body_fields(Bytes& bytes, Frame& frame) {
  auto& stall = frame.stall;
  switch (frame.kind) {
    case FrameKind::hello:
      bytes.constant(kHelloMagic);
      bytes.constant(kControlVersion);
      return bytes(frame.secret, frame.rank);
    case FrameKind::report:
    case FrameKind::failure: return cause_fields(bytes, frame);
    case FrameKind::stall:
    case FrameKind::timed_out:
      bytes(frame.rank, stall.waits_for, stall.step, stall.steps, stall.waited_ns);
      signature_fields(bytes, stall.signature);
      return bytes(frame.query);
    case FrameKind::late: bytes(frame.rank); return bytes.sentence(frame.text, kLongestCause);
    case FrameKind::suspect:
    case FrameKind::leaving:
    case FrameKind::exited:
    case FrameKind::cut_off: return bytes(frame.rank);
    case FrameKind::query: return bytes(frame.query);
    case FrameKind::welcome:
    case FrameKind::ping:
    case FrameKind::pong:
    case FrameKind::goodbye_up: return;
  }
}

bool is_rank(int32_t rank, int size) { return rank >= -1 && rank < size; }

// Beyond the lengths of its fields.
bool keeps_bounds(const ControlFrame& frame, int size) {
  const bool has_cause = frame.kind == FrameKind::report || frame.kind == FrameKind::failure;
  const bool has_rank = frame.kind == FrameKind::stall || frame.kind == FrameKind::timed_out || frame.kind == FrameKind::suspect ||
                        frame.kind == FrameKind::leaving || frame.kind == FrameKind::exited || frame.kind == FrameKind::cut_off;
  const Code code = frame.cause.status.code();
  if (has_cause && (code == Code::success || code > Code::internal)) return false;
  if (has_rank && frame.rank < 0) return false;
  return is_rank(frame.rank, size) && is_rank(frame.cause.culprit, size) && is_rank(frame.stall.waits_for, size);
}

}  // namespace

std::string encode(const ControlFrame& frame) {
  ByteWriter fields, writer;
  body_fields(fields, frame);
  const std::string body = fields.take();
  writer(static_cast<uint16_t>(body.size()), frame.kind);
  writer.text(body);
  return writer.take();
}

Decoding decode(std::string_view bytes, int size, ControlFrame& frame, size_t& used) {
  if (bytes.size() < kFrameHead) return Decoding::incomplete;
  ByteReader head(bytes);
  uint16_t length;
  FrameKind kind;
  head(length, kind);
  if (kFrameHead + length > kLongestFrame) return Decoding::malformed;
  if (kind < FrameKind::hello || kind > FrameKind::cut_off) return Decoding::malformed;
  used = kFrameHead + length;
  if (bytes.size() < used) return Decoding::incomplete;
  frame = {};
  frame.kind = kind;
  ByteReader body(head.text(length));
  body_fields(body, frame);
  return body.at_end() && keeps_bounds(frame, size) ? Decoding::complete : Decoding::malformed;
}

}  // namespace tutti

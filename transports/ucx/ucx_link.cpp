#include "ucx_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ucx_transport.h"

namespace tutti::ucx {
namespace {

size_t total(Pieces pieces) {
  size_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes;
  return bytes;
}

void scatter(const void* data, Pieces pieces) {
  const auto* from = static_cast<const std::byte*>(data);
  for (const Piece& piece : pieces) {
    if (piece.bytes > 0) std::memcpy(piece.data, from, piece.bytes);
    from += piece.bytes;
  }
}

}  // namespace

UcxLink::UcxLink(UcxTransport& owner, UcxWorker& worker, UcxEndpoint& endpoint, SlotPool& pool, int rank, LinkUse use)
    : owner_(owner), worker_(worker), endpoint_(endpoint), pool_(pool), rank_(rank), use_(use) {}

// ---- sending ----

Progress UcxLink::send(Slot slot, size_t bytes, const Signature& signature) {
  const Piece piece{slot.data, bytes};
  return transmit(Pieces(&piece, 1), signature, slot);
}

Progress UcxLink::send(Pieces pieces, const Signature& signature, uint64_t& ticket) {
  const Progress progress = transmit(pieces, signature, {});
  if (progress == Progress::done) ticket = accepted_;
  return progress;
}

Header UcxLink::header_of(Kind kind, const Signature& signature) {
  Header header;
  header.rank = static_cast<uint16_t>(rank_);
  header.use = use_;
  header.kind = kind;
  header.number = static_cast<uint32_t>(accepted_);
  header.received = static_cast<uint32_t>(received_);
  header.secret = endpoint_.secret();
  header.signature = signature;
  told_ = received_;
  return header;
}

Progress UcxLink::transmit(Pieces pieces, const Signature& signature, Slot slot) {
  if (!error_.ok()) return verdict();
  if (pieces.size() > kMaxPieces)
    return die(Status(Code::internal, "a message to " + endpoint_.peer_name() + " is in too many pieces"));
  if (const Status open = endpoint_.open(); !open.ok()) return lose(open);
  finish();
  if (accepted_ - std::min(acknowledged_, finished_) == kWindow) return Progress::busy;
  if (outgoing_.empty()) outgoing_.resize(kWindow);
  owner_.watch(*this);
  Outgoing& message = outgoing(accepted_);
  message.header = header_of(Kind::message, signature);
  message.operation = endpoint_.send(message.header, pieces, message.parts);
  if (UCS_PTR_IS_ERR(message.operation)) return lose(endpoint_.broke(UCS_PTR_RAW_STATUS(message.operation)));
  message.slot = slot;
  message.bytes = total(pieces);
  ++accepted_;
  sent_bytes_ += sizeof(Header) + message.bytes;
  unpushed_ = true;
  pushing_ = false;
  finish();
  return Progress::done;
}

bool UcxLink::sent(uint64_t ticket) const {
  // What comes behind a later message pushes this one, too, so here the memory is all that matters.
  return finished_ >= ticket && (ticket < accepted_ || idle());
}

void UcxLink::end(Outgoing& message) {
  if (message.slot) pool_.release(std::exchange(message.slot, {}));
}

// Notes which operations have ended.  One that has failed stays, as does what follows it.
void UcxLink::finish() {
  for (; finished_ < accepted_ && worker_.settle(outgoing(finished_).operation) == UCS_OK; ++finished_) {
    end(outgoing(finished_));
    endpoint_.connected();
  }
}

// A system keeps this much for a peer that does not read.
bool UcxLink::much_is_under_way() const {
  constexpr uint64_t kFew = 16, kLittle = 16 << 10;
  uint64_t bytes = 0;
  for (uint64_t number = acknowledged_; number < accepted_; ++number) bytes += outgoing_[number % kWindow].bytes;
  return accepted_ - acknowledged_ > kFew || bytes > kLittle;
}

void UcxLink::push() {
  if (!unpushed_ || finished_ != accepted_ || !word_is_out()) return;
  if (!pushing_ && much_is_under_way()) {
    tell();
    pushing_ = true;
    if (!word_is_out()) return;
  }
  unpushed_ = pushing_ = false;
}

void UcxLink::move(bool caught_up) {
  if (!error_.ok()) {
    finish();
    return;
  }
  finish();
  push();
  if (noise_ || (finished_ != accepted_ && !endpoint_.failure().ok())) {
    (void)await_next();
    if (error_.ok()) lose(endpoint_.failure());
    return;
  }
  if (finished_ != accepted_ && UCS_PTR_IS_ERR(outgoing(finished_).operation)) {
    lose(endpoint_.broke(UCS_PTR_RAW_STATUS(outgoing(finished_).operation)));
    return;
  }
  // A peer that has left all its messages here and is gone would answer a word with a reset, and UCX would then lose
  // what it has not read yet.  So words that nobody waits for are sent only when all has been read, the end of the
  // connection included.
  if (owes_word() && caught_up) tell();
}

void UcxLink::tell() {
  if (!word_is_out() || !endpoint_.open().ok()) return;
  word_.header = header_of(Kind::word, {});
  word_.operation = endpoint_.send(word_.header, {}, word_.parts);
  said_word_ = true;
}

bool UcxLink::word_is_out() {
  const ucs_status_t status = worker_.settle(word_.operation);
  if (status == UCS_OK && said_word_) endpoint_.connected();
  return status != UCS_INPROGRESS;
}

// A word shows that the connection is there.  Some builds of UCX, as that of Debian 12, end the process where one is
// closed before (ucp_request.c, "got REP message").
bool UcxLink::connecting() {
  if (endpoint_.connecting()) tell();
  (void)word_is_out();
  return endpoint_.connecting();
}

bool UcxLink::drained() {
  if (!error_.ok() || !endpoint_.failure().ok()) return true;
  return !connecting() && idle() && word_is_out();
}

void UcxLink::acknowledge(uint32_t received) {
  const uint32_t more = received - static_cast<uint32_t>(acknowledged_);
  if (more >= uint32_t{1} << 31) return;  // older: a later word has overtaken it
  noise_ |= more > accepted_ - acknowledged_;
  if (!noise_) acknowledged_ += more;
}

// A dead link that was still to do something never rests: progress() keeps telling.
bool UcxLink::at_rest() const { return error_.ok() && idle() && !noise_ && (!owes_word() || !endpoint_.failure().ok()); }

// ---- receiving ----

bool UcxLink::arrived(const Header& header, void* data, size_t bytes, bool to_be_fetched) {
  acknowledge(header.received);
  if (header.kind == Kind::word || !error_.ok()) return false;
  if (arrivals_.empty()) arrivals_.resize(kWindow);
  const uint32_t ahead = header.number - static_cast<uint32_t>(received_);
  if (ahead >= kWindow || arrival(received_ + ahead).there) {
    noise_ = true;
    return false;
  }
  const bool kept = bytes > 0;
  arrival(received_ + ahead) = {true, kept && to_be_fetched, header.signature, bytes, kept ? data : nullptr};
  return kept;
}

// done: the next message is there.
Progress UcxLink::await_next() {
  if (!error_.ok()) return verdict();
  if (noise_) return lose(Status(Code::peer_lost, endpoint_.peer_name() + " sent bytes that belong to no message"));
  if (next_is_there()) return Progress::done;
  const Status open = endpoint_.open();
  return open.ok() ? Progress::busy : lose(open);
}

Progress UcxLink::peek(Signature& next) {
  const Progress progress = await_next();
  if (progress == Progress::done) next = arrival(received_).signature;
  return progress;
}

Progress UcxLink::receive(Pieces pieces, const Signature& expected) {
  if (taking_ == Taking::fetched) return told();
  if (const Progress progress = await_next(); progress != Progress::done) return progress;
  Arrival& next = arrival(received_);
  if (const size_t bytes = total(pieces); next.bytes != bytes || !(next.signature == expected))
    return refuse(next, bytes, expected);
  return take(next, pieces);
}

Progress UcxLink::take(Arrival& next, Pieces pieces) {
  if (!next.to_be_fetched) {
    scatter(next.data, pieces);
    if (next.data) worker_.release(std::exchange(next.data, nullptr));
    taken(next);
    return Progress::done;
  }
  if (taking_ == Taking::not_begun) {
    operation_ = worker_.fetch(std::exchange(next.data, nullptr), pieces, parts_);
    taking_ = Taking::fetching;
  }
  const ucs_status_t status = worker_.settle(operation_);
  if (status == UCS_INPROGRESS && endpoint_.failure().ok()) return Progress::busy;
  if (status != UCS_OK) return lose(endpoint_.failure().ok() ? endpoint_.broke(status) : endpoint_.failure());
  taken(next);
  taking_ = Taking::fetched;
  return told();
}

// The sender waits until UCX tells it that the message was fetched.  When a word behind that is out, so is that.
Progress UcxLink::told() {
  if (!word_is_out()) return Progress::busy;
  if (told_ != received_) tell();
  if (!word_is_out()) return Progress::busy;
  taking_ = Taking::not_begun;
  return Progress::done;
}

void UcxLink::taken(Arrival& next) {
  next.there = false;
  ++received_;
  if (owes_word()) owner_.watch(*this);
}

// ---- the end ----

Progress UcxLink::die(Status why) {
  error_ = std::move(why);
  return verdict();
}

Progress UcxLink::lose(Status why) {
  die(std::move(why));
  owner_.hang_up(endpoint_);
  return verdict();
}

Progress UcxLink::refuse(const Arrival& next, size_t bytes, const Signature& expected) {
  offender_ = next.signature;
  return die(Status(Code::mismatch, endpoint_.peer_name() + " sent " + std::to_string(next.bytes) + " bytes of " +
                                        describe(next.signature) + " where " + std::to_string(bytes) + " bytes of " +
                                        describe(expected) + " were due"));
}

bool UcxLink::under_way() {
  bool any = false;
  for (ucs_status_ptr_t* operation : {&operation_, &word_.operation}) any |= worker_.settle(*operation) == UCS_INPROGRESS;
  for (uint64_t number = finished_; number < accepted_; ++number)
    any |= worker_.settle(outgoing(number).operation) == UCS_INPROGRESS;
  return any;
}

void UcxLink::return_slots() {
  for (uint64_t number = finished_; number < accepted_; ++number) end(outgoing(number));
}

void UcxLink::forget() {
  for (Arrival& kept : arrivals_) {
    if (kept.data) worker_.release(kept.data);
    kept = {};
  }
}

size_t UcxLink::memory_bytes() const {
  size_t bytes = sizeof *this + outgoing_.capacity() * sizeof(Outgoing) + arrivals_.capacity() * sizeof(Arrival);
  for (const Outgoing& message : outgoing_) bytes += message.parts.capacity() * sizeof(ucp_dt_iov_t);
  return bytes;
}

}  // namespace tutti::ucx

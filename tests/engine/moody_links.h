// Links for testing the engine: correct, but as unhelpful as the contract allows.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "memory_transport.h"
#include "transport.h"

namespace tutti::test {

// A slot link that says "busy" whenever it likes.
class MoodyLink final : public SlotLink {
 public:
  MoodyLink(std::unique_ptr<SlotLink> link, uint32_t seed) : link_(std::move(link)), mood_(seed) {}
  Progress send(Slot slot, size_t bytes, const Signature& signature) override {
    return mood_() % 3 == 0 ? Progress::busy : link_->send(slot, bytes, signature);
  }
  Progress receive(Slot& slot, size_t bytes, const Signature& expected) override {
    return mood_() % 3 == 0 ? Progress::busy : link_->receive(slot, bytes, expected);
  }
  Progress peek(Signature& next) override { return mood_() % 3 == 0 ? Progress::busy : link_->peek(next); }
  Status error() const override { return link_->error(); }
  Signature offender() const override { return link_->offender(); }

 private:
  std::unique_ptr<SlotLink> link_;
  std::minstd_rand mood_;
};

// One direction of a stream: what was sent and not yet read.
struct Stream {
  struct Message {
    Signature signature;
    size_t bytes = 0;
    std::vector<std::byte> data;  // copied from the sender's memory, bit by bit
    std::vector<Piece> pieces;    // of which it is copied
    bool asked_for = false;       // by its receiver
    bool copied = false;
    Slot slot;                    // released when copied
    uint64_t ticket = 0;
  };
  std::deque<Message> messages;
  uint64_t last_ticket = 0, copied_ticket = 0;
  bool fetched = false;  // messages are copied only once they are asked for
  bool cut = false;
};

// A stream link that reads the sender's memory as late as it may, so that memory changed too early shows.  Every other
// one keeps nothing for its receiver.
class LateStreamLink final : public ByteLink {
 public:
  LateStreamLink(std::shared_ptr<Stream> out, std::shared_ptr<Stream> in, SlotPool& pool, uint32_t seed)
      : out_(std::move(out)), in_(std::move(in)), pool_(pool), mood_(seed) {
    out_->fetched = seed % 2 == 0;
  }

  Progress send(Slot slot, size_t bytes, const Signature& signature) override {
    if (mood_() % 4 == 0) return Progress::busy;
    const Piece piece{slot.data, bytes};
    queue(Pieces(&piece, 1), signature).slot = slot;
    return Progress::done;
  }
  Progress send(Pieces pieces, const Signature& signature, uint64_t& ticket) override {
    if (mood_() % 4 == 0) return Progress::busy;
    ticket = queue(pieces, signature).ticket;
    return Progress::done;
  }
  bool sent(uint64_t ticket) const override { return out_->copied_ticket >= ticket; }
  uint64_t last_ticket() const override { return out_->last_ticket; }

  Progress receive(Pieces pieces, const Signature& expected) override {
    if (in_->cut) return Progress::lost;
    if (in_->messages.empty() || mood_() % 3 == 0) return Progress::busy;
    Stream::Message& message = in_->messages.front();
    size_t wanted = 0;
    for (const Piece& piece : pieces) wanted += piece.bytes;
    if (message.bytes != wanted || !(message.signature == expected)) {
      offender_ = message.signature;
      return Progress::mismatch;
    }
    message.asked_for = true;
    if (!message.copied) return Progress::busy;  // its sender has not let go of it yet
    const std::byte* from = message.data.data();
    for (const Piece& piece : pieces) {
      std::memcpy(piece.data, from, piece.bytes);
      from += piece.bytes;
    }
    in_->messages.pop_front();
    return Progress::done;
  }
  Progress peek(Signature& next) override {
    if (in_->cut) return Progress::lost;
    if (in_->messages.empty() || mood_() % 3 == 0) return Progress::busy;
    next = in_->messages.front().signature;
    return Progress::done;
  }
  Status error() const override { return Status(Code::peer_lost, "the stream was cut"); }
  Signature offender() const override { return offender_; }

  // Copies one more piece of what this end has queued; the transport's progress().
  void flush_some() {
    for (Stream::Message& message : out_->messages) {
      if (message.copied) continue;
      if (mood_() % 2 == 0 || (out_->fetched && !message.asked_for)) return;
      for (const Piece& piece : message.pieces) message.data.insert(message.data.end(), piece.data, piece.data + piece.bytes);
      message.copied = true;
      if (message.slot) pool_.release(message.slot);
      out_->copied_ticket = message.ticket;
      return;
    }
  }

 private:
  Stream::Message& queue(Pieces pieces, const Signature& signature) {
    Stream::Message& message = out_->messages.emplace_back();
    message.signature = signature;
    message.pieces.assign(pieces.begin(), pieces.end());
    for (const Piece& piece : pieces) message.bytes += piece.bytes;
    message.ticket = ++out_->last_ticket;
    return message;
  }

  std::shared_ptr<Stream> out_, in_;
  SlotPool& pool_;
  std::minstd_rand mood_;
  Signature offender_;
};

}  // namespace tutti::test

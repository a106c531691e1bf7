// Put links for tests, in one process: correct, but as unhelpful as the contract allows.  They are often busy, write
// slots late and in any order, and give a sender few credits.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "link_forms.h"

namespace tutti::test {

// One direction between two ranks.
struct PutChannel {
  static constexpr size_t kCredits = 3;
  static constexpr size_t kShort = 256;  // bytes of the longest message that travels with its header
  static constexpr size_t kShortQueued = 8;

  struct Message {
    Signature signature;
    size_t bytes = 0;
    Slot source;                        // until it is written
    Slot landing;                       // none: the message is short
    std::vector<std::byte> beside;      // a short message
    bool written = false;
    uint64_t ticket = 0;
  };
  std::mutex mutex;  // ranks may be threads
  std::vector<Slot> credits;
  std::deque<Message> messages;  // in order; written in any
  uint64_t accepted = 0;
  bool cut = false;  // nothing more is written or sent
};

class MoodyPutLink final : public PutLink {
 public:
  // `busy_sends`: send() is now and then busy for no reason.
  MoodyPutLink(std::shared_ptr<PutChannel> out, std::shared_ptr<PutChannel> in, SlotPool& pool, uint32_t seed, bool busy_sends,
               std::string peer = "the peer")
      : out_(std::move(out)), in_(std::move(in)), pool_(pool), mood_(seed), busy_sends_(busy_sends), peer_(std::move(peer)) {
    const std::lock_guard lock(in_->mutex);
    for (size_t i = 0; i < PutChannel::kCredits; ++i) in_->credits.push_back(pool_.set_aside());
  }

  Progress send(Slot slot, size_t bytes, const Signature& signature) override {
    const std::lock_guard lock(out_->mutex);
    if (out_->cut) return Progress::lost;
    if (busy_sends_ && mood_() % 4 == 0) return Progress::busy;
    PutChannel::Message message;
    message.signature = signature;
    message.bytes = bytes;
    if (bytes <= PutChannel::kShort) {
      if (out_->messages.size() >= PutChannel::kShortQueued) return Progress::busy;
      if (bytes > 0) message.beside.assign(slot.data, slot.data + bytes);
      if (slot) pool_.release(slot);
      message.written = true;
    } else {
      if (out_->credits.empty()) return Progress::busy;
      message.source = slot;
      message.landing = take_any(out_->credits);
    }
    message.ticket = ++out_->accepted;
    out_->messages.push_back(std::move(message));
    return Progress::done;
  }
  uint64_t last_ticket() const override {
    const std::lock_guard lock(out_->mutex);
    return out_->accepted;
  }
  bool sent(uint64_t ticket) const override {
    const std::lock_guard lock(out_->mutex);
    return std::ranges::all_of(out_->messages, [&](const auto& message) { return message.written || message.ticket > ticket; });
  }

  Progress receive(Slot& slot, size_t bytes, const Signature& expected) override {
    const std::lock_guard lock(in_->mutex);
    const bool arrived = !in_->messages.empty() && in_->messages.front().written;
    if (!arrived) return in_->cut ? Progress::lost : Progress::busy;
    if (mood_() % 3 == 0) return Progress::busy;
    PutChannel::Message& message = in_->messages.front();
    if (message.bytes != bytes || !(message.signature == expected)) {
      offender_ = message.signature;
      return Progress::mismatch;
    }
    if (message.landing) {
      in_->credits.push_back(std::exchange(slot, message.landing));
      std::memset(in_->credits.back().data, 0xEE, pool_.slot_bytes());  // it was free, so nobody reads it
    } else if (bytes > 0) {
      std::memcpy(slot.data, message.beside.data(), bytes);
    }
    in_->messages.pop_front();
    return Progress::done;
  }
  Progress peek(Signature& next) override {
    const std::lock_guard lock(in_->mutex);
    const bool arrived = !in_->messages.empty() && in_->messages.front().written;
    if (!arrived) return in_->cut ? Progress::lost : Progress::busy;
    next = in_->messages.front().signature;
    return Progress::done;
  }
  Status error() const override { return Status(Code::peer_lost, peer_ + " is gone"); }
  Signature offender() const override { return offender_; }

  // Writes at most one message, any of those under way; the transport's progress().
  void write_some() {
    const std::lock_guard lock(out_->mutex);
    std::vector<PutChannel::Message*> late;
    for (PutChannel::Message& message : out_->messages)
      if (!message.written) late.push_back(&message);
    if (out_->cut)
      for (PutChannel::Message* message : late) let_go(*message);
    if (out_->cut || late.empty() || mood_() % 2 == 0) return;
    PutChannel::Message& message = *late[mood_() % late.size()];
    std::memcpy(message.landing.data, message.source.data, message.bytes);
    let_go(message);
    message.written = true;
  }

 private:
  void let_go(PutChannel::Message& message) {
    if (message.source) pool_.release(std::exchange(message.source, {}));
  }
  Slot take_any(std::vector<Slot>& slots) {
    std::swap(slots[mood_() % slots.size()], slots.back());
    const Slot slot = slots.back();
    slots.pop_back();
    return slot;
  }

  std::shared_ptr<PutChannel> out_, in_;
  SlotPool& pool_;
  std::minstd_rand mood_;
  bool busy_sends_;
  std::string peer_;
  Signature offender_;
};

}  // namespace tutti::test

// One rank's end of a world of links, for tests: whole messages of bytes, whatever kind of link carries them.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "clock.h"
#include "transport.h"

namespace tutti {

using Bytes = std::vector<std::byte>;

class Post {
 public:
  Post(Transport& transport, SlotPool& pool) : transport_(transport), pool_(pool) {}

  Link& link(int peer) { return transport_.link(peer); }
  LinkForm form() const { return transport_.form(); }
  SlotLink& slots(int peer) { return static_cast<SlotLink&>(link(peer)); }
  ByteLink& bytes(int peer) { return static_cast<ByteLink&>(link(peer)); }
  PutLink& puts(int peer) { return static_cast<PutLink&>(link(peer)); }
  SlotPool& pool() { return pool_; }

  // As a link's send, from a copy of `bytes`: in a slot, or from memory that is kept until it is sent.
  Progress send(int to, std::span<const std::byte> bytes, const Signature& signature) {
    if (form() != LinkForm::bytes) {
      const Slot slot = pool_.acquire();
      if (!slot) return Progress::busy;
      if (!bytes.empty()) std::memcpy(slot.data, bytes.data(), bytes.size());
      const Progress progress = link(to).send(slot, bytes.size(), signature);
      if (progress != Progress::done) pool_.release(slot);
      if (progress == Progress::done) kept_.push_back({to, link(to).last_ticket(), nullptr});
      return progress;
    }
    Kept kept{to, 0, std::make_unique<Bytes>(bytes.begin(), bytes.end())};
    const Piece piece{kept.bytes->data(), kept.bytes->size()};
    const Progress progress = this->bytes(to).send(Pieces(&piece, 1), signature, kept.ticket);
    if (progress == Progress::done) kept_.push_back(std::move(kept));
    return progress;
  }

  // The next message into `bytes`, which has the length expected and is the same until not busy.
  Progress receive(int from, Bytes& bytes, const Signature& expected) {
    if (form() == LinkForm::bytes) {
      const Piece piece{bytes.data(), bytes.size()};
      return this->bytes(from).receive(Pieces(&piece, 1), expected);
    }
    Slot slot;
    const Progress progress = take(from, slot, bytes.size(), expected);
    if (progress == Progress::done && !bytes.empty()) std::memcpy(bytes.data(), slot.data, bytes.size());
    if (progress == Progress::done || form() == LinkForm::puts) pool_.release(slot);
    return progress;
  }

  // The next message in a slot: the sender's own, or one of ours.  `slot` is empty at first, and the same until not
  // busy.
  Progress take(int from, Slot& slot, size_t bytes, const Signature& expected) {
    if (form() == LinkForm::slots) return slots(from).receive(slot, bytes, expected);
    if (!slot) slot = pool_.acquire();
    if (!slot) return Progress::busy;
    if (form() == LinkForm::puts) return puts(from).receive(slot, bytes, expected);
    const Piece piece{slot.data, bytes};
    return this->bytes(from).receive(Pieces(&piece, 1), expected);
  }

  Status progress() {
    const Status status = transport_.progress();
    std::erase_if(kept_, [this](const Kept& kept) { return link(kept.to).sent(kept.ticket); });
    return status;
  }
  bool all_sent() const { return kept_.empty(); }

 private:
  struct Kept {
    int to;
    uint64_t ticket;
    std::unique_ptr<Bytes> bytes;  // on the heap, so that it stays where it is; null: it travels in a slot
  };

  Transport& transport_;
  SlotPool& pool_;
  std::deque<Kept> kept_;
};

inline constexpr uint64_t kHangNs = 60'000'000'000;  // nothing here takes so long: what does has hung

// Asks until the answer is not busy.  `between` is what everybody does meanwhile.
template <class Ask, class Between>
Progress settle(Ask ask, Between between) {
  const uint64_t start = now_ns();
  for (;;) {
    const Progress progress = ask();
    if (progress != Progress::busy || now_ns() - start > kHangNs) return progress;
    between();
    std::this_thread::yield();
  }
}

// Bytes that depend on `seed` and differ from place to place.
inline Bytes pattern(uint64_t seed, size_t count) {
  Bytes bytes(count);
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t at = 0; at < count; at += sizeof state) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t word = state ^ state >> 32;  // the low bits of `state` alone repeat soon
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, count - at));
  }
  return bytes;
}

// Of the call number `sequence`.
inline Signature call(uint32_t sequence) {
  Signature signature;
  signature.sequence = sequence;
  signature.count = 1000u + sequence;
  signature.context = 7;
  return signature;
}

}  // namespace tutti

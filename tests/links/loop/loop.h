// `loop`: how little a transport needs.  It connects the threads of one process by queues of bytes, and is for tests
// only.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "transport_kind.h"

namespace tutti::loop {

// The bytes on their way from one rank to another.  Thread-safe.
class Queue {
 public:
  // Both move as much as they can and say how much that was.
  size_t put(const std::byte* from, size_t bytes);
  size_t get(std::byte* to, size_t bytes);

 private:
  static constexpr size_t kRoom = 64 << 10;
  std::mutex mutex_;
  size_t put_ = 0, got_ = 0;  // in all
  std::byte room_[kRoom];
};

// All queues of a communicator, shared by its ranks.
class Switchboard {
 public:
  explicit Switchboard(int size) : size_(static_cast<size_t>(size)), queues_(kLinkUses * size_ * size_) {}
  Queue& queue(int from, int to, LinkUse use) {
    return queues_[(static_cast<size_t>(use) * size_ + static_cast<size_t>(from)) * size_ + static_cast<size_t>(to)];
  }

 private:
  size_t size_;
  std::deque<Queue> queues_;
};

struct Header {  // goes before each message
  uint64_t bytes = 0;
  Signature signature;
};

class LoopLink final : public ByteLink {
 public:
  LoopLink(Queue& out, Queue& in, SlotPool& pool) : out_(out), in_(in), pool_(pool) {}
  Progress send(Slot slot, size_t bytes, const Signature& signature) override;
  Progress send(Pieces pieces, const Signature& signature, uint64_t& ticket) override;
  Progress receive(Pieces pieces, const Signature& expected) override;
  Progress peek(Signature& next) override;
  uint64_t last_ticket() const override { return waiting_.empty() ? 0 : accepted_; }
  bool sent(uint64_t ticket) const override { return ticket + waiting_.size() <= accepted_; }
  Status error() const override { return {}; }  // no peer is lost: the control tree tells of those that leave
  Signature offender() const override { return coming_.signature; }
  void move();  // what waits for room

 private:
  static constexpr size_t kMostWaiting = 32;  // messages
  struct Message {
    Header header;
    std::vector<Piece> pieces;
    Slot slot;  // to release; or none
  };
  Progress accept(Message message);

  Queue &out_, &in_;
  SlotPool& pool_;
  std::deque<Message> waiting_;
  uint64_t accepted_ = 0;
  size_t moved_ = 0;     // bytes of the first message that waits
  Header coming_;        // of the message being received,
  size_t received_ = 0;  // bytes of it, its header included
};

class LoopTransport final : public Transport {
 public:
  LoopTransport(int rank, int size, std::shared_ptr<Switchboard> switchboard, SlotPool& pool)
      : rank_(rank), switchboard_(std::move(switchboard)), pool_(pool), links_(kLinkUses * static_cast<size_t>(size)) {}
  std::string_view name() const override { return "loop"; }
  LinkForm form() const override { return LinkForm::bytes; }
  using Transport::link;
  Link& link(int peer, LinkUse use) override;
  Status progress() override;
  bool drained() override;
  size_t memory_bytes() const override { return links_.size() * sizeof(Queue); }

 private:
  int rank_;
  std::shared_ptr<Switchboard> switchboard_;
  SlotPool& pool_;
  std::vector<std::unique_ptr<LoopLink>> links_;  // by use and rank; null until asked for
};

TransportKind kind();

}  // namespace tutti::loop

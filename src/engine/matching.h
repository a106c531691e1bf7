// Point to point: which receive a message goes to.
//
// A message states its tag, count and type in its signature.  A receive asks for a source and a tag, or for any.  A
// message goes to the first receive posted that asks for it; so messages of one source and tag arrive in order.
//
// Set aside.  A link is in order, so the message that a receive asks for may lie behind one that nobody asks for yet.
// The latter then is received into memory of this rank's own, where its receive will find it.  Otherwise it stays in
// the link and keeps its sender waiting.  What is set aside of one source has a limit: beyond it these messages stay in
// the link, too, until receives have taken some.
//
// A rank's messages to itself lie among those set aside, in their sender's memory unless that is to be used again.
//
// The engine's lock guards all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "operation.h"
#include "plan_operation.h"

namespace tutti {

class ReceiveOperation;
class OwnMessage;

inline constexpr int kAny = -1;  // as a source or a tag that a receive asks for

// What a receive got.
struct Received {
  int source = kAny, tag = kAny;
  size_t count = 0;  // elements
};
using TellReceived = std::function<void(const Received&)>;

class Matching {
 public:
  Matching(int rank, int size, uint64_t context) : rank_(rank), context_(context), sources_(static_cast<size_t>(size)) {}

  int rank() const { return rank_; }

  // Limit in bytes of what is set aside of one source, but for one message of any length.
  static constexpr size_t kMostSetAside = 256 << 20;

  struct SetAside {
    int source = 0;
    Signature signature;
    const std::byte* data = nullptr;
    std::unique_ptr<std::byte[]> memory;      // that data points to, if this rank has received it or copied it
    std::shared_ptr<PlanOperation> arriving;  // until it is here
    OwnMessage* sender = nullptr;             // of a message to this rank itself, while it waits
    ReceiveOperation* receiver = nullptr;     // that it will go to
  };
  using Place = std::list<SetAside>::iterator;

  // A receive takes its place behind those posted before, unless its message was set aside.  `node` holds it, and
  // nothing else.
  void post(std::list<ReceiveOperation*>& node) noexcept;
  void withdraw(ReceiveOperation& receive) noexcept;

  // Looks for messages until one is assigned to `receive`, or none can be for now; those found on the way are assigned
  // to others or set aside.  True if anything moved.
  bool look_for(ReceiveOperation& receive, LinkTable& links);
  bool carry_on(int source, Trouble& trouble);  // with what is arriving to be set aside

  void add_own(std::list<SetAside>& node) noexcept;  // a message to this rank itself
  void take_out(Place place, std::list<SetAside>& into) noexcept;

 private:
  struct Source {
    Place arriving;  // if any_arriving
    bool any_arriving = false;
    uint64_t seen_empty = 0;  // the engine's round in which nothing was there
    size_t set_aside = 0;     // bytes
  };

  bool look(int source, ReceiveOperation& receive, LinkTable& links);
  bool assign(int source, const Signature& message, ReceiveOperation& asker, LinkTable& links);
  ReceiveOperation* first_that_wants(int source, const Signature& message) const;
  Source& source(int rank) { return sources_[static_cast<size_t>(rank)]; }

  const int rank_;
  const uint64_t context_;
  std::list<ReceiveOperation*> posted_;
  std::list<SetAside> set_aside_;  // in order of arrival
  std::vector<Source> sources_;
};

// A receive of one message.
class ReceiveOperation final : public Operation {
 public:
  // `signature`: of the longest message that fits; its root is the tag or kAny.  `tell`: when the call returns with
  // success; may be empty.
  ReceiveOperation(const Signature& signature, int source, std::byte* to, TellReceived tell, LinkTable& links);
  ~ReceiveOperation() override { withdraw(); }

  void enter() noexcept override;
  bool advance(bool may_start) override;
  SlotBank* bank() override { return arriving_ ? transfer_->bank() : nullptr; }
  bool started() const override { return finished_ || (arriving_ && transfer_->started()); }
  bool finished() const override { return finished_; }
  void end(bool success) override;
  bool withdraw() noexcept override;
  int waits_for() const override { return arriving_ ? transfer_->waits_for() : source_; }
  uint32_t step() const override { return 0; }
  uint32_t steps() const override { return 1; }

  // For Matching.
  bool wants(int source, const Signature& message) const;
  bool waits() const { return posted_ && trouble_.kind == Trouble::Kind::none; }
  int source() const { return source_; }
  void take(int source, const Signature& message);  // it begins to arrive
  void take(Matching::Place place) noexcept;        // it was set aside
  void report(const Trouble& trouble) { trouble_ = trouble; }

  const Received& got() const { return got_; }  // once it is finished

 private:
  bool fits(int source, const Signature& message);
  bool take_set_aside();

  LinkTable& links_;
  const int source_;
  std::byte* const to_;
  const TellReceived tell_;
  Received got_;
  std::list<ReceiveOperation*> node_;        // until it is posted
  std::shared_ptr<PlanOperation> transfer_;  // of a message from a known source; or once there is one
  bool posted_ = false, arriving_ = false, has_place_ = false, finished_ = false;
  Matching::Place place_;  // of its message, if has_place_
};

// A message to this rank itself.  `copies`: it is done at once, without its receive.
class OwnMessage final : public Operation {
 public:
  OwnMessage(const Signature& signature, const std::byte* data, size_t bytes, bool copies, int rank, LinkTable& links);
  ~OwnMessage() override { withdraw(); }

  void enter() noexcept override;
  bool advance(bool) override { return false; }
  bool started() const override { return true; }
  bool finished() const override { return delivered_; }
  void end(bool success) override;
  bool withdraw() noexcept override;
  int waits_for() const override { return -1; }
  uint32_t step() const override { return 0; }
  uint32_t steps() const override { return 1; }

  void deliver() noexcept { delivered_ = true; }

 private:
  LinkTable& links_;
  const size_t bytes_;
  const bool copies_;
  std::list<Matching::SetAside> node_;  // until it is entered
  Matching::Place place_;
  bool entered_ = false, delivered_ = false;
};

}  // namespace tutti

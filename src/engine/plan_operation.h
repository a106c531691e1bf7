// Runs a Program over links, for all stripes of a Binding.
//
// Lanes.  Up to `lanes` stripes are under way at once.  A lane walks the program's instructions in order; lanes advance
// independently.  A lane whose turn on a link (turn.h) has not come waits; so does one whose work is under way.
//
// Loans.  Memory that the peers can reach is lent instead of copied.  Where a plan returns a block to the rank that
// sent it, that rank offers the destination, so that the rank that reduces the block writes the result there and sends
// word only.  A stripe ends when its loans are back.  (No plan knows of this.)
//
// Slots.  A lane begins a stripe only after all slots that the program can take from the pool for it are reserved, and
// stripes begin in order.  So a stripe that has begun everywhere can always finish, and passing slots cannot deadlock.
//
// Files: plan_operation.cpp makes and ends operations; lane.cpp moves lanes; take.cpp, compute.cpp and give.cpp are the
// phases of an instruction.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "arithmetic.h"
#include "binding.h"
#include "coded_payload.h"
#include "custom_reduction.h"
#include "lane.h"
#include "link_table.h"
#include "operation.h"
#include "program.h"

namespace tutti {

class PlanOperation final : public Operation {
 public:
  // `slots`: slots_per_stripe(program, link_table).  A point to point operation is one message.
  PlanOperation(std::shared_ptr<const Program> program, std::string_view algorithm, Binding binding, const Arithmetic& arithmetic,
                const Signature& signature, uint32_t lanes, uint32_t slots, LinkTable& link_table);
  ~PlanOperation() override { abandon_work(); }

  void enter() noexcept override;
  bool advance(bool may_start) override;
  SlotBank* bank() override { return slots_per_stripe_ > 0 && !receives_message_ ? &bank_ : nullptr; }
  bool started() const override { return next_stripe_ >= binding_.stripes(); }
  bool finished() const override { return done_stripes_ == binding_.stripes() && flushed(); }
  int waits_for() const override;
  uint32_t step() const override;
  uint32_t steps() const override { return program_.steps; }
  void end(bool success) override;

  // The most slots one stripe of the program takes from this rank's pool at once; `coded`: with a codec;
  // `scattered`: with a binding of which a block may be in many pieces.
  static uint32_t slots_per_stripe(const Program& program, const LinkTable& link_table, bool coded = false, bool scattered = false);

  // A codec changes what travels.  Before the operation is started.
  void set_coded(std::unique_ptr<CodedPayload> payload) { coded_ = std::move(payload); }

  // The caller's own reduction.  Before the operation is started.
  void set_custom(std::unique_ptr<CustomReduction> custom) {
    custom_ = std::move(custom);
    arithmetic_.custom = custom_.get();
  }

  // Count and type of a block, which its messages state instead of the call's (point to point, all_to_all_v: only the
  // two ends of a message know them).  An empty block sends a message, too: a peer that expects more hears of it.
  struct Tag {
    uint64_t count;
    DataType type;
  };
  struct Tags {
    std::vector<Tag> row, column;  // as the blocks of the binding: of a message, or of all_to_all's row and column
    uint32_t rank = 0;
  };
  void set_tags(Tags tags) { tags_ = std::move(tags); }

  // Before it is started: what this operation, a receive of one block, was made for turns out to be this message, which
  // is not longer.
  void expect(const Signature& message);

 private:
  struct PeerState {
    PeerQueues* queues = nullptr;
    uint64_t send_number = 0, receive_number = 0;  // tickets of the link's queues
    uint64_t sends = 0, receives = 0;              // turns taken
    uint64_t ticket = 0;                           // of the last send
  };

  // lane.cpp
  bool begin_stripe(Lane& lane, bool may_start);
  bool step_lane(Lane& lane);
  bool end_stripe(Lane& lane);
  void keep_identities(Lane& lane);
  void prepare(Lane& lane, const Instruction& instruction);
  void parts_of(Lane& lane, std::span<const Segment> segments, bool keep);
  static void add_part(Lane& lane, const Part& part);
  Slot acquire(Lane& lane);
  void let_go(Lane& lane, const Port& port, Slot slot);
  bool may_overwrite(Lane& lane) const;
  bool flushed(Lane& lane) const;  // what this lane sent in its present stripe
  bool loans_back(Lane& lane) const;
  bool travels(const Lane& lane) const;  // the present instruction's message is sent, if only to say that it is empty
  bool in_host_memory() const { return binding_.space() == Space::host; }
  bool all_take_bytes(std::span<const Port> ports) const;
  bool any_takes_puts(std::span<const Port> ports) const;

  // take.cpp
  bool take(Lane& lane, const Instruction& instruction);
  bool take_from(Lane& lane, const Instruction& instruction, PeerQueues& peer);
  Progress take_slot(Lane& lane, const Instruction& instruction, SlotLink& link);
  Progress take_put(Lane& lane, PutLink& link);
  Progress take_bytes(Lane& lane, const Instruction& instruction, ByteLink& link);
  bool lands_at_destination(const Lane& lane, const Instruction& instruction) const;
  bool receive_turn(const Lane& lane, const Port& port) const;
  void received_one(const Port& port);

  // compute.cpp
  void compute(Lane& lane, const Instruction& instruction);
  void keep_received(Lane& lane, const Instruction& instruction);
  void reduce_received(Lane& lane, const Instruction& instruction);
  void fold(Lane& lane, const Instruction& instruction);
  void compute_coded(Lane& lane, const Instruction& instruction);
  void copy_loan(Lane& lane);
  void settle(Lane& lane, const Instruction& instruction);
  Slot slot_for_result(Lane& lane, const Instruction& instruction);
  CodedWork coded_work(Lane& lane, CodedWork::Kind kind, std::span<const Segment> segments);

  // give.cpp
  bool give(Lane& lane, const Instruction& instruction);
  bool ready_slot(Lane& lane, const Instruction& instruction);
  Progress send(Lane& lane, const Instruction& instruction, const Port& port, bool by_reference);
  Progress send_memory(Lane& lane, const Instruction& instruction, PeerState& peer);
  bool lend(Lane& lane, const Instruction& instruction);
  bool fill_slot(Lane& lane, const Instruction& instruction);
  void share(Lane& lane, const Instruction& instruction);
  static const Offer* offer_of(const Lane& lane, const Port& port);
  static uint32_t receivers_of_slot(const Lane& lane, const Instruction& instruction);
  bool send_turn(const Lane& lane, const Port& port) const;
  void sent_one(const Port& port);

  bool flushed() const;  // every message has left this rank
  void abandon_work() noexcept;
  Signature signature_of(const Lane& lane) const { return tags_.row.empty() ? signature_ : tagged_signature(lane); }
  Signature tagged_signature(const Lane& lane) const;
  bool fail(Progress progress, const Port& port, const Lane& lane);

  std::shared_ptr<const Program> shared_program_;
  const Program& program_;
  Binding binding_;
  Arithmetic arithmetic_;
  Executor& executor_;
  SlotBank& bank_;
  uint32_t slots_per_stripe_;
  uint32_t lane_count_;
  Tags tags_;
  std::unique_ptr<CodedPayload> coded_;
  std::unique_ptr<CustomReduction> custom_;
  uint64_t next_stripe_ = 0, done_stripes_ = 0;
  std::vector<Lane> lanes_;
  std::vector<PeerState> peers_;  // as program_.peers
  bool any_puts_ = false;         // some of their links take puts
  // Messages of point to point to a peer and from it share a bank.  A receive over puts needs a slot; it would wait for
  // ever for sends that wait for the receive of the peer: so it does not queue behind them, and they leave it one.
  bool receives_message_ = false;
  uint32_t left_to_receives_ = 0;
};

}  // namespace tutti

// Runs a Program over links, for all stripes of a Binding.
//
// Lanes.  Up to `lanes` stripes are under way at once.  A lane is a cursor that walks the program's instructions in order; lanes
// advance independently.  A lane whose turn on a link (turn.h) has not come waits.
//
// Loans.  Memory that the peers can reach is lent instead of copied, and where a plan returns a block to the rank that sent it, that rank
// offers the block's home, so that whoever reduces it writes the result there and sends word only (DESIGN: no plan knows of this).  A
// stripe ends when its loans are back.
//
// Slots.  A lane begins a stripe only after all slots that the program can take from the pool for it are reserved, and stripes begin in
// order.  So a stripe that has begun everywhere can always finish, and passing slots cannot deadlock.
#pragma once

#include <memory>
#include <vector>

#include "binding.h"
#include "coder.h"
#include "kernels.h"
#include "operation.h"
#include "link_table.h"
#include "program.h"
#include "turn.h"

namespace tutti {

struct Arithmetic {
  kernels::ReduceFn reduce = nullptr;
  kernels::FoldFn fold = nullptr;
  size_t element_bytes = 1;
  uint32_t divisor = 1;  // at the completing step
  kernels::Store output_store = kernels::Store::cached;
};

class PlanOperation final : public Operation {
 public:
  // `slots`: slots_per_stripe(program, link_table).  A point to point operation is one message.
  PlanOperation(std::shared_ptr<const Program> program, std::string_view algorithm, Binding binding, const Arithmetic& arithmetic,
                const Signature& signature, uint32_t lanes, uint32_t slots, LinkTable& link_table);

  void enter() noexcept override;
  bool advance(bool may_start) override;
  SlotBank* bank() override { return slots_per_stripe_ > 0 ? &bank_ : nullptr; }
  bool started() const override { return next_stripe_ >= binding_.stripes(); }
  bool finished() const override { return done_stripes_ == binding_.stripes() && flushed(); }
  int waits_for() const override;
  uint32_t step() const override;
  uint32_t steps() const override { return program_.steps; }

  // The most slots one stripe of the program takes from this rank's pool at once; `coded`: with a codec.
  static uint32_t slots_per_stripe(const Program& program, const LinkTable& link_table, bool coded = false);

  // A codec changes what travels.  Before the operation is started.
  void set_coder(std::unique_ptr<Coder> coder) { coder_ = std::move(coder); }
  void end(bool well) override;

  // What a block's messages say of themselves instead of the call's count and type (point to point, all_to_all_v: only the two ends of a
  // message know these).  An empty block sends a message, too, so that a peer that expects something hears that there is nothing.
  struct Tag {
    uint64_t count;
    DataType type;
  };
  struct Tags {
    std::vector<Tag> row, column;  // as the blocks of the binding: of a message, or of all_to_all's row and column
    uint32_t rank = 0;
  };
  void set_tags(Tags tags) { tags_ = std::move(tags); }

 private:
  // A contiguous part of an instruction's blocks in one stripe.
  struct Part {
    const std::byte* own;  // where this rank's value is
    std::byte* home;       // where the new value goes; null if it is not kept
    size_t bytes;
  };
  struct Loan {
    Slot slot;
    size_t bytes;
    uint32_t link;  // its first receiver
  };
  struct Offer {
    uint32_t link;
    std::byte* home;
  };
  enum class Phase : uint8_t { prepare, take, compute, give };
  struct Lane {
    bool active = false;
    Phase phase = Phase::prepare;
    bool from_home = false;  // the value to give is at home, not in `slot`
    uint32_t pc = 0;         // instruction
    uint32_t port = 0;       // next in or out port of it
    uint32_t reserved = 0;   // slots promised and not yet acquired
    uint64_t stripe = 0;
    StripePlace place;
    size_t bytes = 0;              // of the message
    Slot slot;
    std::vector<Slot> gathered;  // contributions of a fold
    std::vector<Part> parts;
    std::vector<Piece> pieces;
    std::vector<std::byte> scratch;
    std::vector<std::pair<Link*, uint64_t>> sending;  // tickets of sends from memory in this stripe
    std::vector<Loan> loans;                          // likewise
    std::vector<Offer> offers;                        // of the peers whose messages are taken
  };
  struct PeerState {
    PeerQueues* queues = nullptr;
    uint64_t send_number = 0, receive_number = 0;  // drawn in the link's queues
    uint64_t sends = 0, receives = 0;              // turns taken
    uint64_t ticket = 0;                           // of the last send
  };

  bool begin_stripe(Lane& lane, bool may_start);
  bool step_lane(Lane& lane);
  uint32_t number(const Lane& lane) const { return static_cast<uint32_t>(&lane - lanes_.data()); }
  void prepare(Lane& lane, const Instruction& instruction);
  bool take(Lane& lane, const Instruction& instruction);
  bool take_from(Lane& lane, const Instruction& instruction, PeerQueues& peer);
  Progress take_slot(Lane& lane, const Instruction& instruction, SlotLink& link);
  Progress take_put(Lane& lane, PutLink& link);
  Progress take_bytes(Lane& lane, const Instruction& instruction, ByteLink& link);
  bool lands_at_home(const Lane& lane, const Instruction& instruction) const;
  void compute(Lane& lane, const Instruction& instruction);
  void compute_fold(Lane& lane, const Instruction& instruction);
  void compute_coded(Lane& lane, const Instruction& instruction);
  Slot slot_for_result(Lane& lane, const Instruction& instruction);
  void copy_loan(Lane& lane);
  bool give(Lane& lane, const Instruction& instruction);
  void share(Lane& lane, const Instruction& instruction);
  bool fill_slot(Lane& lane, const Instruction& instruction);
  bool lend(Lane& lane, const Instruction& instruction);
  static const Offer* offer_of(const Lane& lane, const Port& port);
  static uint32_t receivers_of_slot(const Lane& lane, const Instruction& instruction);
  bool end_stripe(Lane& lane);
  void parts_of(Lane& lane, std::span<const Segment> segments, bool keep_home);
  Slot acquire(Lane& lane);
  void let_go(Lane& lane, const Port& port, Slot slot);
  void let_go_gathered(Lane& lane, const Instruction& instruction);

  bool send_turn(const Lane& lane, const Port& port) const;
  bool receive_turn(const Lane& lane, const Port& port) const;
  void sent_one(const Port& port);
  void received_one(const Port& port);
  bool all_take_bytes(std::span<const Port> ports) const;
  bool any_takes_puts(std::span<const Port> ports) const;
  bool flushed() const;            // every message has left this rank
  bool flushed(Lane& lane) const;  // by this lane, in its present stripe
  bool loans_back(Lane& lane) const;
  bool may_overwrite(Lane& lane) const;
  bool travels(const Lane& lane) const;  // the present instruction's message is sent although it may be empty
  Signature signature_of(const Lane& lane) const;
  bool fail(Progress progress, const Port& port, const Lane& lane);

  std::shared_ptr<const Program> shared_program_;
  const Program& program_;
  Binding binding_;
  Arithmetic arithmetic_;
  LinkTable& link_table_;
  SlotBank& bank_;
  uint32_t slots_per_stripe_;
  uint32_t lane_count_;
  Tags tags_;
  std::unique_ptr<Coder> coder_;
  uint64_t next_stripe_ = 0, done_stripes_ = 0;
  std::vector<Lane> lanes_;
  std::vector<PeerState> peers_;  // as program_.peers
};

}  // namespace tutti

// Runs a program on the device.  Every instruction is one fold:
//   send         one source, the peers' slots as targets
//   recv         one source, this rank's memory and the slots of those it is passed on to as targets
//   recv_reduce  two sources in rank order
//   fold         all of them
// Messages are written into their receiver's memory.  A flag in its channel says that one is there, or each word does
// so itself (Protocol); a word in the sender's channel says that it has been read.
//
// Loans (loan.h) are messages as others: they take their number and their room in the channel, only their slot stays
// empty.  So a rank waits in its program for what it would wait for anyway, and no plan can be stuck that is not
// without them (tests/plan/deadlock_test.cpp).  What is new is a wait at the end, until all loans have been read, since
// the caller may write there afterwards.  It is behind all instructions of the lane: whoever has still to read has all
// that this rank sends, and waits for nothing that this rank does after it.  During the call nothing is written where
// others may still read: of inputs Instruction::lends_freely says so, and final values are written once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "device_call.h"
#include "fold.h"
#include "parts.h"

namespace tutti::cuda {

struct PartOperands {
  DevicePart part;
  const InterpreterPeer* messages;  // by in port and by out port
  uint32_t own_position, n_sources, outs;

  TUTTI_DEVICE uint32_t sources() const { return n_sources; }
  TUTTI_DEVICE const std::byte* source(uint32_t s) const {
    return s == own_position ? part.own : messages[s - (s > own_position)].in + part.at;
  }
  TUTTI_DEVICE uint32_t targets() const { return outs + (part.home != nullptr); }
  TUTTI_DEVICE std::byte* target(uint32_t t) const {
    if (part.home == nullptr) return messages[t].out + part.at;
    return t == 0 ? part.home : messages[t - 1].out + part.at;
  }
};

// What moves as it is: no not-a-number becomes another.
struct MovedOperands : PartOperands {
  TUTTI_DEVICE static constexpr uint32_t sources() { return 1; }
};

template <class Format, class Op, class Machine>
class Interpreter {
 public:
  TUTTI_DEVICE Interpreter(const Machine& machine, const DeviceCall& launched) : machine_(machine) {
    const DeviceCall& call = launched.world != nullptr ? launched.world[machine.rank()] : launched;
    std::byte* at = machine.shared();
    peers_ = reinterpret_cast<InterpreterPeer*>(at);
    at += call.header.peers * sizeof(InterpreterPeer);
    copy(at, reinterpret_cast<const std::byte*>(&call.header), sizeof(DeviceCallHeader));
    header_ = reinterpret_cast<DeviceCallHeader*>(at);
    at += sizeof(DeviceCallHeader);
    copy(at, call.header.program != nullptr ? call.header.program : call.program, call.header.program_bytes);
    device_peers_ = reinterpret_cast<const DevicePeer*>(at);
    const auto* const blocks = reinterpret_cast<const DeviceBlock*>(at += call.header.peers * sizeof(DevicePeer));
    instructions_ = reinterpret_cast<const DeviceInstruction*>(at += call.header.block_rows * sizeof(DeviceBlock));
    const auto* const segments = reinterpret_cast<const DeviceSegment*>(at += call.header.instructions * sizeof(DeviceInstruction));
    parts_ = {header_, blocks, segments};
    ports_ = reinterpret_cast<const uint16_t*>(at + call.header.segments * sizeof(DeviceSegment));
    machine.sync();
  }

  TUTTI_DEVICE void run() {
    const uint32_t lane = machine_.block();
    if (begin_lane(lane)) return;
    tell_call();
    TUTTI_LOOP
    for (uint64_t stripe = lane; stripe < header_->stripes; stripe += machine_.blocks()) {
      TUTTI_LOOP
      for (uint32_t n = 0; n < header_->instructions; ++n)
        if (!carry_out(instructions_[n], stripe)) return;
    }
    if (header_->lent[0].bytes > 0 && !wait_for_readers()) return;
    for (uint32_t p = machine_.thread(); p < header_->peers; p += machine_.threads()) {
      device_peers_[p].mine[lane].sent = peers_[p].sent;
      device_peers_[p].mine[lane].received = peers_[p].received;
    }
    if (machine_.thread() == 0) header_->calls[lane].received = header_->call;
  }

 private:
  // Returns whether the ranks have given up before the call came to its turn: then it writes nothing, as its caller may
  // have returned.  None of what is asked for here depends on the rest, so all of it is one trip to the memory; what
  // acquires comes last, since nothing behind it is asked for before it is there.
  TUTTI_DEVICE bool begin_lane(uint32_t lane) {
    const bool is_first = machine_.thread() == 0;
    uint64_t calls = 0;
    uint32_t is_void = 0;
    if (is_first) {
      calls = Machine::load_relaxed(&header_->calls[lane].received);
      is_void = Machine::load_relaxed(header_->void_call);
    }
    TUTTI_LOOP
    for (uint32_t p = machine_.thread(); p < header_->peers; p += machine_.threads()) {
      const Channel& mine = device_peers_[p].mine[lane];
      const uint64_t sent = Machine::load_relaxed(&mine.sent), received = Machine::load_relaxed(&mine.received);
      peers_[p].taken = Machine::load_acquire(&mine.taken);
      peers_[p].sent = sent;
      peers_[p].received = received;
      peers_[p].lent = 0;
    }
    if (is_first) {
      header_->call = calls + 1;
      header_->mixed_hash = mixed(header_->hash, header_->call);
      header_->scratch += lane * scratch_bytes(*header_);
    }
    return machine_.any(is_void != 0);
  }

  // By words: everything that is copied is a multiple of 8 bytes, and aligned.
  TUTTI_DEVICE void copy(std::byte* to, const std::byte* from, uint64_t bytes) {
    for (uint64_t at = machine_.thread() * sizeof(uint64_t); at < bytes; at += machine_.threads() * sizeof(uint64_t))
      std::memcpy(to + at, from + at, sizeof(uint64_t));
  }

  // ---- instructions ----

  // Returns false if the ranks have given up.
  TUTTI_DEVICE bool carry_out(const DeviceInstruction& instruction, uint64_t stripe) {
    PartOperands operands;
    PartWalk parts(instruction, stripe);
    if (!parts_.next(parts, operands.part)) return true;  // an empty message does not travel, as both its ends know
    const uint64_t loan = loan_of(instruction, operands.part, parts);
    if (!wait_for_messages(instruction, operands.part, parts, loan)) return false;
    operands.messages = peers_;
    operands.outs = loan != 0 ? 0 : instruction.outs;
    operands.n_sources = 1u + instruction.ins;
    operands.own_position = instruction.take == DeviceTake::recv_reduce ? instruction.received_is_left
                            : instruction.take == DeviceTake::fold      ? instruction.own_position
                                                                        : 0;
    if (instruction.take == DeviceTake::recv) operands.own_position = ~0u, operands.n_sources = 1;
    const Divisor divisor(instruction.completes ? header_->divisor : 1);
    if (is_stamped() && instruction.ins + instruction.outs > 0) {
      bool here = true;
      TUTTI_LOOP
      do here = here && compute_stamped(operands, divisor, instruction);
      while (parts_.next(parts, operands.part));
      here = here && sweep(instruction, parts.at);
      if (machine_.any(!here)) return false;
    } else {
      TUTTI_LOOP
      do compute(operands, divisor);
      while (parts_.next(parts, operands.part));
      machine_.sync();
    }
    tell_peers(instruction);
    return true;
  }

  TUTTI_DEVICE bool is_stamped() const { return header_->protocol == Protocol::stamped; }

  // Narrow elements take the more registers for each vector.
  static constexpr uint32_t kVectors = sizeof(typename Format::Stored) < 4 ? sizeof(typename Format::Stored) : 4;

  TUTTI_DEVICE void compute(const PartOperands& operands, const Divisor& divisor) const {
    const DevicePart& part = operands.part;
    if (operands.n_sources > 1) {
      fold<Format, Op, kVectors>(machine_, operands, part.bytes, divisor, 0, 1);
    } else if (operands.targets() > 0 && (operands.outs > 0 || operands.own_position != 0 || part.own != part.home)) {
      fold<Plain<Raw<typename Format::Stored>>, Sum, 4>(machine_, MovedOperands{operands}, part.bytes, Divisor(1), 0, 1);
    }
  }

  // ---- stamped messages: each thread looks for what it reads ----

  // Eight bytes of each operand at once; the words of several messages are asked for before the first is waited for.
  TUTTI_DEVICE bool compute_stamped(const PartOperands& operands, const Divisor& divisor, const DeviceInstruction& instruction) {
    constexpr uint32_t kAtOnce = 4;  // with more, registers spill on some architectures
    const DevicePart& part = operands.part;
    const uint64_t end = (part.bytes + 15) / 16 * 16;  // where the next part begins: no word is left out
    TUTTI_LOOP
    for (uint64_t at = machine_.thread() * sizeof(Pair); at < end; at += machine_.threads() * sizeof(Pair)) {
      const uint64_t left = at < part.bytes ? part.bytes - at : 0, place = 2 * (part.at + at);
      Pair own{};
      if (operands.own_position < operands.n_sources) own = load_elements(part.own + at, left);
      Partial<Format, Op, Pair> result;
      Pair moved = own;
      result.begin(own);
      TUTTI_LOOP
      for (uint32_t first = 0; first < operands.n_sources; first += kAtOnce) {
        StampedPair seen[kAtOnce];
        TUTTI_UNROLL
        for (uint32_t k = 0; k < kAtOnce; ++k) {
          const uint32_t s = first + k;
          if (s < operands.n_sources && s != operands.own_position)
            seen[k] = Machine::load_words(peers_[message_of(operands, s)].in + place);
        }
        TUTTI_UNROLL
        for (uint32_t k = 0; k < kAtOnce; ++k) {
          const uint32_t s = first + k;
          if (s >= operands.n_sources) break;
          Pair value = own;
          if (s != operands.own_position) {
            if (!wait_for_words(seen[k], place, message_of(operands, s), instruction)) return false;
            value = {{static_cast<uint32_t>(seen[k].word[0]), static_cast<uint32_t>(seen[k].word[1])}};
          }
          if (s == 0)
            result.begin(value), moved = value;
          else
            result.add(value);
        }
      }
      if (operands.n_sources > 1) moved = result.finished(divisor);  // what moves as it is keeps its bits
      if (part.home != nullptr) store_elements(part.home + at, moved, left);
      TUTTI_LOOP
      for (uint32_t n = 0; n < operands.outs; ++n) store_stamped(n, place, moved);
    }
    return true;
  }

  TUTTI_DEVICE static uint32_t message_of(const PartOperands& operands, uint32_t source) {
    return source - (source > operands.own_position);
  }

  TUTTI_DEVICE bool wait_for_words(StampedPair& seen, uint64_t place, uint32_t message, const DeviceInstruction& instruction) {
    const uint32_t wanted = stamp_of(peers_[message].in_number, header_->mixed_hash);
    const auto are_here = [&] {
      return static_cast<uint32_t>(seen.word[0] >> 32) == wanted && static_cast<uint32_t>(seen.word[1] >> 32) == wanted;
    };
    if (are_here()) return true;
    const DevicePeer& peer = device_peers_[ports_[instruction.first_in + message]];
    return wait_until(
        peer, instruction,
        [&] {
          seen = Machine::load_words(peers_[message].in + place);
          return are_here();
        },
        [&] {
          const auto is_of_another_call = [&](uint64_t word) {
            const auto stamp = static_cast<uint32_t>(word >> 32);
            return stamp != wanted && stamp << (32 - kStampNumberBits) == wanted << (32 - kStampNumberBits);
          };
          return is_of_another_call(seen.word[0]) || is_of_another_call(seen.word[1]) ? DeviceReport::Kind::mismatch
                                                                                      : DeviceReport::Kind::none;
        });
  }

  TUTTI_DEVICE void store_stamped(uint32_t message, uint64_t place, const Pair& data) const {
    const uint64_t stamp = uint64_t{stamp_of(peers_[message].out_number, header_->mixed_hash)} << 32;
    Machine::store_words(peers_[message].out + place, {{stamp | data.word[0], stamp | data.word[1]}});
  }

  // What is behind the data of messages that overwrite their slots.  It is waited for, too: when a message is taken,
  // all of it has been written.
  TUTTI_DEVICE bool sweep(const DeviceInstruction& instruction, uint64_t data_bytes) {
    const uint64_t begin = 2 * data_bytes + machine_.thread() * sizeof(StampedPair),
                   step = machine_.threads() * sizeof(StampedPair);
    TUTTI_LOOP
    for (uint32_t n = 0; n < instruction.outs; ++n) {
      if (!sweeps_slot(peers_[n].out_number)) continue;
      TUTTI_LOOP
      for (uint64_t at = begin; at < header_->slot_bytes; at += step) store_stamped(n, at, {});
    }
    TUTTI_LOOP
    for (uint32_t n = 0; n < instruction.ins; ++n) {
      if (!sweeps_slot(peers_[n].in_number)) continue;
      TUTTI_LOOP
      for (uint64_t at = begin; at < header_->slot_bytes; at += step) {
        StampedPair seen{};
        if (!wait_for_words(seen, at, n, instruction)) return false;
      }
    }
    return true;
  }

  // Up to eight bytes of elements, which alone need be aligned; behind the end there are zeros.
  static constexpr uint32_t kElements = sizeof(Pair) / sizeof(typename Format::Stored);
  using Element = Raw<typename Format::Stored>;

  TUTTI_DEVICE static bool is_whole(const std::byte* at, uint64_t left) {
    return left >= sizeof(Pair) && reinterpret_cast<uintptr_t>(at) % sizeof(Pair) == 0;
  }

  TUTTI_DEVICE static Pair load_elements(const std::byte* from, uint64_t left) {
    if (is_whole(from, left)) {
      const uint64_t both = Machine::template load<uint64_t>(from);
      return {{static_cast<uint32_t>(both), static_cast<uint32_t>(both >> 32)}};
    }
    Element elements[kElements] = {};
    TUTTI_UNROLL
    for (uint32_t e = 0; e < kElements; ++e)
      if (e * sizeof(Element) < left) elements[e] = Machine::template load<Element>(from + e * sizeof(Element));
    Pair pair;
    std::memcpy(&pair, elements, sizeof pair);
    return pair;
  }
  TUTTI_DEVICE static void store_elements(std::byte* to, const Pair& pair, uint64_t left) {
    if (is_whole(to, left)) return Machine::store(to, uint64_t{pair.word[1]} << 32 | pair.word[0]);
    Element elements[kElements];
    std::memcpy(elements, &pair, sizeof pair);
    TUTTI_UNROLL
    for (uint32_t e = 0; e < kElements; ++e)
      if (e * sizeof(Element) < left) Machine::store(to + e * sizeof(Element), elements[e]);
  }

  // ---- messages: a thread for each ----

  // The n-th message in always falls to one thread, the n-th out to one at the other end of the block: what a thread
  // notes of its messages in wait_for_messages it alone reads in tell_peers.
  TUTTI_DEVICE uint32_t first_in() const { return machine_.thread(); }
  TUTTI_DEVICE uint32_t first_out() const { return machine_.threads() - 1 - machine_.thread(); }

  TUTTI_DEVICE uint64_t slot_of(uint64_t number) const {
    return (uint64_t{machine_.block()} * kChannelSlots + number % kChannelSlots) * header_->slot_bytes;
  }

  TUTTI_DEVICE bool wait_for_messages(const DeviceInstruction& instruction, const DevicePart& first, const PartWalk& rest,
                                      uint64_t loan) {
    const uint32_t lane = machine_.block();
    bool here = true;
    TUTTI_LOOP
    for (uint32_t n = first_in(); n < instruction.ins; n += machine_.threads()) {
      const uint32_t p = ports_[instruction.first_in + n];
      const DevicePeer& peer = device_peers_[p];
      const uint64_t number = ++peers_[p].received;
      if (is_stamped())
        peers_[n].in = peer.inbox + slot_of(number);
      else
        here = wait_for_flag(peers_[n].in, number, peer, instruction, first, rest) && here;
      peers_[n].in_number = number;
    }
    TUTTI_LOOP
    for (uint32_t n = first_out(); n < instruction.outs; n += machine_.threads()) {
      const uint32_t p = ports_[instruction.first_out + n];
      const DevicePeer& peer = device_peers_[p];
      const uint64_t number = ++peers_[p].sent;
      const uint64_t& taken = peer.mine[lane].taken;
      const auto has_room = [&] { return number - (peers_[p].taken = Machine::load_acquire(&taken)) <= kChannelSlots; };
      if (number - peers_[p].taken > kChannelSlots)
        here = wait_until(peer, instruction, has_room, [] { return DeviceReport::Kind::none; }) && here;
      if (loan != 0) peers_[p].lent = number;
      peers_[n].out_loan = loan;
      peers_[n].out_flag = flag_of(number, header_->mixed_hash, told_bytes(first));
      peers_[n].out = peer.outbox + slot_of(number);
      peers_[n].out_number = number;
    }
    return !machine_.any(!here);
  }

  // Of an exchange, whose messages are one part each; of other calls the parts may be others at the two ends.
  TUTTI_DEVICE uint64_t told_bytes(const DevicePart& first) const { return header_->cut == DeviceCut::exchange ? first.bytes : 0; }

  // Of a message that begins with this part.
  TUTTI_DEVICE bool wait_for_flag(const std::byte*& message, uint64_t number, const DevicePeer& peer,
                                  const DeviceInstruction& instruction, const DevicePart& first, const PartWalk& rest) {
    const Channel& channel = peer.mine[machine_.block()];
    const uint64_t wanted = flag_of(number, header_->mixed_hash, told_bytes(first));
    uint64_t seen = 0;
    return wait_until(
        peer, instruction,
        [&] {
          seen = Machine::load_acquire(&channel.flag[number % kChannelSlots]);
          if (seen != wanted) return false;
          const uint64_t loan = Machine::load_relaxed(&channel.loan[number % kChannelSlots]);
          message = loan == 0 ? peer.inbox + slot_of(number) : lent_by(peer, LoanWord::of(loan), first, rest);
          return message != nullptr;
        },
        [&] {
          if (seen == wanted) return DeviceReport::Kind::stray;
          return seen >> 32 == wanted >> 32 ? DeviceReport::Kind::mismatch : DeviceReport::Kind::none;
        });
  }

  // ---- loans ----

  // The word of a loan of this instruction's value, if that is one part; 0: it goes into slots.
  TUTTI_DEVICE uint64_t loan_of(const DeviceInstruction& instruction, const DevicePart& first, const PartWalk& rest) const {
    if (!instruction.lends || header_->lent[0].bytes == 0 || first.bytes < header_->least_loan || rest.segment < rest.end) return 0;
    const std::byte* const value = instruction.take == DeviceTake::nothing ? first.own : first.home;
    TUTTI_LOOP
    for (uint32_t n = 0; n < kMostLent; ++n) {
      const LentRegion& region = header_->lent[n];
      const uint64_t offset = reinterpret_cast<uintptr_t>(value) - reinterpret_cast<uintptr_t>(region.base);
      if (offset < region.bytes && first.bytes <= region.bytes - offset) return LoanWord{region.number, offset}.word();
    }
    return 0;
  }

  // Where the message begins, if its first part is there; null if not all of it is in memory that the peer has lent to
  // this rank, or if its elements are not aligned.
  TUTTI_DEVICE const std::byte* lent_by(const DevicePeer& peer, const LoanWord& loan, const DevicePart& first,
                                        PartWalk rest) const {
    if (loan.region >= kRegionsOfRank || loan.offset % sizeof(typename Format::Stored) != 0) return nullptr;
    DevicePart last = first;
    TUTTI_LOOP
    while (parts_.next(rest, last)) continue;
    const uint64_t bytes = last.at + last.bytes - first.at;
    const DeviceRegion& region = header_->regions[peer.rank * kRegionsOfRank + loan.region];
    if (loan.offset > region.bytes || bytes > region.bytes - loan.offset) return nullptr;
    return later(region.base, loan.offset - first.at);
  }

  TUTTI_DEVICE bool wait_for_readers() {
    bool all = true;
    TUTTI_LOOP
    for (uint32_t p = machine_.thread(); p < header_->peers; p += machine_.threads()) {
      const uint64_t lent = peers_[p].lent;
      const uint64_t& taken = device_peers_[p].mine[machine_.block()].taken;
      const auto has_read = [&] { return Machine::load_acquire(&taken) >= lent; };
      all = wait_until(device_peers_[p], instructions_[header_->instructions - 1], has_read,
                       [] { return DeviceReport::Kind::none; }) &&
            all;
    }
    return !machine_.any(!all);
  }

  // ---- what is called ----

  TUTTI_DEVICE Channel& flagged(Channel* channels) const { return later(channels, header_->to_flagged)[machine_.block()]; }

  TUTTI_DEVICE void tell_call() const {
    TUTTI_LOOP
    for (uint32_t p = machine_.thread(); p < header_->peers; p += machine_.threads()) {
      Machine::store_relaxed(&flagged(device_peers_[p].theirs).called[header_->call % kCallsTold],
                             header_->call << 32 | header_->hash);
      flagged(device_peers_[p].mine).told = header_->call;
    }
  }
  TUTTI_DEVICE bool calls_otherwise(const DevicePeer& peer) const {
    const uint64_t told = Machine::load_relaxed(&flagged(peer.mine).called[header_->call % kCallsTold]),
                   mine = header_->call << 32 | header_->hash;
    return told >> 32 == mine >> 32 && told != mine;
  }

  // Looks at the host's memory and at the clock now and then only, one warp of the block after another: both are far
  // away, the host answers one look after another, and all threads may wait.
  template <class Ready, class Amiss>
  TUTTI_DEVICE bool wait_until(const DevicePeer& peer, const DeviceInstruction& instruction, const Ready& ready,
                               const Amiss& amiss) {
    constexpr uint64_t kSecond = 1'000'000'000;
    const uint32_t warps = (machine_.threads() + kWarp - 1) / kWarp, warp = machine_.thread() / kWarp;
    uint64_t begin = 0, said = 0;
    TUTTI_LOOP
    for (uint32_t polls = 1; !ready(); ++polls) {
      if (polls > Machine::kPolls) Machine::pause();  // from then on others may have the device
      if (polls % Machine::kPolls != 0 || polls / Machine::kPolls % warps != warp) continue;
      if (Machine::load_relaxed(header_->given_up) != 0) return false;
      const uint64_t now = Machine::nanoseconds();
      if (begin == 0) begin = now;
      DeviceReport report{amiss(), static_cast<uint32_t>((now - begin) / kSecond), static_cast<uint32_t>(peer.rank),
                          instruction.step, header_->hash};
      if (report.kind == DeviceReport::Kind::none && calls_otherwise(peer)) report.kind = DeviceReport::Kind::mismatch;
      if (report.kind == DeviceReport::Kind::none && now - begin > kSecond) report.kind = DeviceReport::Kind::waits;
      if (report.kind != DeviceReport::Kind::none && now - said > kSecond) {
        Machine::store_relaxed(&header_->report[report.kind != DeviceReport::Kind::waits], report.word());
        said = now;
      }
    }
    return true;
  }

  TUTTI_DEVICE void tell_peers(const DeviceInstruction& instruction) const {
    const uint32_t lane = machine_.block();
    TUTTI_LOOP
    for (uint32_t n = first_in(); n < instruction.ins; n += machine_.threads()) {
      uint64_t& taken = device_peers_[ports_[instruction.first_in + n]].theirs[lane].taken;
      // A stamped word that had been overwritten already would not have been taken for this message's.
      is_stamped() ? Machine::store_relaxed(&taken, peers_[n].in_number) : Machine::store_release(&taken, peers_[n].in_number);
    }
    if (is_stamped()) return;
    TUTTI_LOOP
    for (uint32_t n = first_out(); n < instruction.outs; n += machine_.threads()) {
      const uint64_t number = peers_[n].out_number;
      Channel& theirs = device_peers_[ports_[instruction.first_out + n]].theirs[lane];
      Machine::store_relaxed(&theirs.loan[number % kChannelSlots], peers_[n].out_loan);
      Machine::store_release(&theirs.flag[number % kChannelSlots], peers_[n].out_flag);
    }
  }

  const Machine& machine_;
  InterpreterPeer* peers_;  // numbers are by peer, messages by port
  DeviceCallHeader* header_;
  const DevicePeer* device_peers_;
  Parts parts_;
  const DeviceInstruction* instructions_;
  const uint16_t* ports_;
};

}  // namespace tutti::cuda

// The checker rejects every program with one mistake in it: what the compiler says of memory, messages and order is
// proved, too.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <span>

#include "checker.h"
#include "job.h"
#include "sample_teams.h"

namespace tutti {
namespace {

// Changes one thing, asks the checker, and changes it back.
class Mutation {
 public:
  explicit Mutation(ProgramSet& set) : set_(set) {}

  template <class T>
  void expect_rejected(const std::string& kind, T& place, const std::type_identity_t<T>& value) {
    const T right = std::exchange(place, value);
    ASSERT_FALSE(prove(set_).ok()) << kind << ": " << where;
    place = right;
    ++rejected[kind];
  }

  std::string where;
  std::map<std::string, int> rejected;

 private:
  ProgramSet& set_;
};

// The segment is written or read where the value is at destination.
bool uses_destination(const Instruction& instruction, const Segment& segment) {
  return instruction.keeps || (instruction.take != Take::recv && !segment.from_input);
}

bool touches(const Instruction& instruction, uint32_t block, const Program& program) {
  return (block + program.blocks - instruction.block) % program.blocks < instruction.count;
}

bool overlap(const Instruction& a, const Instruction& b, const Program& program) {
  return touches(a, b.block, program) || touches(b, a.block, program);
}

// A later instruction reads a block of the segment.
bool read_later(size_t i, const Segment& segment, const Program& program) {
  for (uint32_t block = segment.block; block < segment.block + segment.count; ++block)
    for (size_t later = i + 1; later < program.instructions.size(); ++later)
      if (touches(program.instructions[later], block, program) && program.instructions[later].take != Take::recv) return true;
  return false;
}

// The last instruction before the i-th that touches its blocks sends from memory.
bool just_sent(size_t i, const Program& program) {
  for (size_t before = i; before-- > 0;)
    if (const Instruction& other = program.instructions[before]; overlap(other, program.instructions[i], program))
      return other.take == Take::nothing;
  return false;
}

// The next instruction after the i-th that touches its blocks gets just them from the peer to whom they were sent, so
// that it would do no harm to offer their destination.
bool comes_back(size_t i, const Program& program) {
  const Instruction& send = program.instructions[i];
  const auto rest = std::span(program.instructions).subspan(i + 1);
  const auto next = std::ranges::find_if(rest, [&](const Instruction& other) { return overlap(other, send, program); });
  return next != rest.end() && send.outs.size() == 1 && next->take == Take::recv && next->ins[0].link == send.outs[0].link &&
         next->block == send.block && next->count == send.count;
}

void mutate_segments(Mutation& mutation, size_t number, Program& program) {
  const Instruction& instruction = program.instructions[number];
  const auto first = static_cast<size_t>(instruction.segments.data() - program.segments.data());
  for (size_t i = first; i < first + instruction.segments.size(); ++i) {
    Segment& segment = program.segments[i];
    if (instruction.take != Take::recv) mutation.expect_rejected("from input", segment.from_input, !segment.from_input);
    mutation.expect_rejected("block", segment.block, segment.block + 1);
    mutation.expect_rejected("count", segment.count, segment.count + 1);
    if (!uses_destination(instruction, segment)) continue;
    mutation.expect_rejected("in output", segment.in_output, !segment.in_output);
    if (!segment.in_output && read_later(number, segment, program))
      mutation.expect_rejected("scratch", segment.scratch, segment.scratch + 1);
  }
}

void mutate_ports(Mutation& mutation, std::span<const Port> ports, Program& program) {
  const auto first = static_cast<size_t>(ports.data() - program.ports.data());
  for (size_t i = first; i < first + ports.size(); ++i) {
    Port& port = program.ports[i];
    mutation.expect_rejected("port index", port.index, port.index + 1);
    mutation.expect_rejected("port link", port.link, port.link + 1);
    if (port.link > 0) mutation.expect_rejected("port link", port.link, port.link - 1);
  }
}

void mutate_flags(Mutation& mutation, size_t number, Program& program) {
  Instruction& instruction = program.instructions[number];
  if (instruction.keeps) mutation.expect_rejected("keep", instruction.keeps, false);
  if (instruction.take == Take::recv) mutation.expect_rejected("take", instruction.take, Take::recv_reduce);
  if (instruction.take == Take::recv_reduce) mutation.expect_rejected("take", instruction.take, Take::recv);
  if (instruction.take == Take::recv_reduce)
    mutation.expect_rejected("side", instruction.received_is_left, !instruction.received_is_left);
  if (instruction.take == Take::fold) mutation.expect_rejected("position", instruction.own_position, instruction.own_position + 1);
  if (instruction.take == Take::recv_reduce || instruction.take == Take::fold)
    mutation.expect_rejected("completes", instruction.completes, !instruction.completes);
  if (instruction.take != Take::nothing && !instruction.last_touch)
    mutation.expect_rejected("last touch", instruction.last_touch, true);
  // Scratch that is written after its block was sent may never have been sent itself.
  const bool output = std::ranges::all_of(instruction.segments, &Segment::in_output);
  if (instruction.after_flush && output && just_sent(number, program))
    mutation.expect_rejected("after flush", instruction.after_flush, false);
  if (instruction.take == Take::nothing && !instruction.offers && !comes_back(number, program))
    mutation.expect_rejected("offers", instruction.offers, true);
}

class EveryProgram : public testing::TestWithParam<Algorithm> {};

TEST_P(EveryProgram, WithOneMistakeIsRejected) {
  const Algorithm& algorithm = GetParam();
  std::map<std::string, int> rejected;
  for (const Team& team : {Team(2), Team(3), Team(4), Team(5), Team(8), team_of({2, 3}), team_of({2, 2, 1}, true)}) {
    Job job(algorithm, team, team.size / 2);
    ProgramSet& set = job.set;
    Mutation mutation(set);
    for (size_t rank = 0; rank < set.programs.size(); ++rank) {
      Program& program = set.programs[rank];
      for (size_t i = 0; i < program.instructions.size(); ++i) {
        mutation.where = "rank " + std::to_string(rank) + " of " + std::to_string(team.size) + ", instruction " + std::to_string(i);
        mutate_flags(mutation, i, program);
        mutate_segments(mutation, i, program);
        mutate_ports(mutation, program.instructions[i].ins, program);
        mutate_ports(mutation, program.instructions[i].outs, program);
        if (HasFatalFailure()) return;
      }
      for (Program::Peer& peer : program.peers) mutation.expect_rejected("messages", peer.sends, peer.sends + 1);
      for (Segment& segment : program.identities) mutation.expect_rejected("identity", segment.in_output, false);
      if (HasFatalFailure()) return;
    }
    ASSERT_TRUE(prove(set).ok());
    for (const auto& [kind, count] : mutation.rejected) rejected[kind] += count;
  }
  for (const char* kind : {"block", "port index", "messages"}) EXPECT_GT(rejected[kind], 0) << kind;
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryProgram, testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& test) { return label(test.param); });

}  // namespace
}  // namespace tutti

// The simulator's outline folds up the programs that the engine runs: the same messages in the same order, the same
// bytes.
#include <gtest/gtest.h>

#include <tuple>

#include "all_plans.h"
#include "binding.h"
#include "outline.h"
#include "program.h"
#include "sample_teams.h"
#include "stripes.h"

namespace tutti {
namespace {

// One end of a message: who, the how-manieth, of how many, which blocks.
using End = std::tuple<uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>;

struct Story {  // of one rank
  std::vector<End> taken, given;
  std::vector<uint32_t> reduced;  // for each message taken
  std::vector<bool> kept;         // for each message that is only received
  std::vector<bool> passed_on;    // for each message given
};

Story told_by(const Outline& outline, uint32_t rank) {
  Story story;
  const auto end = [](const Move& move, const Move::End& e) { return End{e.peer, e.index, e.total, move.block, move.count}; };
  for (const MoveRow& row : outline.rows(rank)) {
    Move move = row.first;
    for (uint32_t i = 0; i < row.repeat; ++i) {
      if (move.in.peer != Move::kNobody) {
        story.taken.push_back(end(move, move.in));
        story.reduced.push_back(move.reduced);
        story.kept.push_back(move.kept);
        move.in.peer = (move.in.peer + row.in_peer_step) % outline.size();
      }
      if (move.gives != Move::Gives::nothing) {
        story.given.push_back(end(move, move.out));
        story.passed_on.push_back(move.gives == Move::Gives::received);
        move.out.peer = (move.out.peer + row.out_peer_step) % outline.size();
      }
      move.in.index += row.in_index_step;
      move.out.index += row.out_index_step;
      move.block = (move.block + row.block_step) % outline.blocks();
    }
  }
  return story;
}

Story told_by(const Program& program) {
  Story story;
  for (const Instruction& instruction : program.instructions) {
    uint32_t count = 0;
    for (const Segment& segment : instruction.segments) count += segment.count;
    const auto end = [&](const Port& port, bool in) {
      const Program::Peer& peer = program.peers[port.link];
      return End{static_cast<uint32_t>(peer.rank), port.index, in ? peer.receives : peer.sends, instruction.segments[0].block,
                 count};
    };
    for (size_t i = 0; i < instruction.ins.size(); ++i) {
      const bool last = i + 1 == instruction.ins.size(), reduces = instruction.take != Take::recv;
      story.taken.push_back(end(instruction.ins[i], true));
      story.reduced.push_back(reduces && last ? static_cast<uint32_t>(instruction.ins.size()) : 0);
      story.kept.push_back(!reduces && instruction.keeps);
    }
    for (size_t i = 0; i < instruction.outs.size(); ++i) {
      story.given.push_back(end(instruction.outs[i], false));
      story.passed_on.push_back(i == 0 && instruction.take != Take::nothing);
    }
  }
  return story;
}

TEST(SimulatorMirror, WalksTheProgramsThatTheEngineRuns) {
  for (const Algorithm& algorithm : algorithms()) {
    for (const auto& hosts : {std::vector{1}, {2}, {5}, {8}, {13}, {2, 2}, {4, 4, 4}, {3, 1, 4}}) {
      const Team team = team_of(hosts);
      for (const int root : {0, team.size - 1}) {
        const Outline outline = outline_of(algorithm, team, root);
        uint64_t messages = 0;
        for (int rank = 0; rank < team.size; ++rank) {
          const Program program = compile(algorithm.plan(rank, team, root), algorithm.collective, rank, team.size, root);
          const Story simulated = told_by(outline, static_cast<uint32_t>(rank)), run = told_by(program);
          const std::string where = label(algorithm) + ", " + label(hosts) + ", rank " + std::to_string(rank);
          EXPECT_EQ(simulated.taken, run.taken) << where;
          EXPECT_EQ(simulated.given, run.given) << where;
          EXPECT_EQ(simulated.reduced, run.reduced) << where;
          EXPECT_EQ(simulated.passed_on, run.passed_on) << where;
          EXPECT_EQ(simulated.kept, run.kept) << where;
          messages += run.given.size();
        }
        EXPECT_EQ(outline.messages(), messages) << label(algorithm);
      }
    }
  }
}

TEST(SimulatorMirror, CutsDataAsTheEngineDoes) {
  for (const uint32_t blocks : {1u, 2u, 3u, 8u, 13u})
    for (const uint64_t bytes : {1u, 63u, 64u, 65u, 1000u, 4096u, 100'000u, 1u << 20})
      for (const size_t stripe : {size_t{64}, size_t{4096}, size_t{65536}}) {
        const Binding binding = Binding::chunked(nullptr, nullptr, bytes, blocks, stripe);
        const Stripes stripes(Collective::all_reduce, 4, blocks, bytes, stripe);
        ASSERT_EQ(stripes.count(), binding.stripes());
        for (uint64_t k = 0; k < std::min<uint64_t>(binding.stripes(), 5); ++k)
          for (uint32_t block = 0; block < blocks; ++block)
            for (const uint32_t run : {1u, blocks / 2, blocks}) {
              size_t sum = 0;
              for (uint32_t i = 0; i < run; ++i) sum += binding.at((block + i) % blocks, k).bytes;
              ASSERT_EQ(run > 0 ? stripes.bytes(block, run, k) : 0, sum) << blocks << " " << bytes << " " << stripe << " " << k;
            }
      }
  const Binding binding = Binding::fixed({{nullptr, nullptr, 1000}, {nullptr, nullptr, 1000}, {nullptr, nullptr, 1000}}, 64);
  const Stripes stripes(Collective::all_gather, 3, 3, 3000, 64);
  ASSERT_EQ(stripes.count(), binding.stripes());
  for (uint64_t k = 0; k < stripes.count(); ++k) EXPECT_EQ(stripes.bytes(2, 1, k), binding.at(2, k).bytes) << k;
}

}  // namespace
}  // namespace tutti

// Small kernels that find out what a device and its driver do.  Templates over a Machine, so that tests/cuda/fake runs
// them on threads.  Whatever waits here ends by itself within two seconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "machine.h"

#define TUTTI_PROBE TUTTI_DEVICE

namespace tutti::probes {

inline constexpr uint64_t kLongestWait = 2'000'000'000;  // ns

// What a kernel that waits found out.
struct Report {
  uint64_t reached, polls, ns;  // `reached`: all that it waited for came, 1, or time ran out, 2
};

struct Empty {
  uint32_t unused;
};
struct Large {  // as much as a launch of a plan takes
  uint32_t unused[1000];
};
struct Write {
  uint32_t* word;
  uint32_t value;
};
struct Add {  // to[i] = from[i] + number
  const uint32_t* from;
  uint32_t* to;
  uint64_t count;
  uint32_t number;
};
struct Poll {  // until the word is `until`
  const uint32_t* word;
  uint32_t* started;  // becomes 1 first; may be null
  Report* report;
  uint64_t limit_ns;
  uint32_t until;
};
struct Ping {  // the words count rounds: each side raises the other's when its own has been raised
  uint32_t *mine, *theirs;
  Report* report;
  uint64_t limit_ns;
  uint32_t rounds, begins;
};
struct OneShot {  // two ranks' all-reduce of floats, in one launch: each has half of the blocks
  const std::byte* input[2];
  std::byte* output[2];
  std::byte* slot[2];  // twice as long, of zeros at first
  uint64_t* launches;  // so far, of each block; less than 2^32
  uint32_t* late;      // becomes 1 where a rank waited in vain
  uint32_t pairs;      // of floats
};

template <class Machine>
TUTTI_PROBE void empty(const Machine&, const Empty&) {}

template <class Machine>
TUTTI_PROBE void large(const Machine&, const Large&) {}

template <class Machine>
TUTTI_PROBE void write(const Machine& m, const Write& p) {
  if (m.block() == 0 && m.thread() == 0) m.store_release(p.word, p.value);
}

template <class Machine>
TUTTI_PROBE void add(const Machine& m, const Add& p) {
  const uint64_t all = uint64_t{m.threads()} * m.blocks();
  for (uint64_t i = uint64_t{m.block()} * m.threads() + m.thread(); i < p.count; i += all) p.to[i] = p.from[i] + p.number;
}

template <class Machine>
TUTTI_PROBE bool wait(const Machine& m, const uint32_t* word, uint32_t until, uint64_t deadline, uint64_t& polls) {
  for (;;) {
    ++polls;
    if (static_cast<int32_t>(m.load_acquire(word) - until) >= 0) return true;
    if (polls % 16 == 0 && m.nanoseconds() > deadline) return false;
    m.pause();
  }
}

TUTTI_PROBE uint64_t deadline(uint64_t begin, uint64_t limit) { return begin + (limit < kLongestWait ? limit : kLongestWait); }

template <class Machine>
TUTTI_PROBE void poll(const Machine& m, const Poll& p) {
  if (m.block() != 0 || m.thread() != 0) return;
  const uint64_t begin = m.nanoseconds();
  uint64_t polls = 0;
  if (p.started) m.store_release(p.started, 1);
  const bool reached = wait(m, p.word, p.until, deadline(begin, p.limit_ns), polls);
  *p.report = Report{reached ? 1U : 2U, polls, m.nanoseconds() - begin};
}

template <class Machine>
TUTTI_PROBE void ping(const Machine& m, const Ping& p) {
  if (m.block() != 0 || m.thread() != 0) return;
  uint64_t begin = m.nanoseconds(), polls = 0;
  const uint64_t until = deadline(begin, p.limit_ns);
  bool reached = true;
  for (uint32_t round = 1; reached && round <= p.rounds; ++round) {
    if (p.begins) m.store_release(p.theirs, round);
    reached = wait(m, p.mine, round, until, polls);
    if (!p.begins && reached) m.store_release(p.theirs, round);
    if (round == 1) begin = m.nanoseconds();  // until then the peer may not have begun
  }
  *p.report = Report{reached ? 1U : 2U, polls, m.nanoseconds() - begin};
}

TUTTI_PROBE uint64_t sum_of(uint64_t a, uint64_t b) {  // of two floats each
  float x[2], y[2];
  std::memcpy(x, &a, sizeof a);
  std::memcpy(y, &b, sizeof b);
  x[0] += y[0];
  x[1] += y[1];
  std::memcpy(&a, x, sizeof a);
  return a;
}

// As little as it takes: each pair is stamped into the other's slot, and added when the other's has come.
template <class Machine>
TUTTI_PROBE void one_shot(const Machine& m, const OneShot& p) {
  const uint32_t lanes = m.blocks() / 2, rank = m.block() / lanes;
  const uint64_t launch = m.load_relaxed(p.launches + m.block()) + 1, stamp = launch << 32;
  for (uint32_t i = m.block() % lanes * m.threads() + m.thread(); i < p.pairs; i += lanes * m.threads()) {
    const std::byte* const slot = p.slot[rank] + i * sizeof(cuda::StampedPair);
    const uint64_t mine = m.template load<uint64_t>(p.input[rank] + i * sizeof mine);
    m.store_words(p.slot[1 - rank] + i * sizeof(cuda::StampedPair),
                  cuda::StampedPair{{stamp | static_cast<uint32_t>(mine), stamp | mine >> 32}});
    cuda::StampedPair theirs = m.load_words(slot);
    uint64_t until = 0;
    for (uint32_t polls = 1; theirs.word[0] >> 32 != launch || theirs.word[1] >> 32 != launch; ++polls) {
      if (polls % 64 == 0) {
        const uint64_t now = m.nanoseconds();
        if (until == 0) until = now + kLongestWait;
        if (now > until || m.load_acquire(p.late) != 0) {  // not each launch of a graph waits so long
          m.store_release(p.late, 1);
          break;
        }
      }
      m.pause();
      theirs = m.load_words(slot);
    }
    m.store(p.output[rank] + i * sizeof mine, sum_of(mine, static_cast<uint32_t>(theirs.word[0]) | theirs.word[1] << 32));
  }
  m.sync();  // all have read how often
  if (m.thread() == 0) m.store_relaxed(p.launches + m.block(), launch);
}

}  // namespace tutti::probes

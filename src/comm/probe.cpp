#include "probe.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "algorithms.h"
#include "clock.h"
#include "communicator.h"
#include "kernels.h"

namespace tutti {
namespace {

constexpr size_t kSmall = 64;              // bytes of a small message
constexpr uint32_t kSmallCalls = 8;        // timed together
constexpr size_t kLarge = 1 << 20;         // bytes of a large call
constexpr uint32_t kRepeats = 8;           // of everything, at most
constexpr uint64_t kBudgetNs = 2'000'000;  // of each kind of measurement; two repetitions happen in any case
constexpr size_t kBufferBytes = 8 << 20;   // more than a core's own cache

// Large pages where there are any: their first touch is cheaper.
class Buffer {
 public:
  Buffer() {
    void* base = ::mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return;
    base_ = static_cast<std::byte*>(base);
    ::madvise(base, kBufferBytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < kBufferBytes; i += 4096) base_[i] = std::byte{1};
  }
  ~Buffer() {
    if (base_) ::munmap(base_, kBufferBytes);
  }
  Buffer(const Buffer&) = delete;
  explicit operator bool() const { return base_ != nullptr; }
  std::byte* at(size_t offset) { return base_ + offset; }
  // Memory that has not been used for a while, as that of a program's calls.
  std::byte* fresh() {
    used_ = (used_ + kLarge) % kBufferBytes;
    return base_ + used_;
  }

 private:
  std::byte* base_ = nullptr;
  size_t used_ = 0;
};

// What was not disturbed: disturbances only ever lengthen.
double typical(std::vector<double>& values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 4];
}

enum class Kind : uint8_t { stop, doubling, ring, broadcast_large, ring_large };

const Algorithm& algorithm_of(Kind kind) {
  const bool broadcast = kind == Kind::broadcast_large, doubling = kind == Kind::stop || kind == Kind::doubling;
  const auto collective = broadcast ? Collective::broadcast : Collective::all_reduce;
  return algorithms()[*find_algorithm(collective, broadcast ? "direct" : doubling ? "doubling" : "ring")];
}

uint64_t bytes_of(Kind kind) {
  switch (kind) {
    case Kind::ring: return 2 * kSmall;
    case Kind::broadcast_large:
    case Kind::ring_large: return kLarge;
    default: return kSmall;
  }
}

// One end of a measured pair.  The leader says what comes next, times it, and ends it.
class Pair {
 public:
  Pair(Communicator& comm, const int (&ranks)[2], Buffer& buffer) : comm_(comm), buffer_(buffer), me_(ranks[1] == comm.rank()) {
    for (const Kind kind : {Kind::doubling, Kind::ring, Kind::broadcast_large}) {
      Plan plan = algorithm_of(kind).plan(me_, 2, 0);
      for (Step& step : plan.steps()) step.peer = static_cast<uint32_t>(ranks[step.peer]);
      duets_[static_cast<size_t>(kind)] = comm.prepare_duet(plan, algorithm_of(kind).collective);
    }
    duets_[static_cast<size_t>(Kind::ring_large)] = duets_[static_cast<size_t>(Kind::ring)];
    duets_[static_cast<size_t>(Kind::stop)] = duets_[static_cast<size_t>(Kind::doubling)];
  }

  Status lead(LinkTimes& times) {
    for (const auto& [kind, seconds] :
         {std::pair{Kind::doubling, &times.doubling}, std::pair{Kind::ring, &times.ring},
          std::pair{Kind::broadcast_large, &times.broadcast_large}, std::pair{Kind::ring_large, &times.ring_large}})
      if (Status s = repeat(kind, *seconds); !s.ok()) return s;
    return order(Kind::stop);
  }

  Status follow() {
    for (;;) {
      // The sum of both ranks' words is the leader's: the follower's is zero.
      Word sum{};
      if (Status s = play(Kind::doubling, Word{}.data(), sum.data()); !s.ok()) return s;
      const auto kind = static_cast<Kind>(sum[0]);
      if (kind == Kind::stop) return {};
      if (Status s = act(kind); !s.ok()) return s;
    }
  }

 private:
  using Word = std::array<float, kSmall / sizeof(float)>;

  Status play(Kind kind, const void* input, void* output) {
    return comm_.run_duet(duets_[static_cast<size_t>(kind)], algorithm_of(kind).collective, input, output, bytes_of(kind));
  }
  Status order(Kind kind) {
    Word mine{static_cast<float>(kind)}, sum{};
    return play(Kind::doubling, mine.data(), sum.data());
  }
  Status act(Kind kind) {
    const bool large = bytes_of(kind) == kLarge;
    for (uint32_t i = 0; i < (large ? 1 : kSmallCalls); ++i) {
      std::byte* from = large ? buffer_.fresh() : buffer_.at(0);
      std::byte* to = large ? buffer_.fresh() : buffer_.at(kSmall * 2);
      if (Status s = play(kind, from, to); !s.ok()) return s;
    }
    // The giver of a broadcast learns from another call that everything has arrived.
    return kind == Kind::broadcast_large ? play(Kind::doubling, buffer_.at(0), buffer_.at(kSmall)) : Status();
  }

  // The order is a call of both, after which both are ready.
  Status repeat(Kind kind, double& seconds) {
    std::vector<double> taken;
    const uint64_t begin = now_ns();
    for (uint32_t i = 0; i < kRepeats && (i < 2 || now_ns() - begin < kBudgetNs); ++i) {
      if (Status s = order(kind); !s.ok()) return s;
      const uint64_t start = now_ns();
      if (Status s = act(kind); !s.ok()) return s;
      if (i > 0) taken.push_back(static_cast<double>(now_ns() - start) * 1e-9);  // the first connects and touches memory
    }
    seconds = typical(taken) / (bytes_of(kind) == kLarge ? 1 : kSmallCalls);
    return {};
  }

  Communicator& comm_;
  Buffer& buffer_;
  int me_;
  std::array<Communicator::Compiled, 5> duets_;
};

// What a processor does by itself; as in the engine the caller's data comes from afar, and slots stay near.
void measure_here(Buffer& buffer, Findings& findings) {
  constexpr size_t kSlot = 64 << 10;
  const auto reduce = kernels::reduce_kernel(DataType::float32, ReduceOp::sum);
  const auto rate = [&](auto work) {
    std::vector<double> taken;
    for (size_t offset = kSlot; offset + kSlot <= kBufferBytes; offset += kSlot) {
      const uint64_t start = now_ns();
      work(buffer.at(0), buffer.at(offset));
      taken.push_back(static_cast<double>(now_ns() - start) * 1e-9);
    }
    return typical(taken) / kSlot;
  };
  findings.copy_byte_s =
      rate([](std::byte* slot, std::byte* far) { kernels::copy(slot, nullptr, far, kSlot, kernels::Store::cached); });
  findings.reduce_byte_s = rate(
      [&](std::byte* slot, std::byte* far) { reduce(slot, nullptr, slot, far, kSlot / sizeof(float), 1, kernels::Store::cached); });
}

// The kernel's own random name of this boot.
uint64_t machine_number() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  uint64_t hash = 1469598103934665603u;
  for (char c = 0; file.get(c);) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

ProbePairs probe_pairs(const Team& team) {
  ProbePairs pairs;
  const auto hosts = team.ranks_by_host();
  const auto shared = std::ranges::find_if(hosts, [](const auto& ranks) { return ranks.size() > 1; });
  if (shared != hosts.end()) std::copy_n(shared->begin(), 2, pairs.inside);
  if (hosts.size() > 1) {
    pairs.between[0] = hosts[0][0];
    pairs.between[1] = hosts[1][0];
  }
  return pairs;
}

Result<Findings> probe(Communicator& comm, const Team& team) {
  Findings findings;
  findings.cores = static_cast<double>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1l));
  findings.machine = machine_number();
  const ProbePairs pairs = probe_pairs(team);
  const auto has_place = [&](const int(&pair)[2]) { return pair[0] == comm.rank() || pair[1] == comm.rank(); };
  if (!has_place(pairs.inside) && !has_place(pairs.between)) return findings;
  Buffer buffer;
  if (!buffer) return Status(Code::out_of_memory, "no memory for measuring the machine; set TUTTI_TUNING=off");
  measure_here(buffer, findings);
  for (const auto& [pair, times] : {std::pair{&pairs.inside, &findings.inside}, std::pair{&pairs.between, &findings.between}}) {
    if (!has_place(*pair)) continue;
    Pair end(comm, *pair, buffer);
    if (Status s = (*pair)[0] == comm.rank() ? end.lead(*times) : end.follow(); !s.ok()) return s;
  }
  return findings;
}

}  // namespace tutti

#include "probe.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "algorithms.h"
#include "arena.h"
#include "bytes.h"
#include "clock.h"
#include "kernels.h"
#include "transport.h"

namespace tutti {
namespace {

constexpr size_t kSmall = 64;  // bytes of a small message
constexpr size_t kLarge = MachineProfile::kSizes[MachineProfile::kUnit];
constexpr uint32_t kRepeats = 8;           // of everything, at most
constexpr uint64_t kBudgetNs = 1'500'000;  // of each kind of measurement; two repetitions happen in any case
constexpr size_t kBufferBytes = 8 << 20;   // more than a core's own cache

// The memory of calls is cut from it, one after the other.
class Buffer {
 public:
  Buffer() {
    void* base = ::mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return;
    base_ = static_cast<std::byte*>(base);
    (void)::madvise(base, kBufferBytes, MADV_HUGEPAGE);  // a fault for each of 2048 pages took 3 ms
    for (size_t i = 0; i < kBufferBytes; i += 4096) base_[i] = std::byte{1};
  }
  ~Buffer() {
    if (base_) ::munmap(base_, kBufferBytes);
  }
  Buffer(const Buffer&) = delete;
  explicit operator bool() const { return base_ != nullptr; }
  std::byte* at(size_t offset) { return base_ + offset; }
  std::byte* next(size_t bytes) {
    if (used_ + bytes > kBufferBytes) used_ = 0;
    used_ += bytes;
    return base_ + used_ - bytes;
  }

 private:
  std::byte* base_ = nullptr;
  size_t used_ = 0;
};

#if defined(__x86_64__)
__attribute__((target("clflushopt"))) void evict_at_once(std::byte* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += memory::kLine) _mm_clflushopt(from + i);
}
// One line after the other: five times as slow.
void evict_in_order(std::byte* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += memory::kLine) _mm_clflush(from + i);
}
#endif

// Out of all caches, as the memory of a program's calls is that has computed something else meanwhile.
void evict(std::byte* from, size_t bytes) {
#if defined(__x86_64__)
  unsigned a = 0, features = 0, c = 0, d = 0;
  // CLFLUSHOPT.
  static const bool at_once = __get_cpuid_count(7, 0, &a, &features, &c, &d) && (features & 1u << 23) != 0;
  (at_once ? evict_at_once : evict_in_order)(from, bytes);
  _mm_mfence();
#elif defined(__aarch64__)
  for (size_t i = 0; i < bytes; i += memory::kLine) asm volatile("dc civac, %0" : : "r"(from + i) : "memory");
  asm volatile("dsb ish" : : : "memory");
#endif
}

// Of the lower quarter, which was not disturbed: disturbances only ever lengthen.
double typical(std::vector<double>& values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 4];
}

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

// The measurements, in this order.
struct Kind {
  Collective collective;
  std::string_view algorithm;
  uint64_t bytes;
  uint32_t calls;  // timed together
  bool cold;       // their memory is in no cache; each has its own
  double& (*seconds)(LinkTimes&);
};
using L = LinkTimes;
constexpr std::array kKinds{
    Kind{Collective::all_reduce, "doubling", kSmall, 8, false, [](L& t) -> double& { return t.doubling; }},
    Kind{Collective::all_reduce, "ring", 2 * kSmall, 8, false, [](L& t) -> double& { return t.ring; }},
    Kind{Collective::all_reduce, "ring", MachineProfile::kSizes[0], 8, true, [](L& t) -> double& { return t.rings[0]; }},
    Kind{Collective::all_reduce, "ring", MachineProfile::kSizes[1], 4, true, [](L& t) -> double& { return t.rings[1]; }},
    Kind{Collective::broadcast, "direct", kLarge, 1, true, [](L& t) -> double& { return t.broadcast_large; }},
    Kind{Collective::all_reduce, "ring", MachineProfile::kSizes[2], 1, true, [](L& t) -> double& { return t.rings[2]; }},
    Kind{Collective::all_reduce, "ring", MachineProfile::kSizes[3], 1, true, [](L& t) -> double& { return t.rings[3]; }},
};
// How many; a network may take long for the last.
constexpr size_t kIntraHost = kKinds.size(), kInterHost = kKinds.size() - 1;
constexpr const Kind& kWord = kKinds[0];                                      // carries orders

// One end of a measured pair.  The leader says what comes next, times it, and ends it.
class Pair {
 public:
  Pair(PairCalls& calls, const Team& team, const int (&ranks)[2], Buffer& buffer)
      : calls_(calls), buffer_(buffer), me_(ranks[1] == calls.rank()) {
    const int peer = ranks[1 - me_];
    if (team.host_of(peer) != team.host_of(calls.rank())) meter_ = calls.meter(peer);
    for (const Kind& kind : kKinds) {
      if (prepared_.contains({kind.collective, kind.algorithm})) continue;
      Plan plan = algorithms()[*find_algorithm(kind.collective, kind.algorithm)].plan(me_, 2, 0);
      for (Step& step : plan.steps()) step.peer = static_cast<uint32_t>(ranks[step.peer]);
      prepared_[{kind.collective, kind.algorithm}] = calls.prepare(plan, kind.collective);
    }
  }

  Status lead(size_t kinds, LinkTimes& times) {
    for (size_t i = 0; i < kinds; ++i)
      if (Status s = repeat(i, kKinds[i].seconds(times)); !s.ok()) return s;
    if (meter_ != nullptr) {
      const double sent = median(meter_->sent), received = median(meter_->received);
      times.processor_byte_s = sent > 0 && received > 0 ? (sent + received) / 2 : std::max(sent, received);
      *meter_ = {};
    }
    return order(kStop);
  }

  Status follow() {
    for (;;) {
      // The sum of both ranks' words is the leader's: the follower's is zero.
      Word sum{};
      if (Status s = play(kWord, Word{}.data(), sum.data()); !s.ok()) return s;
      const auto index = static_cast<size_t>(sum[0]);
      if (index >= kStop) return {};
      if (Status s = prepare(kKinds[index]); !s.ok()) return s;
      if (Status s = act(kKinds[index]); !s.ok()) return s;
    }
  }

 private:
  using Word = std::array<float, kSmall / sizeof(float)>;
  static constexpr size_t kStop = kKinds.size();

  Status play(const Kind& kind, const void* input, void* output) {
    return calls_.run(prepared_[{kind.collective, kind.algorithm}], input, output, kind.bytes);
  }
  Status order(size_t index) {
    Word mine{static_cast<float>(index)}, sum{};
    return play(kWord, mine.data(), sum.data());
  }
  Status meet() {
    Word mine{}, sum{};
    return play(kWord, mine.data(), sum.data());
  }
  // Takes the memory of the calls.  Both ends do so before they meet for the calls themselves.
  Status prepare(const Kind& kind) {
    places_.clear();
    for (uint32_t i = 0; i < 2 * kind.calls; ++i) {
      places_.push_back(kind.cold ? buffer_.next(kind.bytes) : buffer_.at(i % 2 * 2 * kSmall));
      if (kind.cold) evict(places_.back(), kind.bytes);
    }
    return meet();
  }
  Status act(const Kind& kind) {
    for (uint32_t i = 0; i < kind.calls; ++i)
      if (Status s = play(kind, places_[2 * i], places_[2 * i + 1]); !s.ok()) return s;
    // The giver of a broadcast learns from another call that everything has arrived.
    return kind.collective == Collective::broadcast ? meet() : Status();
  }

  Status repeat(size_t index, double& seconds) {
    const Kind& kind = kKinds[index];
    std::vector<double> taken;
    const uint64_t begin = now_ns();
    for (uint32_t i = 0; i < kRepeats && (i < 2 || now_ns() - begin < kBudgetNs); ++i) {
      if (Status s = order(index); !s.ok()) return s;
      if (Status s = prepare(kind); !s.ok()) return s;
      const uint64_t start = now_ns();
      if (meter_ != nullptr) meter_->on = kind.bytes == kLarge && kind.collective == Collective::all_reduce;
      Status acted = act(kind);
      if (meter_ != nullptr) meter_->on = false;
      if (!acted.ok()) return acted;
      // The first connects and touches memory.
      if (i > 0) taken.push_back(static_cast<double>(now_ns() - start) * 1e-9);
    }
    seconds = typical(taken) / kind.calls;
    return {};
  }

  PairCalls& calls_;
  Buffer& buffer_;
  int me_;
  StreamMeter* meter_ = nullptr;  // of the link between two hosts
  std::map<std::pair<Collective, std::string_view>, size_t> prepared_;
  std::vector<std::byte*> places_;  // input and output of each call
};

// The processor by itself; as in the engine the caller's data comes from far memory, and slots stay near.
void measure_here(Buffer& buffer, Measurements& measurements) {
  constexpr size_t kSlot = 64 << 10, kFar = 1 << 20;
  const auto reduce = kernels::reduce_kernel(DataType::float32, ReduceOp::sum);
  const auto rate = [&](auto work) {
    std::vector<double> taken;
    evict(buffer.at(0), kFar);
    for (size_t offset = kSlot; offset + kSlot <= kFar; offset += kSlot) {
      const uint64_t start = now_ns();
      work(buffer.at(0), buffer.at(offset));
      taken.push_back(static_cast<double>(now_ns() - start) * 1e-9);
    }
    return typical(taken) / kSlot;
  };
  measurements.copy_byte_s =
      rate([](std::byte* slot, std::byte* far) { kernels::copy(slot, nullptr, far, kSlot, kernels::Store::cached); });
  measurements.reduce_byte_s = rate(
      [&](std::byte* slot, std::byte* far) { reduce(slot, nullptr, slot, far, kSlot / sizeof(float), 1, kernels::Store::cached); });
}

// The kernel's own random name of this boot.
uint64_t machine_number() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string name;
  std::getline(file, name);
  return Hash().add(name).value();
}

}  // namespace

ProbePairs probe_pairs(const Team& team) {
  ProbePairs pairs;
  const auto hosts = team.ranks_by_host();
  const auto shared = std::ranges::find_if(hosts, [](const auto& ranks) { return ranks.size() > 1; });
  if (shared != hosts.end()) std::copy_n(shared->begin(), 2, pairs.intra_host);
  if (hosts.size() > 1) {
    pairs.inter_host[0] = hosts[0][0];
    pairs.inter_host[1] = hosts[1][0];
  }
  return pairs;
}

Result<Measurements> probe(PairCalls& calls, const Team& team) {
  Measurements measurements;
  measurements.cores = static_cast<double>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1l));
  measurements.machine = machine_number();
  const ProbePairs pairs = probe_pairs(team);
  const auto has_place = [&](const int(&pair)[2]) { return pair[0] == calls.rank() || pair[1] == calls.rank(); };
  if (!has_place(pairs.intra_host) && !has_place(pairs.inter_host)) return measurements;
  Buffer buffer;
  if (!buffer) return Status(Code::out_of_memory, "no memory for measuring the machine; set TUTTI_TUNING=off");
  measure_here(buffer, measurements);
  for (const auto& [pair, times] :
       {std::pair{&pairs.intra_host, &measurements.intra_host}, std::pair{&pairs.inter_host, &measurements.inter_host}}) {
    if (!has_place(*pair)) continue;
    Pair end(calls, team, *pair, buffer);
    const size_t kinds = times == &measurements.intra_host ? kIntraHost : kInterHost;
    if (Status s = (*pair)[0] == calls.rank() ? end.lead(kinds, *times) : end.follow(); !s.ok()) return s;
  }
  return measurements;
}

}  // namespace tutti

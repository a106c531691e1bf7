// The cost of the engine: a ring all-reduce written by hand over the memory links, beside the engine's ring over
// the same links, turn by turn in one run.  Ranks are threads.   ring_loop [--ranks 2] [--repeat 15] [--json]
#include <CLI/CLI.hpp>

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "algorithms.h"
#include "clock.h"
#include "engine.h"
#include "memory_transport.h"
#include "plan_operation.h"

namespace {

using namespace tutti;

constexpr uint32_t kLanes = 4;
constexpr size_t kSlotBytes = 64 << 10;

struct AlwaysWell final : Supervisor {
  bool failed() const override { return false; }
  Status failure() const override { return {}; }
  void fail(int, const Status& status) override {
    std::fprintf(stderr, "ring_loop: %s\n", status.message().c_str());
    std::exit(1);
  }
  void break_down() noexcept override { std::exit(1); }
  void stalled(const Operation&, uint64_t) override {}
  void timed_out(const Operation&, uint64_t) override {}
  std::string peer_name(int rank) const override { return "rank " + std::to_string(rank); }
};

struct Rank {
  Rank(const memory::Arena& arena, int my_rank, int ranks)
      : rank(my_rank),
        size(ranks),
        pool(arena, me()),
        next(arena, me(), static_cast<uint32_t>((rank + 1) % size)),
        previous(arena, me(), static_cast<uint32_t>((rank + size - 1) % size)) {
    auto link_table = std::make_unique<LinkTable>();
    link_table->resize(size);
    link_table->bank.pool = &pool;
    link_table->form = [](int) { return LinkForm::slots; };
    link_table->connect = [this](int peer, LinkUse) -> Link& { return peer == (this->rank + 1) % this->size ? next : previous; };
    engine = std::make_unique<Engine>(std::vector<Transport*>{}, std::move(link_table), supervisor);
    program = std::make_shared<const Program>(compile(
        algorithms()[*find_algorithm(Collective::all_reduce, "ring")].plan(rank, size, 0), Collective::all_reduce, rank, size, 0));
    slots = PlanOperation::slots_per_stripe(*program, engine->link_table());
  }
  uint32_t me() const { return static_cast<uint32_t>(rank); }

  int rank, size;
  memory::ArenaPool pool;
  memory::ArenaLink next, previous;  // with two ranks only `next` is used, in both directions
  AlwaysWell supervisor;
  std::unique_ptr<Engine> engine;
  std::shared_ptr<const Program> program;
  uint32_t slots = 0;
};

size_t stripe_bytes_for(size_t bytes, int size) {  // as pool_shape.cpp cuts a ring
  const size_t block = bytes / static_cast<size_t>(size), even = (block + kLanes - 1) / kLanes;
  return std::clamp<size_t>((even + 63) / 64 * 64, 8 << 10, kSlotBytes);
}

// ---- the hand-written loop ----

template <class Ask>
void wait_for(Ask ask) {
  for (Waiter waiter; ask() != Progress::done;) waiter.wait();
}

void ring_by_hand(Rank& r, const float* input, float* output, size_t count) {
  const auto p = static_cast<uint32_t>(r.size);
  const Binding binding =
      Binding::chunked(input, output, count * sizeof(float), p, stripe_bytes_for(count * sizeof(float), r.size));
  const kernels::ReduceFn reduce = kernels::reduce_kernel(DataType::float32, ReduceOp::sum);
  SlotLink& to = r.next;
  SlotLink& from = r.size == 2 ? r.next : r.previous;
  const Signature signature;
  const auto block = [&](int back) { return (r.me() + 2 * p - static_cast<uint32_t>(back)) % p; };
  for (uint64_t wave = 0; wave < binding.stripes(); wave += kLanes) {
    const uint64_t end = std::min<uint64_t>(wave + kLanes, binding.stripes());
    for (uint64_t stripe = wave; stripe < end; ++stripe) {
      const Span own = binding.at(block(0), stripe);
      Slot slot;
      wait_for([&] { return (slot = r.pool.acquire()) ? Progress::done : Progress::busy; });
      kernels::copy(slot.data, nullptr, own.input, own.bytes, kernels::Store::cached);
      wait_for([&] { return to.send(slot, own.bytes, signature); });
    }
    for (int step = 1; step < r.size; ++step)  // reduce-scatter
      for (uint64_t stripe = wave; stripe < end; ++stripe) {
        const Span own = binding.at(block(step), stripe);
        Slot slot;
        wait_for([&] { return from.receive(slot, own.bytes, signature); });
        const bool last = step == r.size - 1;
        reduce(last ? own.output : slot.data, last ? slot.data : nullptr, slot.data, own.input, own.bytes / sizeof(float), 1,
               kernels::Store::cached);
        wait_for([&] { return to.send(slot, own.bytes, signature); });
      }
    for (int step = 0; step < r.size - 1; ++step)  // all-gather
      for (uint64_t stripe = wave; stripe < end; ++stripe) {
        const Span own = binding.at(block(step), stripe);
        Slot slot;
        wait_for([&] { return from.receive(slot, own.bytes, signature); });
        kernels::copy(own.output, nullptr, slot.data, own.bytes, kernels::Store::cached);
        if (step < r.size - 2)
          wait_for([&] { return to.send(slot, own.bytes, signature); });
        else
          r.pool.release(slot);
      }
  }
}

// ---- the engine's ----

void ring_by_engine(Rank& r, const float* input, float* output, size_t count) {
  const auto arithmetic = Arithmetic::of(DataType::float32, ReduceOp::sum, static_cast<uint32_t>(r.size));
  const size_t bytes = count * sizeof(float);
  const auto operation = *r.engine->start(
      [&](LinkTable& link_table) {
        auto made = std::make_shared<PlanOperation>(
            r.program, "ring", Binding::chunked(input, output, bytes, r.program->blocks, stripe_bytes_for(bytes, r.size)),
            arithmetic, Signature{}, kLanes, r.slots, link_table);
        made->timeout_ns = UINT64_MAX;
        return made;
      },
      false);
  (void)r.engine->drive(*operation);
}

// ---- measuring ----

struct Buffers {
  Buffers(size_t elements, size_t rotation, int rank)
      : count(elements), copies(rotation), input(count * copies), output(count * copies) {
    for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>((i + static_cast<size_t>(rank)) % 64);
  }
  size_t count, copies;
  std::vector<float> input, output;
};

using Ring = void (*)(Rank&, const float*, float*, size_t);

// Median microseconds of one all-reduce, on rank 0.
double measure(Ring ring, Rank& rank, Buffers& buffers, size_t iterations, std::barrier<>& gate, bool& right) {
  std::vector<double> times;
  for (size_t i = 0; i < iterations; ++i) {
    const size_t at = i % buffers.copies * buffers.count;
    float* input = buffers.input.data() + at;
    input[0] = static_cast<float>(i % 100 + rank.me());
    gate.arrive_and_wait();
    const uint64_t start = now_ns();
    ring(rank, input, buffers.output.data() + at, buffers.count);
    times.push_back(static_cast<double>(now_ns() - start) * 1e-3);
    const auto p = static_cast<size_t>(rank.size);
    right &= buffers.output[at] == static_cast<float>(p * (i % 100) + p * (p - 1) / 2);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<long>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The engine's ring beside a hand-written ring loop over the same links (ranks are threads), turn by turn"};
  int size = 2, repeat = 15;
  bool json = false;
  app.add_option("--ranks", size, "threads")->check(CLI::Range(2, 64))->capture_default_str();
  app.add_option("--repeat", repeat, "pairs of runs for each size; the median ratio is printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--json", json, "one JSON line for each size instead of the table");
  CLI11_PARSE(app, argc, argv);

  memory::ArenaShape shape;
  shape.ranks = static_cast<uint32_t>(size);
  shape.slots = std::max(64u, 2 * kLanes * (static_cast<uint32_t>(size) + 8));
  shape.slot_bytes = kSlotBytes;
  std::vector<memory::Cell> memory(shape.bytes() / sizeof(memory::Cell) + 1);
  const memory::Arena arena(reinterpret_cast<std::byte*>(memory.data()), shape);
  std::barrier gate(size);
  bool right = true;
  if (!json)
    std::printf("%12s %14s %14s %8s   (median of %d pairs, %d ranks)\n", "bytes", "by hand (us)", "engine (us)", "ratio", repeat,
                size);

  std::vector<std::unique_ptr<Rank>> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.push_back(std::make_unique<Rank>(arena, rank, size));
  std::vector<std::thread> threads;
  std::vector<char> all_right(static_cast<size_t>(size), 1);
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      bool mine = true;
      for (size_t bytes = 64 << 10; bytes <= 64 << 20; bytes *= 4) {
        Buffers buffers(bytes / sizeof(float), std::max<size_t>(1, (64 << 20) / bytes), rank);
        const size_t iterations = std::clamp<size_t>((32 << 20) / bytes, 3, 100);
        std::vector<double> hand, engine, ratios;
        for (int i = -1; i < repeat; ++i) {  // the first pair warms up
          const double a = measure(ring_by_hand, *ranks[static_cast<size_t>(rank)], buffers, iterations, gate, mine);
          const double b = measure(ring_by_engine, *ranks[static_cast<size_t>(rank)], buffers, iterations, gate, mine);
          if (i < 0) continue;
          hand.push_back(a);
          engine.push_back(b);
          ratios.push_back(b / a);
        }
        if (rank != 0) continue;
        if (json)
          std::printf("{\"lib\":\"ring_loop\",\"ranks\":%d,\"bytes\":%zu,\"hand_us\":%.2f,\"engine_us\":%.2f,\"ratio\":%.3f}\n",
                      size, bytes, median(hand), median(engine), median(ratios));
        else
          std::printf("%12zu %14.1f %14.1f %8.3f\n", bytes, median(hand), median(engine), median(ratios));
        std::fflush(stdout);
      }
      all_right[static_cast<size_t>(rank)] = mine;
    });
  for (auto& thread : threads) thread.join();
  right = std::all_of(all_right.begin(), all_right.end(), [](char ok) { return ok != 0; });
  if (!right) std::fprintf(stderr, "ring_loop: a result was wrong\n");
  return right ? 0 : 1;
}

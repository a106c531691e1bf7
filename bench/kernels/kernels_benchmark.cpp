// Bytes per second through each kernel: read plus written, from sizes that stay in the first-level cache to sizes that
// leave all.  One thread, but for shared/…: what a team of so many threads takes for one call.
// `--benchmark_filter=reduce/float32/sum` selects; names are kernel/type/operator or sources/store/bytes of one buffer.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "kernels.h"
#include "vocabulary.h"
#include "workers.h"

namespace {

using tutti::DataType;
using tutti::ReduceOp;
using tutti::kernels::Store;

constexpr size_t kSizes[] = {4 << 10, 64 << 10, 1 << 20, 32 << 20};

// Page aligned and touched.  Every byte pattern 0x3c3d is an ordinary number in every type: no denormals, no overflow
// in one step.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(static_cast<uint8_t*>(::operator new(bytes, kPage))) {
    for (size_t i = 0; i < bytes; ++i) bytes_[i] = i % 2 == 0 ? 0x3d : 0x3c;
  }
  Buffer(Buffer&& other) noexcept : bytes_(std::exchange(other.bytes_, nullptr)) {}
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() { ::operator delete(bytes_, kPage); }
  void* get() const { return bytes_; }

 private:
  static constexpr std::align_val_t kPage{4096};
  uint8_t* bytes_;
};

std::string store_name(Store store) { return store == Store::streaming ? "streaming" : "cached"; }

void report(benchmark::State& state, size_t bytes_per_iteration) {
  state.SetBytesProcessed(static_cast<int64_t>(bytes_per_iteration) * state.iterations());
  state.SetLabel(std::string(tutti::kernels::target_name()));
}

void reduce(benchmark::State& state, DataType type, ReduceOp op, uint32_t divisor, Store store, size_t bytes) {
  const Buffer destination(bytes), left(bytes), right(bytes);
  const auto kernel = tutti::kernels::reduce_kernel(type, op);
  const size_t count = bytes / tutti::element_size(type);
  for (auto _ : state) {
    kernel(destination.get(), nullptr, left.get(), right.get(), count, divisor, store);
    benchmark::ClobberMemory();
  }
  report(state, 3 * bytes);
}

// As the engine fuses the last reduction with the first forwarding: into the output and over the received slot.
void reduce_and_pass(benchmark::State& state, DataType type, Store store, size_t bytes) {
  const Buffer destination(bytes), left(bytes), slot(bytes);
  // A fixed point: the slot keeps ordinary numbers.
  const auto kernel = tutti::kernels::reduce_kernel(type, ReduceOp::min);
  const size_t count = bytes / tutti::element_size(type);
  for (auto _ : state) {
    kernel(destination.get(), slot.get(), left.get(), slot.get(), count, 1, store);
    benchmark::ClobberMemory();
  }
  report(state, 4 * bytes);
}

void fold(benchmark::State& state, DataType type, size_t sources, size_t bytes) {
  const Buffer destination(bytes);
  std::vector<Buffer> buffers;
  std::vector<const void*> pointers;
  for (size_t s = 0; s < sources; ++s) pointers.push_back(buffers.emplace_back(bytes).get());
  const auto kernel = tutti::kernels::fold_kernel(type, ReduceOp::sum);
  const tutti::kernels::Target target{destination.get(), Store::cached};
  const size_t count = bytes / tutti::element_size(type);
  for (auto _ : state) {
    kernel(&target, 1, pointers.data(), sources, count, 1);
    benchmark::ClobberMemory();
  }
  report(state, (sources + 1) * bytes);
}

void copy(benchmark::State& state, bool with_pass, Store store, size_t bytes) {
  const Buffer destination(bytes), pass(bytes), from(bytes);
  for (auto _ : state) {
    tutti::kernels::copy(destination.get(), with_pass ? pass.get() : nullptr, from.get(), bytes, store);
    benchmark::ClobberMemory();
  }
  report(state, (with_pass ? 3 : 2) * bytes);
}

// One call of the engine, done by the caller and threads - 1 others.
void shared_reduce(benchmark::State& state, uint32_t threads, size_t bytes) {
  const Buffer destination(bytes), left(bytes), right(bytes);
  const auto kernel = tutti::kernels::reduce_kernel(DataType::float32, ReduceOp::sum);
  tutti::Workers workers(threads);
  for (auto _ : state) {
    workers.reduce(kernel, sizeof(float), destination.get(), nullptr, left.get(), right.get(), bytes / sizeof(float), 1,
                   Store::cached);
    benchmark::ClobberMemory();
  }
  report(state, 3 * bytes);
}

// As where data arrives from elsewhere: each call works on operands that no cache holds.
void shared_cold_reduce(benchmark::State& state, uint32_t threads, size_t bytes) {
  constexpr size_t kAll = 256 << 20;
  const Buffer memory(kAll);
  const auto kernel = tutti::kernels::reduce_kernel(DataType::float32, ReduceOp::sum);
  tutti::Workers workers(threads);
  size_t at = 0;
  for (auto _ : state) {
    auto* base = static_cast<std::byte*>(memory.get()) + at;
    workers.reduce(kernel, sizeof(float), base, nullptr, base + bytes, base + 2 * bytes, bytes / sizeof(float), 1, Store::cached);
    at = at + 6 * bytes <= kAll ? at + 3 * bytes : 0;
    benchmark::ClobberMemory();
  }
  report(state, 3 * bytes);
}

template <class Function, class... Arguments>
void add(std::string name, Function function, Arguments... arguments) {
  for (size_t bytes : kSizes) {
    benchmark::RegisterBenchmark((name + "/" + std::to_string(bytes)).c_str(),
                                 [=](benchmark::State& state) { function(state, arguments..., bytes); });
  }
}

void add_reduce(DataType type, ReduceOp op, Store store) {
  const uint32_t divisor = op == ReduceOp::avg ? 3 : 1;
  add("reduce/" + std::string(name(type)) + "/" + std::string(name(op)) + "/" + store_name(store), reduce, type, op, divisor,
      store);
}

void add_all() {
  for (int type = 0; type < tutti::kDataTypes; ++type) add_reduce(static_cast<DataType>(type), ReduceOp::sum, Store::cached);
  for (int number = 1; number < tutti::kReduceOps; ++number) {
    const auto op = static_cast<ReduceOp>(number);
    if (op == ReduceOp::custom) continue;
    add_reduce(tutti::is_defined(op, DataType::float32) ? DataType::float32 : DataType::int32, op, Store::cached);
  }
  add_reduce(DataType::float32, ReduceOp::sum, Store::streaming);
  for (Store store : {Store::cached, Store::streaming}) {
    add("reduce_and_pass/float32/" + store_name(store), reduce_and_pass, DataType::float32, store);
  }
  for (DataType type : {DataType::float32, DataType::bfloat16}) {
    for (size_t sources : {2u, 4u, 8u}) {
      add("fold/" + std::string(name(type)) + "/" + std::to_string(sources), fold, type, sources);
    }
  }
  for (bool with_pass : {false, true}) {
    for (Store store : {Store::cached, Store::streaming}) {
      add((with_pass ? "copy_and_pass/" : "copy/") + store_name(store), copy, with_pass, store);
    }
  }
}

void add_shared() {
  for (size_t bytes = 32 << 10; bytes <= 16 << 20; bytes *= 2)
    for (uint32_t threads : {1u, 2u}) {
      const std::string tail = "/" + std::to_string(threads) + "/" + std::to_string(bytes);
      benchmark::RegisterBenchmark(("shared/hot" + tail).c_str(), [=](benchmark::State& s) {
        shared_reduce(s, threads, bytes);
      })->UseRealTime();
      benchmark::RegisterBenchmark(("shared/cold" + tail).c_str(), [=](benchmark::State& s) {
        shared_cold_reduce(s, threads, bytes);
      })->UseRealTime();
    }
}

}  // namespace

int main(int argc, char** argv) {
  add_all();
  add_shared();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}

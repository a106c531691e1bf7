// The kernels that fold, on threads of the processor: the bits of kernels::fold_kernel for every type and operator.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "cpu_kernels.h"
#include "elements.h"
#include "fold_call.h"
#include "guarded.h"
#include "image.h"
#include "kernels.h"
#include "operands.h"
#include "sanitized.h"

namespace tutti {
namespace {

using cuda::Cpu;
using cuda::CpuKernel;
using cuda::FoldCall;

constexpr uint32_t kDivisors[] = {1, 2, 3, 7, 255, 65535, 65536, 0xFFFFFFFF};

std::vector<std::tuple<DataType, ReduceOp>> defined_pairs() {
  std::vector<std::tuple<DataType, ReduceOp>> pairs;
  for (int t = 0; t < kDataTypes; ++t)
    for (int o = 0; o < kReduceOps; ++o)
      if (is_defined(static_cast<ReduceOp>(o), static_cast<DataType>(t)))
        pairs.emplace_back(static_cast<DataType>(t), static_cast<ReduceOp>(o));
  return pairs;
}

// A fold's threads wait for nothing, so they may run one after another.
void run(const CpuKernel& kernel, const FoldCall& call, Cpu::Grid grid) {
  for (uint32_t block = 0; block < grid.blocks; ++block)
    for (uint32_t thread = 0; thread < grid.threads; ++thread) kernel.run(&call, Cpu(grid, block, thread));
}

// Operands of one fold, each at its place behind a multiple of 64, and what the host's kernel makes of them.
struct Example {
  Example(DataType type, ReduceOp op, size_t count, size_t sources, size_t targets, uint32_t divisor, uint64_t seed)
      : count(count), divisor(divisor) {
    for (size_t s = 0; s < sources; ++s) contents.push_back(operands(type, count, 100 * seed + s));
    expected.resize(count * element_size(type));
    std::vector<const void*> from;
    for (const auto& content : contents) from.push_back(content.data());
    const kernels::Target target{expected.data(), kernels::Store::cached};
    kernels::fold_kernel(type, op)(&target, 1, from.data(), sources, count, op == ReduceOp::avg ? divisor : 1);
    targets_wanted = targets;
  }

  // `places`: of the sources and then the targets, in bytes.  If `in_place`, the first target is the last source.
  void place(const std::vector<size_t>& places, bool in_place) {
    sources.clear(), targets.clear();
    for (size_t s = 0; s < contents.size(); ++s) sources.push_back(std::make_unique<Guarded>(contents[s], places[s]));
    for (size_t t = 0; t < targets_wanted; ++t)
      targets.push_back(std::make_unique<Guarded>(expected.size(), places[contents.size() + t]));
    call = {};
    for (const auto& source : sources) call.source[call.sources++] = source->data();
    for (const auto& target : targets) call.target[call.targets++] = target->data();
    if (in_place) call.target[0] = sources.back()->data();
    call.count = count, call.divisor = divisor;
    targets_in_sources = in_place;
  }

  void check() const {
    for (size_t t = 0; t < targets.size(); ++t) {
      const Guarded& target = t == 0 && targets_in_sources ? *sources.back() : *targets[t];
      ASSERT_EQ(target.content(), expected) << "target " << t;
      ASSERT_TRUE(targets[t]->guards_intact()) << "target " << t;
    }
    for (size_t s = 0; s < sources.size(); ++s) {
      ASSERT_TRUE(sources[s]->guards_intact()) << "source " << s;
      if (!targets_in_sources || s + 1 < sources.size()) {
        ASSERT_EQ(sources[s]->content(), contents[s]) << "source " << s;
      }
    }
  }

  size_t count, targets_wanted = 0;
  uint32_t divisor;
  std::vector<std::vector<uint8_t>> contents;
  std::vector<uint8_t> expected;
  std::vector<std::unique_ptr<Guarded>> sources, targets;
  FoldCall call{};
  bool targets_in_sources = false;
};

class FoldTest : public testing::TestWithParam<std::tuple<DataType, ReduceOp>> {
 protected:
  DataType type() const { return std::get<0>(GetParam()); }
  ReduceOp op() const { return std::get<1>(GetParam()); }
  const CpuKernel& kernel() const {
    const CpuKernel* const found = cuda::find_cpu_kernel(cuda::fold_kernel_name(type(), op()));
    EXPECT_NE(found, nullptr) << cuda::fold_kernel_name(type(), op());
    return *found;
  }
  // `n` places at which elements may be: all the same, or each another.
  std::vector<size_t> places(size_t n, bool same, uint64_t seed) const {
    std::vector<size_t> result;
    for (size_t i = 0; i < n; ++i) result.push_back(element_size(type()) * (seed + (same ? 0 : i)));
    return result;
  }
};

TEST_P(FoldTest, HasTheHostsBits) {
  const std::vector<size_t> lengths =
      test::fewer<std::vector<size_t>>({0, 1, 2, 3, 5, 15, 16, 17, 31, 33, 63, 64, 65, 127, 255, 257, 1000}, {0, 1, 17, 65, 257});
  uint64_t seed = 0;
  for (const size_t count : lengths) {
    for (size_t sources = 1; sources <= 5; ++sources) {
      for (size_t targets = 1; targets <= 3; ++targets) {
        ++seed;
        Example example(type(), op(), count, sources, targets, kDivisors[seed % std::size(kDivisors)], seed);
        for (const Cpu::Grid grid : {Cpu::Grid{1, 1}, Cpu::Grid{3, 2}, Cpu::Grid{2, 4}}) {
          for (const bool same : {true, false}) {
            SCOPED_TRACE(testing::Message() << count << " elements, " << sources << " sources, " << targets << " targets, "
                                            << grid.blocks << " blocks of " << grid.threads
                                            << (same ? ", all at one place" : ", at different places"));
            example.place(places(sources + targets, same, seed), seed % 2 == 0);
            run(kernel(), example.call, grid);
            example.check();
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// As many operands as a call holds; a target between the sources.
TEST_P(FoldTest, TakesTheMostOperands) {
  for (const bool same : {true, false}) {
    Example example(type(), op(), 130, cuda::kMostFoldSources, cuda::kMostFoldTargets, 3, 7);
    example.place(places(cuda::kMostFoldSources + cuda::kMostFoldTargets, same, 1), true);
    run(kernel(), example.call, {2, 3});
    example.check();
  }
}

// Blocks and threads that really run at the same time, over a target that is a source: none reads what another writes.
TEST_P(FoldTest, ThreadsShareNoElement) {
  for (const bool same : {true, false}) {
    Example example(type(), op(), 600, 3, 2, 1, 11);
    example.place(places(5, same, 1), true);
    std::vector<std::thread> threads;
    const Cpu::Grid grid{2, 2};
    for (uint32_t t = 0; t < 4; ++t) threads.emplace_back([&, t] { kernel().run(&example.call, Cpu(grid, t / 2, t % 2)); });
    for (std::thread& thread : threads) thread.join();
    example.check();
  }
}

INSTANTIATE_TEST_SUITE_P(All, FoldTest, testing::ValuesIn(defined_pairs()), [](const auto& instance) {
  return std::string(name(std::get<0>(instance.param))) + "_" + std::string(name(std::get<1>(instance.param)));
});

// Zeros that take no memory until they are written.
class Sparse {
 public:
  explicit Sparse(size_t bytes) : bytes_(bytes) {
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) data_ = static_cast<uint8_t*>(memory);
  }
  ~Sparse() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  uint8_t* data() const { return data_; }

 private:
  size_t bytes_;
  uint8_t* data_ = nullptr;
};

// Elements at the end of 4 GiB and a little.  Of the many blocks that share it only those run that these fall to.
TEST(FoldCountTest, GoesBeyond32Bits) {
  constexpr uint64_t kCount = (uint64_t{1} << 32) + 5;
  constexpr uint32_t kBlocks = 1 << 24;
  const Sparse left(kCount + 64), right(kCount + 64), target(kCount + 64);
  ASSERT_TRUE(left.data() != nullptr && right.data() != nullptr && target.data() != nullptr);
  const CpuKernel* const kernel = cuda::find_cpu_kernel("fold_uint8_sum");
  ASSERT_NE(kernel, nullptr);
  for (const size_t shift : {size_t{0}, size_t{1}}) {  // vectors, and elements
    FoldCall call{};
    call.source[0] = left.data(), call.source[1] = right.data() + shift, call.target[0] = target.data();
    call.sources = 2, call.targets = 1, call.divisor = 1, call.count = kCount;
    const uint64_t tile = shift == 0 ? 32 : 4;  // bytes that a thread takes at a time
    for (const uint64_t at : {uint64_t{3} << 30 | 5, kCount - 6, kCount - 1}) {
      left.data()[at] = 40, right.data()[at + shift] = 2, target.data()[at] = 0;
      kernel->run(&call, Cpu({kBlocks, 1}, static_cast<uint32_t>(at / tile % kBlocks), 0));
      for (uint32_t block = 0; block < 5; ++block) kernel->run(&call, Cpu({kBlocks, 1}, block, 0));  // and those of the rest
      EXPECT_EQ(target.data()[at], 42) << at << ", shift " << shift;
      right.data()[at + shift] = 0;
    }
    EXPECT_EQ(target.data()[kCount], 0);
  }
}

// Every number of 16 bits by divisors whose inverses err most.
TEST(NarrowQuotientTest, IsExact) {
  for (const uint32_t divisor : {2u, 3u, 7u, 255u, 256u, 257u, 32767u, 32769u, 43691u, 65534u, 65535u, 65536u, 0xFFFFFFFFu})
    for (uint32_t v = 0; v < 65536; ++v) ASSERT_EQ(cuda::Divisor(divisor).narrow_quotient(v), v / divisor) << v << " / " << divisor;
}

TEST(KernelNamesTest, AreThoseOfDefinedOperators) {
  EXPECT_EQ(cuda::fold_kernel_name(DataType::int32, ReduceOp::sum), "fold_uint32_sum");
  EXPECT_EQ(cuda::interpreter_name(DataType::int64, ReduceOp::band), "interpret_uint64_band");
  EXPECT_EQ(cuda::fold_kernel_name(DataType::int32, ReduceOp::max), "fold_int32_max");
  EXPECT_EQ(cuda::fold_kernel_name(DataType::uint8, ReduceOp::avg), "fold_uint8_avg");
  EXPECT_EQ(cuda::fold_kernel_name(DataType::bfloat16, ReduceOp::avg), "fold_bfloat16_avg");
  for (int t = 0; t < kDataTypes; ++t) {
    for (int o = 0; o < kReduceOps; ++o) {
      const auto type = static_cast<DataType>(t);
      const auto op = static_cast<ReduceOp>(o);
      EXPECT_EQ(cuda::fold_kernel_name(type, op).empty(), !is_defined(op, type)) << name(type) << " " << name(op);
    }
  }
  EXPECT_EQ(cuda::find_cpu_kernel("fold_uint32_summ"), nullptr);
}

// A container of modules begins with a number of its own.
TEST(ImageTest, IsThereForEveryType) {
  constexpr std::array kFatbin{std::byte{0x50}, std::byte{0xED}, std::byte{0x55}, std::byte{0xBA}};
  for (int t = 0; t < kDataTypes; ++t) {
    const auto image = cuda::image(static_cast<DataType>(t));
    ASSERT_GT(image.size(), kFatbin.size()) << name(static_cast<DataType>(t));
    EXPECT_EQ(std::equal(kFatbin.begin(), kFatbin.end(), image.begin()), bool{TUTTI_CUDA_KERNELS})
        << name(static_cast<DataType>(t));
  }
}

}  // namespace
}  // namespace tutti

// Which memory is touched: copy(), operands beside inaccessible pages, counts beyond 2^32.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <random>
#include <vector>

#include "every_target.h"
#include "guarded.h"
#include "kernels.h"
#include "owned_fd.h"

namespace tutti {
namespace {

using kernels::Store;

TEST(CopyTest, BothDestinationsAtEveryOffset) {
  std::mt19937_64 random(1);
  for (size_t bytes : {0u, 1u, 7u, 63u, 64u, 65u, 127u, 511u, 512u, 513u, 600u, 1023u, 4097u, 70001u}) {
    std::vector<uint8_t> content(bytes);
    for (auto& byte : content) byte = static_cast<uint8_t>(random());
    for (int turn = 0; turn < 8; ++turn) {
      const size_t from_offset = random() % 64, destination_offset = random() % 64, pass_offset = random() % 64;
      on_every_target([&] {
        for (Store store : {Store::cached, Store::streaming}) {
          Guarded from(content, from_offset), destination(bytes, destination_offset), pass(bytes, pass_offset);
          kernels::copy(destination.data(), turn % 2 == 0 ? pass.data() : nullptr, from.data(), bytes, store);
          ASSERT_EQ(destination.content(), content) << bytes << " bytes";
          if (turn % 2 == 0) {
            ASSERT_EQ(pass.content(), content) << bytes << " bytes";
          }
          ASSERT_EQ(from.content(), content);
          for (const Guarded* buffer : {&from, &destination, &pass}) ASSERT_TRUE(buffer->guards_intact());
        }
      });
    }
  }
}

// Pages between two inaccessible ones.
class Fenced {
 public:
  static constexpr size_t kPage = 1 << 16;  // a multiple of the page size of every system

  Fenced() : base_(static_cast<uint8_t*>(mmap(nullptr, 3 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    ok_ = base_ != MAP_FAILED && mprotect(base_ + kPage, kPage, PROT_READ | PROT_WRITE) == 0;
  }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  ~Fenced() { munmap(base_, 3 * kPage); }
  bool ok() const { return ok_; }
  uint8_t* first() const { return base_ + kPage; }
  uint8_t* last(size_t bytes) const { return base_ + 2 * kPage - bytes; }

 private:
  uint8_t* base_;
  bool ok_;
};

TEST(FencedTest, NothingOutsideTheOperandsIsTouched) {
  const Fenced left, right, destination, pass;
  ASSERT_TRUE(left.ok() && right.ok() && destination.ok() && pass.ok());
  on_every_target([&] {
    for (int t = 0; t < kDataTypes; ++t) {
      const auto type = static_cast<DataType>(t);
      for (size_t count = 0; count < 700; count += count < 140 ? 1 : 37) {
        const size_t bytes = count * element_size(type);
        for (Store store : {Store::cached, Store::streaming}) {
          const auto reduce = kernels::reduce_kernel(type, ReduceOp::sum);
          reduce(destination.last(bytes), pass.last(bytes), left.last(bytes), right.last(bytes), count, 3, store);
          reduce(destination.first(), pass.first(), left.first(), right.first(), count, 1, store);
          const void* const sources[] = {left.last(bytes), right.last(bytes), destination.last(bytes)};
          const kernels::Target targets[] = {
              {destination.last(bytes), store}, {pass.first(), store}, {pass.last(bytes), Store::cached}};
          kernels::fold_kernel(type, ReduceOp::sum)(targets, std::size(targets), sources, std::size(sources), count, 1);
          kernels::copy(destination.last(bytes), pass.last(bytes), left.last(bytes), bytes, store);
        }
      }
    }
  });
}

// `bytes` of address space, a multiple of kPage, over one page of memory again and again.
class Repeated {
 public:
  static constexpr size_t kPage = 2 << 20;

  explicit Repeated(size_t bytes) : bytes_(bytes), fd_(memfd_create("repeated", MFD_CLOEXEC)) {
    base_ = static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    ok_ = base_ != MAP_FAILED && ftruncate(fd_.get(), kPage) == 0;
    for (size_t i = 0; ok_ && i < bytes; i += kPage) {
      ok_ = mmap(base_ + i, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_.get(), 0) != MAP_FAILED;
    }
  }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;
  ~Repeated() { munmap(base_, bytes_); }
  bool ok() const { return ok_; }
  uint8_t* data() const { return base_; }

 private:
  size_t bytes_;
  OwnedFd fd_;
  uint8_t* base_;
  bool ok_;
};

// The last, partly used page of the destination is looked at: what lies before its end was written by elements beyond
// 2^32.
TEST(CountTest, BeyondFourGigaElements) {
  constexpr size_t kSpan = (size_t{1} << 32) + Repeated::kPage, kTail = 12345, kCount = kSpan + kTail;
  const Repeated left(kSpan + Repeated::kPage), right(kSpan + Repeated::kPage), destination(kSpan + Repeated::kPage);
  ASSERT_TRUE(left.ok() && right.ok() && destination.ok());
  uint8_t* const last = destination.data() + kSpan;
  ASSERT_NE(mmap(last, Repeated::kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), MAP_FAILED);
  std::memset(left.data(), 2, Repeated::kPage);
  std::memset(right.data(), 3, Repeated::kPage);
  kernels::reduce_kernel(DataType::uint8, ReduceOp::sum)(destination.data(), nullptr, left.data(), right.data(), kCount, 1,
                                                         Store::cached);
  for (size_t i = 0; i < kTail; ++i) ASSERT_EQ(last[i], 5) << i;
  for (size_t i = kTail; i < Repeated::kPage; ++i) ASSERT_EQ(last[i], 0) << i;
  EXPECT_EQ(destination.data()[0], 5);
}

}  // namespace
}  // namespace tutti

// What a rank lends of its device memory, and what it believes of the boards that other processes write.
#include "device_loans.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <limits>

#include "ipc_text.h"
#include "peer_process.h"
#include "private_memory.h"

namespace tutti::cuda::test {
namespace {

using testing::HasSubstr;

constexpr size_t kLoanBytes = 64 << 10;

struct Nobody final : FamilyMemory::Member {
  bool failed() const override { return false; }
  std::string user_of(const void*) const override { return ""; }
};

// Three ranks that share an arena.
class Lenders : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!is_ready()) return;
    const memory::ArenaShape shape{.ranks = kRanks, .slots = 1, .slot_bytes = 4096};
    arena_memory_ = value_of(memory::private_memory(shape.bytes()));
    for (size_t rank = 0; rank < kRanks; ++rank) {
      CommunicatorParts& parts = parts_[rank];
      parts.domain = std::make_shared<Domain>();
      parts.domain->memory = std::make_shared<FamilyMemory>(memory::Window());
      parts.rank = static_cast<int>(rank);
      parts.size = kRanks;
      parts.rank_names = {"rank 0", "rank 1", "rank 2"};
      parts.log = Log(LogLevel::info, "test", log_.get());
      parts.arena.emplace(arena_memory_.get(), shape);
      begin(rank, context(), {true, true, true});
    }
  }
  void begin(size_t rank, const SharedContext& on, std::vector<bool> of_this_process) {
    streams_[rank].emplace(value_of(Stream::create(on)));
    loans_[rank] = value_of(DeviceLoans::create(parts_[rank], on, MemoryPool::of(on), streams_[rank]->get()));
    loans_[rank]->know_processes(std::move(of_this_process));
    contexts_[rank] = on;
  }

  std::byte* allocate(size_t rank, const SharedContext& on) {
    return value_of(parts_[rank].domain->memory->allocate_on(on, nobody_, kLoanBytes));
  }
  std::byte* allocate(size_t rank) { return allocate(rank, context()); }

  // The rank's n-th call by kernels.
  void call(size_t rank, uint64_t n) {
    const CurrentContext current(*contexts_[rank]);
    EXPECT_OK(loans_[rank]->prepare(streams_[rank]->get()));
    loans_[rank]->note(n);
    finish(streams_[rank]->get());
  }
  DeviceLoans::Lent lent(size_t rank, uint64_t call, const std::vector<int>& peers, void* memory) const {
    return loans_[rank]->lent(call, peers, Binding::chunked(memory, memory, 4096, 1, 64));
  }

  memory::RegionBoard& board(uint32_t rank) const { return parts_[0].arena->regions_of(rank); }
  std::atomic<uint64_t>& reads_from(uint32_t rank, uint32_t n, uint32_t reader) const {
    return parts_[0].arena->reads_from(rank, n, reader);
  }
  // What `reader`'s kernels know of the n-th region of `rank`.
  DeviceRegion known(size_t reader, size_t rank, uint32_t n) const {
    const std::vector<uint32_t> words =
        read(address_of(loans_[reader]->table() + rank * kRegionsOfRank + n), sizeof(DeviceRegion) / sizeof(uint32_t));
    DeviceRegion region;
    std::memcpy(&region, words.data(), sizeof region);
    return region;
  }
  void expect_unknown(size_t reader, uint32_t rank, uint32_t n) const {
    EXPECT_EQ(known(reader, rank, n).base, nullptr) << n;
    EXPECT_EQ(known(reader, rank, n).bytes, 0) << n;
    EXPECT_EQ(reads_from(rank, n, static_cast<uint32_t>(reader)), 0) << n;
  }
  std::string logged() const {
    std::string text(1 << 16, '\0');
    const ssize_t bytes = ::pread(log_.get(), text.data(), text.size(), 0);
    text.resize(bytes > 0 ? static_cast<size_t>(bytes) : 0);
    return text;
  }

  static constexpr uint32_t kRanks = 3;
  const OwnedFd log_{::memfd_create("log", MFD_CLOEXEC)};
  std::shared_ptr<std::byte> arena_memory_;
  std::array<CommunicatorParts, kRanks> parts_;
  std::array<SharedContext, kRanks> contexts_;
  std::array<std::optional<Stream>, kRanks> streams_;
  std::array<std::unique_ptr<DeviceLoans>, kRanks> loans_;
  Nobody nobody_;
};

TEST_F(Lenders, LendFromTheCallOnThatAllPeersCanRead) {
  std::byte* const memory = allocate(0);
  call(0, 1);
  EXPECT_EQ(board(0).published, 1);
  EXPECT_FALSE(lent(0, 1, {1}, memory).any());
  call(1, 1);
  EXPECT_EQ(reads_from(0, 0, 1), 1);
  EXPECT_EQ(known(1, 0, 0).base, memory);
  EXPECT_EQ(known(1, 0, 0).bytes, kLoanBytes);
  const DeviceLoans::Lent to_one = lent(0, 2, {1}, memory + 512);
  EXPECT_EQ(to_one.regions[0].base, memory);
  EXPECT_EQ(to_one.regions[0].bytes, kLoanBytes);
  EXPECT_EQ(to_one.regions[0].number, 0);
  EXPECT_FALSE(lent(0, 2, {1, 2}, memory).any());
  call(2, 5);
  EXPECT_FALSE(lent(0, 4, {1, 2}, memory).any());
  EXPECT_TRUE(lent(0, 5, {1, 2}, memory).any());
  EXPECT_FALSE(lent(0, 5, {1, 2}, memory + kLoanBytes).any());
  parts_[0].domain->memory->free_all_of(nobody_);
  EXPECT_FALSE(lent(0, 5, {1, 2}, memory).any());
}

// ---- boards that lie ----

TEST_F(Lenders, OpenOnlyWhatTheDriverKnows) {
  Peer peer({"share", "1000"}, "../cuda/cuda_peer");
  begin(0, context(), {true, false, true});
  const CUipcMemHandle theirs = handle_of(peer.line());
  const DeviceMemory own = device_memory(2 << 20);
  memory::RegionBoard& lies = board(1);
  const auto say = [&](uint32_t n, const CUipcMemHandle& handle, uint64_t bytes) {
    std::memcpy(lies.regions[n].handle, &handle, sizeof handle);
    lies.regions[n].has_handle = 1;
    lies.regions[n].bytes = bytes;
  };
  lies.regions[0].bytes = 4000;  // without a handle
  lies.regions[0].address = own.address();
  say(1, CUipcMemHandle{}, 4000);
  say(2, value_of(own.shared()), 4000);
  say(3, theirs, uint64_t{1} << 60);
  say(4, theirs, 12);
  lies.published = 5;
  call(0, 7);
  for (uint32_t n = 0; n < 3; ++n) expect_unknown(0, 1, n);
  EXPECT_THAT(logged(), HasSubstr("memory of rank 1's device is copied into slots: it cannot be opened by other processes"));
  EXPECT_THAT(logged(), HasSubstr("memory of rank 1's device is copied into slots: CUDA cannot map another process's memory"));
  EXPECT_EQ(known(0, 1, 3).bytes, 4000);
  EXPECT_EQ(read(address_of(known(0, 1, 3).base), 3), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(known(0, 1, 4).bytes, 12);
  EXPECT_EQ(reads_from(1, 3, 0), 7);
  EXPECT_EQ(reads_from(1, 4, 0), 7);
  loans_[0]->let_go();
}

TEST_F(Lenders, ReadInThisProcessOnlyWhatIsThere) {
  std::byte* const memory = allocate(1);
  memory::RegionBoard& lies = board(1);
  lies.regions[0].bytes = lies.regions[1].bytes = uint64_t{1} << 60;
  lies.regions[0].address = address_of(memory) + 1;
  lies.regions[1].address = address_of(memory);
  lies.published = 2;
  call(0, 1);
  expect_unknown(0, 1, 0);
  EXPECT_THAT(logged(), HasSubstr("memory of rank 1's device is copied into slots: it is not there"));
  EXPECT_EQ(known(0, 1, 1).base, memory);
  EXPECT_EQ(known(0, 1, 1).bytes, kLoanBytes);
}

TEST_F(Lenders, LookAtNoMoreRegionsThanABoardHas) {
  begin(0, context(), {true, false, false});
  memory::RegionBoard& lies = board(1);
  for (const uint64_t published : {std::numeric_limits<uint64_t>::max(), uint64_t{0}, uint64_t{33}}) {
    lies.published = published;
    call(0, 1);
    for (uint32_t n = 0; n < kRegionsOfRank; ++n) expect_unknown(0, 1, n);
    expect_unknown(0, 2, 0);  // which is behind it
  }
  EXPECT_EQ(std::ranges::count(logged(), '\n'), kRegionsOfRank);
}

TEST_F(Lenders, LendNothingToReadersThatLie) {
  std::byte* const first = allocate(0);
  call(0, 1);
  std::byte* const second = allocate(0);
  for (uint32_t n = 0; n < kRegionsOfRank; ++n) reads_from(0, n, 1) = n == 0 ? std::numeric_limits<uint64_t>::max() : 1;
  EXPECT_FALSE(lent(0, 1000, {1}, first).any());   // of a call to come
  EXPECT_FALSE(lent(0, 1000, {1}, second).any());  // not published
  EXPECT_FALSE(lent(0, 1000, {1}, parts_.data()).any());
}

// ---- several devices ----

TEST_F(Lenders, LendToAnotherDevice) {
  if (driver().devices() < 2) GTEST_SKIP() << "for two devices";
  const SharedContext second = value_of(Context::retain(driver(), 1));
  begin(1, second, {true, true, true});
  std::byte* const elsewhere = allocate(0, second);
  std::byte* const memory = allocate(0);
  call(0, 1);
  EXPECT_EQ(board(0).published, 1);  // what is not on this rank's own device is another communicator's
  call(1, 1);
  EXPECT_EQ(known(1, 0, 0).base, memory);
  EXPECT_TRUE(lent(0, 2, {1}, memory).any());
  EXPECT_FALSE(lent(0, 2, {1}, elsewhere).any());
}

TEST_F(Lenders, LendNothingToADeviceThatDoesNotReachThem) {
  NEEDS_MOOD("no-p2p");
  const SharedContext second = value_of(Context::retain(driver(), 1));
  begin(1, second, {true, true, true});
  std::byte* const memory = allocate(0);
  call(0, 1);
  call(1, 1);
  expect_unknown(1, 0, 0);
  EXPECT_THAT(logged(), HasSubstr("device 1 cannot reach the memory of device 0"));
  EXPECT_FALSE(lent(0, 2, {1}, memory).any());
}

}  // namespace
}  // namespace tutti::cuda::test

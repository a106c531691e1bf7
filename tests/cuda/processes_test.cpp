// Device memory of another process, and what becomes of a context in a child.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "device_rank.h"
#include "ipc_text.h"
#include "peer_process.h"
#include "world.h"

namespace tutti::cuda::test {
namespace {

class CudaProcesses : public CudaTest {};

TEST_F(CudaProcesses, ReadAndWriteOneAnothersMemory) {
  const size_t words = 100'000;
  Peer peer({"share", std::to_string(words)});
  const CUipcMemHandle handle = handle_of(peer.line());
  {
    const OpenedMemory opened = value_of(OpenedMemory::open(context(), handle));
    EXPECT_EQ(value_of(recognize(driver(), opened.data())).place, MemoryPlace::device);
    std::vector<uint32_t> values = read(opened.address(), words);
    for (uint32_t i = 0; i < words; ++i) ASSERT_EQ(values[i], i + 1);
    for (uint32_t& value : values) value *= 2;
    write(opened.address(), values);
  }
  peer.tell();
  EXPECT_EQ(peer.line(), "doubled");
}

TEST_F(CudaProcesses, OpenAHandleTwice) {
  Peer peer({"share", "1000"});
  const CUipcMemHandle handle = handle_of(peer.line());
  auto first = std::make_unique<OpenedMemory>(value_of(OpenedMemory::open(context(), handle)));
  const OpenedMemory second = value_of(OpenedMemory::open(context(), handle));
  EXPECT_EQ(first->address(), second.address());
  first.reset();
  EXPECT_EQ(read(second.address(), 3), (std::vector<uint32_t>{1, 2, 3}));
  peer.tell();
  EXPECT_EQ(peer.line(), "word 0 is 1");  // nobody has doubled it
}

// Kernels of two processes write into one another's memory, and wait for one another.
TEST_F(CudaProcesses, ReduceByKernels) {
  if (!has_kernels()) GTEST_SKIP() << "built without nvcc";
  constexpr size_t kCount = 3001;
  DeviceRank rank(context(), 0, 2, kCount);
  Peer peer({"reduce", std::to_string(kCount), text_of(value_of(rank.arena().shared()))});
  const OpenedMemory other = value_of(OpenedMemory::open(context(), handle_of(peer.line())));
  rank.connect(1, other.data());
  const Module module = value_of(Module::load(context(), image(DataType::uint32)));
  rank.reduce_thrice(value_of(module.function(interpreter_name(DataType::uint32, ReduceOp::sum))));
  EXPECT_EQ(rank.result(), DeviceRank::expected(2, kCount, 3));
  EXPECT_EQ(peer.line(), "reduced");
  peer.tell();
}

TEST_F(CudaProcesses, DoNotOpenWhatIsNoHandle) {
  CUipcMemHandle nonsense{};
  for (unsigned char& byte : nonsense.reserved) byte = 0x5A;
  EXPECT_FALSE(OpenedMemory::open(context(), nonsense).ok());
  EXPECT_EQ(context()->lost(), Error::success);
}

// A child has copies of its parent's objects, and ends them without a word to CUDA.
TEST_F(CudaProcesses, LeaveWhatIsTheirParents) {
  std::optional<DeviceMemory> memory = device_memory(400);
  std::optional<Stream> on = stream();
  write(memory->address(), std::vector<uint32_t>(100, 3));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    memory.reset();
    on.reset();
    ::_exit(context()->is_ours() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_TRUE(context()->is_ours());
  EXPECT_EQ(read(memory->address(), 100), std::vector<uint32_t>(100, 3));
  finish(on->get());
}

// The host cannot read a device's memory; the fake sees to that when it is asked to.
TEST_F(CudaProcesses, DieOfReadingDeviceMemory) {
  (void)set_mood("guarded");
  const DeviceMemory memory = device_memory(4096);
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_DEATH(std::printf("%d\n", static_cast<int>(*const_cast<volatile std::byte*>(memory.data()))), "");
  write(memory.address(), {8});
  EXPECT_EQ(read(memory.address(), 1)[0], 8U);
}

}  // namespace
}  // namespace tutti::cuda::test

// Contexts, and memory of all places.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <set>

#include "world.h"

namespace tutti::cuda::test {
namespace {

using testing::HasSubstr;

class CudaDevice : public CudaTest {};

TEST_F(CudaDevice, TellsWhatItIs) {
  EXPECT_FALSE(value_of(context()->name()).empty());
  EXPECT_THAT(value_of(context()->pci_bus_id()), testing::MatchesRegex("[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\\.[0-9]"));
  EXPECT_GT(value_of(context()->attribute(DeviceAttribute::multiprocessor_count)), 0);
  EXPECT_GE(value_of(context()->attribute(DeviceAttribute::max_threads_per_block)), 512);
  EXPECT_GE(value_of(context()->attribute(DeviceAttribute::compute_capability_major)), 7);
  EXPECT_EQ(value_of(context()->attribute(DeviceAttribute::unified_addressing)), 1);
  std::set<std::string> uuids;
  for (int device = 0; device < driver().devices(); ++device) {
    const CUuuid uuid = value_of(value_of(Context::retain(driver(), device))->uuid());
    uuids.emplace(reinterpret_cast<const char*>(&uuid.bytes[0]), sizeof(uuid.bytes));
  }
  EXPECT_EQ(uuids.size(), static_cast<size_t>(driver().devices()));
}

TEST_F(CudaDevice, ThatIsNotThere) {
  for (const int device : {-1, driver().devices()}) {
    const auto none = Context::retain(driver(), device);
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.status().code(), Code::invalid_argument);
    EXPECT_THAT(none.status().message(), HasSubstr("cannot use CUDA device " + std::to_string(device)));
  }
}

TEST_F(CudaDevice, IsCurrentForAScope) {
  CUcontext before = nullptr, within = nullptr, after = nullptr;
  EXPECT_EQ(driver().call<"cuCtxGetCurrent">(&before), Error::success);
  const auto last = value_of(Context::retain(driver(), driver().devices() - 1));
  {
    const CurrentContext current(*last);
    EXPECT_OK(current.status());
    CUdevice device = -1;
    EXPECT_EQ(driver().call<"cuCtxGetDevice">(&device), Error::success);
    EXPECT_EQ(device, last->device());
    EXPECT_EQ(driver().call<"cuCtxGetCurrent">(&within), Error::success);
  }
  EXPECT_EQ(driver().call<"cuCtxGetCurrent">(&after), Error::success);
  EXPECT_EQ(within, last->handle());
  EXPECT_EQ(after, before);
}

// The primary context is the process's: whoever retains it gets the same.
TEST_F(CudaDevice, HasOnePrimaryContext) {
  const auto again = value_of(Context::retain(driver(), 0));
  EXPECT_EQ(again->handle(), context()->handle());
}

TEST_F(CudaDevice, ReachesOthers) {
  EXPECT_TRUE(value_of(context()->reaches(0)));
  EXPECT_OK(context()->allow_access_to(*context()));
  for (int device = 1; device < driver().devices(); ++device) {
    const auto peer = value_of(Context::retain(driver(), device));
    if (!value_of(context()->reaches(device))) continue;
    EXPECT_OK(context()->allow_access_to(*peer));
    EXPECT_OK(context()->allow_access_to(*peer));  // is no error
  }
}

TEST_F(CudaDevice, ReachesNoOther) {
  NEEDS_MOOD("no-p2p");
  const auto peer = value_of(Context::retain(driver(), 1));
  EXPECT_FALSE(value_of(context()->reaches(1)));
  const Status refused = context()->allow_access_to(*peer);
  EXPECT_EQ(refused.code(), Code::unsupported);
  EXPECT_THAT(refused.message(),
              HasSubstr("CUDA cannot let device 0 use the memory of device 1: CUDA_ERROR_PEER_ACCESS_UNSUPPORTED"));
}

TEST_F(CudaDevice, KeepsWhatIsCopiedThereAndBack) {
  const DeviceMemory memory = device_memory(1000);
  EXPECT_EQ(memory.size(), 1000U);
  EXPECT_EQ(memory.address() % 256, 0U);
  std::vector<uint32_t> values(250);
  for (uint32_t i = 0; i < 250; ++i) values[i] = i * 2654435761U;
  write(memory.address(), values);
  EXPECT_EQ(read(memory.address(), 250), values);
  const Stream on = stream();
  EXPECT_OK(fill(*context(), memory.address() + 4, 0xAB, 8, on.get()));
  finish(on.get());
  values[1] = values[2] = 0xABABABAB;
  EXPECT_EQ(read(memory.address(), 250), values);
}

TEST_F(CudaDevice, CopiesBetweenDevices) {
  const auto other = value_of(Context::retain(driver(), driver().devices() - 1));
  const DeviceMemory from = device_memory(4096), to = value_of(DeviceMemory::allocate(other, 4096));
  const std::vector<uint32_t> values(1024, 77);
  write(from.address(), values);
  const Stream on = stream();
  EXPECT_OK(copy(*context(), to.address(), from.address(), 4096, on.get()));
  finish(on.get());
  EXPECT_EQ(read(to.address(), 1024), values);
}

// A copy of ordinary memory is as right as another, even where it does not run beside the host.
TEST_F(CudaDevice, CopiesOrdinaryMemory) {
  const DeviceMemory memory = device_memory(64);
  std::vector<uint32_t> out(16, 5), in(16);
  const Stream on = stream();
  EXPECT_OK(copy(*context(), memory.address(), address_of(out.data()), 64, on.get()));
  EXPECT_OK(copy(*context(), address_of(in.data()), memory.address(), 64, on.get()));
  finish(on.get());
  EXPECT_EQ(in, out);
}

TEST_F(CudaDevice, MovesWhatOwns) {
  DeviceMemory first = device_memory(256);
  const CUdeviceptr address = first.address();
  DeviceMemory second = std::move(first);
  EXPECT_EQ(second.address(), address);
  EXPECT_EQ(value_of(recognize(driver(), second.data())).place, MemoryPlace::device);
  second = device_memory(256);  // the first ends here or with its new holder, but once
  const CUdeviceptr other = second.address();
  EXPECT_NE(other, 0U);
}

TEST_F(CudaDevice, FreesWhatEnds) {
  size_t before = 0, within = 0, after = 0, total = 0;
  EXPECT_EQ(driver().call<"cuMemGetInfo">(&before, &total), Error::success);
  {
    const DeviceMemory memory = device_memory(64 << 20);
    EXPECT_EQ(driver().call<"cuMemGetInfo">(&within, &total), Error::success);
    EXPECT_LE(within, before - (64 << 20));
  }
  EXPECT_EQ(driver().call<"cuMemGetInfo">(&after, &total), Error::success);
  EXPECT_EQ(after, before);
}

TEST_F(CudaDevice, HasNoMoreMemoryThanThere) {
  size_t free = 0, total = 0;
  EXPECT_EQ(driver().call<"cuMemGetInfo">(&free, &total), Error::success);
  const auto none = DeviceMemory::allocate(context(), total + (1 << 20));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), Code::out_of_memory);
  EXPECT_THAT(none.status().message(), HasSubstr(" on device 0: CUDA_ERROR_OUT_OF_MEMORY"));
  EXPECT_EQ(context()->lost(), Error::success);  // it can be used further
  EXPECT_TRUE(DeviceMemory::allocate(context(), 256).ok());
}

TEST_F(CudaDevice, TellsMemoryApart) {
  std::vector<std::byte> ordinary(1 << 20);
  const DeviceMemory memory = device_memory(1 << 20);
  const PinnedMemory pinned = pinned_memory(1 << 20);
  EXPECT_EQ(value_of(recognize(driver(), ordinary.data())).place, MemoryPlace::host);
  EXPECT_EQ(value_of(recognize(driver(), nullptr)).place, MemoryPlace::host);
  int of_stack = 0;
  EXPECT_EQ(value_of(recognize(driver(), &of_stack)).place, MemoryPlace::host);
  for (const size_t offset : {size_t{0}, size_t{1}, memory.size() - 1}) {
    const KnownMemory known = value_of(recognize(driver(), memory.data() + offset));
    EXPECT_EQ(known.place, MemoryPlace::device);
    EXPECT_EQ(known.device, 0);
  }
  EXPECT_EQ(value_of(recognize(driver(), pinned.data() + 100)).place, MemoryPlace::registered_host);
  CUdeviceptr managed = 0;
  ASSERT_EQ(driver().call<"cuMemAllocManaged">(&managed, size_t{1} << 16, kMemAttachGlobal), Error::success);
  EXPECT_EQ(value_of(recognize(driver(), pointer_to(managed))).place, MemoryPlace::managed);
  words_at(managed)[0] = 17;  // the host may use it
  EXPECT_EQ(driver().call<"cuMemFree">(managed), Error::success);
  EXPECT_EQ(value_of(recognize(driver(), pointer_to(managed))).place, MemoryPlace::host);
  const auto last = value_of(Context::retain(driver(), driver().devices() - 1));
  const DeviceMemory of_last = value_of(DeviceMemory::allocate(last, 4096));
  EXPECT_EQ(value_of(recognize(driver(), of_last.data())).device, driver().devices() - 1);
}

TEST_F(CudaDevice, RecognizesWithoutACurrentContext) {
  const DeviceMemory memory = device_memory(4096);
  CUcontext popped = nullptr;
  ASSERT_EQ(driver().call<"cuCtxPopCurrent">(&popped), Error::success);
  int of_stack = 0;
  EXPECT_EQ(value_of(recognize(driver(), memory.data())).place, MemoryPlace::device);
  EXPECT_EQ(value_of(recognize(driver(), &of_stack)).place, MemoryPlace::host);
  ASSERT_EQ(driver().call<"cuCtxPushCurrent">(popped), Error::success);
}

TEST_F(CudaDevice, RegistersMemoryOfTheHost) {
  if (value_of(context()->attribute(DeviceAttribute::host_register_supported)) == 0)
    GTEST_SKIP() << "this device registers no memory";
  const size_t bytes = 1 << 20;
  // Shared memory of a file descriptor, as the arenas of Tutti are.
  const int fd = ::memfd_create("tutti test", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(fd, bytes), 0);
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  {
    const HostRegistration registration = value_of(HostRegistration::make(context(), mapped, bytes));
    EXPECT_EQ(value_of(recognize(driver(), mapped)).place, MemoryPlace::registered_host);
    const auto twice = HostRegistration::make(context(), mapped, bytes);
    ASSERT_FALSE(twice.ok());
    EXPECT_THAT(twice.status().message(),
                HasSubstr("CUDA cannot register 1 MiB of host memory: CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED"));
    // A kernel reads and writes it.
    const auto module = value_of(Module::load(context(), probes()));
    const CUdeviceptr there = value_of(registration.device_address());
    static_cast<uint32_t*>(mapped)[3] = 40;
    const Stream on = stream();
    launch(module, "probe_add", probes::Add{words_at(there) + 3, words_at(there) + 4, 1, 2}, on.get());
    finish(on.get());
    EXPECT_EQ(static_cast<uint32_t*>(mapped)[4], 42U);
  }
  EXPECT_EQ(value_of(recognize(driver(), mapped)).place, MemoryPlace::host);
  ::munmap(mapped, bytes);
  ::close(fd);
}

TEST_F(CudaDevice, RegistersNoMemoryOfTheHost) {
  NEEDS_MOOD("no-register");
  EXPECT_EQ(value_of(context()->attribute(DeviceAttribute::host_register_supported)), 0);
  std::vector<std::byte> memory(4096);
  EXPECT_EQ(HostRegistration::make(context(), memory.data(), memory.size()).status().code(), Code::unsupported);
}

TEST_F(CudaDevice, TellsWhatABufferIsAPartOf) {
  const DeviceMemory memory = device_memory(2 << 20);
  const Allocation found = value_of(allocation_of(*context(), memory.address() + 12345));
  EXPECT_EQ(found.base, memory.address());
  EXPECT_EQ(found.bytes, memory.size());
  const Stream on = stream();
  CUdeviceptr of_pool = 0;
  ASSERT_EQ(driver().call<"cuMemAllocAsync">(&of_pool, size_t{4096}, on.get()), Error::success);
  EXPECT_FALSE(value_of(allocation_of(*context(), of_pool)).can_be_shared);
  EXPECT_FALSE(share(*context(), of_pool).ok());
  EXPECT_EQ(driver().call<"cuMemFreeAsync">(of_pool, on.get()), Error::success);
  finish(on.get());
}

TEST_F(CudaDevice, DoesNotOpenItsOwnMemory) {
  const DeviceMemory memory = device_memory(2 << 20);
  if (!value_of(allocation_of(*context(), memory.address())).can_be_shared) GTEST_SKIP() << "nothing is shared here";
  const CUipcMemHandle handle = value_of(memory.shared());
  const auto own = OpenedMemory::open(context(), handle);
  ASSERT_FALSE(own.ok());
  EXPECT_THAT(own.status().message(),
              HasSubstr("CUDA cannot map another process's memory on device 0: CUDA_ERROR_INVALID_CONTEXT"));
}

TEST_F(CudaDevice, SharesNothing) {
  NEEDS_MOOD("no-ipc");
  const DeviceMemory memory = device_memory(4096);
  EXPECT_FALSE(value_of(allocation_of(*context(), memory.address())).can_be_shared);
  EXPECT_EQ(memory.shared().status().code(), Code::unsupported);
}

TEST_F(CudaDevice, FailsToAllocateWhenItIsMadeTo) {
  NEEDS_MOOD("fail=cuMemAlloc:2:2,fail=cuMemHostAlloc:2:1");
  EXPECT_TRUE(DeviceMemory::allocate(context(), 4096).ok());
  EXPECT_EQ(DeviceMemory::allocate(context(), 4096).status().code(), Code::out_of_memory);
  EXPECT_TRUE(DeviceMemory::allocate(context(), 4096).ok());
  EXPECT_EQ(PinnedMemory::allocate(context(), 4096).status().code(), Code::out_of_memory);
}

// At the end of a process CUDA may be gone before the program's static objects are.
TEST_F(CudaDevice, IsLeftSilentlyWhenCudaHasEnded) {
  std::optional<DeviceMemory> memory = device_memory(4096);
  std::optional<PinnedMemory> pinned = pinned_memory(4096);
  std::optional<Stream> on = stream();
  std::optional<Event> event = value_of(Event::create(context()));
  NEEDS_MOOD("gone");
  memory.reset();
  pinned.reset();
  on.reset();
  event.reset();
  const auto none = DeviceMemory::allocate(context(), 4096);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.status().message(), HasSubstr("the process may be ending"));
}

}  // namespace
}  // namespace tutti::cuda::test

// The other process of processes_test.cpp: shares device memory whose words are 1, 2, 3 …, and says whether it has them
// doubled when it is told to look.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "device_memory.h"
#include "stream.h"

namespace {

using namespace tutti::cuda;

int fail(const tutti::Status& status) {
  std::printf("%s\n", status.message().c_str());
  return 1;
}

tutti::Status copy_and_wait(const Context& context, CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
  if (tutti::Status status = copy(context, to, from, bytes, on); !status.ok()) return status;
  return context.check(context.driver().call<"cuStreamSynchronize">(on), "wait for a copy");
}

int share_memory(const char* library, size_t words) {
  const auto driver = Driver::load(library);
  if (!driver.ok()) return fail(driver.status());
  const auto context = Context::retain(**driver, 0);
  if (!context.ok()) return fail(context.status());
  const CurrentContext current(**context);
  const auto memory = DeviceMemory::allocate(*context, words * 4);
  if (!memory.ok()) return fail(memory.status());
  const auto on = Stream::create(*context);
  if (!on.ok()) return fail(on.status());
  std::vector<uint32_t> values(words);
  for (uint32_t i = 0; i < words; ++i) values[i] = i + 1;
  if (auto status = copy_and_wait(**context, memory->address(), address_of(values.data()), words * 4, on->get()); !status.ok())
    return fail(status);
  const auto handle = memory->shared();
  if (!handle.ok()) return fail(handle.status());
  for (const unsigned char byte : handle->reserved) std::printf("%02x", byte);
  std::printf("\n");
  std::fflush(stdout);
  char told = 0;
  if (::read(STDIN_FILENO, &told, 1) != 1) return 1;
  if (auto status = copy_and_wait(**context, address_of(values.data()), memory->address(), words * 4, on->get()); !status.ok())
    return fail(status);
  for (uint32_t i = 0; i < words; ++i)
    if (values[i] != 2 * (i + 1)) {
      std::printf("word %u is %u\n", i, values[i]);
      return 1;
    }
  std::printf("doubled\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: cuda_peer LIBRARY WORDS\n");
    return 2;
  }
  return share_memory(argv[1], static_cast<size_t>(std::atol(argv[2])));
}

// The other process of processes_test.cpp, which talks to it by lines.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "device_rank.h"
#include "ipc_text.h"

namespace {

using namespace tutti::cuda;
using namespace tutti::cuda::test;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void wait_to_be_told() {
  char told = 0;
  if (::read(STDIN_FILENO, &told, 1) != 1) std::exit(1);  // nobody is there any more
}

// Shares device memory whose words are 1, 2, 3 …, and says whether it has them doubled when it is told to look.
void share(const SharedContext& context, size_t words) {
  const DeviceMemory memory = value_of(DeviceMemory::allocate(context, words * 4));
  const Stream on = value_of(Stream::create(context));
  std::vector<uint32_t> values(words);
  const auto copy_and_wait = [&](CUdeviceptr to, CUdeviceptr from) {
    check(copy(*context, to, from, words * 4, on.get()));
    check(context->check(context->driver().call<"cuStreamSynchronize">(on.get()), "wait for a copy"));
  };
  for (uint32_t i = 0; i < words; ++i) values[i] = i + 1;
  copy_and_wait(memory.address(), address_of(values.data()));
  say(text_of(value_of(memory.shared())));
  wait_to_be_told();
  copy_and_wait(address_of(values.data()), memory.address());
  for (uint32_t i = 0; i < words; ++i)
    if (values[i] != 2 * (i + 1)) return say("word " + std::to_string(i) + " is " + std::to_string(values[i]));
  say("doubled");
}

// Rank 1 of two, of which the first one's arena is given: reduces once, and twice by a graph.
void reduce(const SharedContext& context, size_t count, const std::string& handle_of_first) {
  const OpenedMemory first = value_of(OpenedMemory::open(context, handle_of(handle_of_first)));
  DeviceRank rank(context, 1, 2, count);
  rank.connect(0, first.data());
  const Module module = value_of(Module::load(context, image(tutti::DataType::uint32)));
  const Function kernel = value_of(module.function(interpreter_name(tutti::DataType::uint32, tutti::ReduceOp::sum)));
  say(text_of(value_of(rank.arena().shared())));
  rank.reduce_thrice(kernel);
  say(rank.result() == DeviceRank::expected(2, count, 3) ? "reduced" : "something else");
  wait_to_be_told();  // the other one still reads its memory
}

}  // namespace

int main(int argc, char** argv) try {
  const bool shares = argc == 4 && std::string(argv[2]) == "share", reduces = argc == 5 && std::string(argv[2]) == "reduce";
  if (!shares && !reduces) {
    std::fprintf(stderr, "usage: cuda_peer LIBRARY share WORDS\n       cuda_peer LIBRARY reduce COUNT HANDLE\n");
    return 2;
  }
  const SharedContext context = value_of(Context::retain(*value_of(Driver::load(argv[1])), 0));
  const CurrentContext current(*context);
  check(current.status());
  const auto words = static_cast<size_t>(std::atol(argv[3]));
  if (shares)
    share(context, words);
  else
    reduce(context, words, argv[4]);
  return 0;
} catch (const std::exception& failure) {
  say(failure.what());
  return 1;
}

#include "lent_memory.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace tutti::test {
namespace {

template <class T>
T needed(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(*result);
}

constexpr size_t kLentCount = 300'000;

std::vector<float> input_of(int rank, int call) {
  std::vector<float> values(kLentCount);
  for (size_t i = 0; i < kLentCount; ++i) values[i] = static_cast<float>((i + static_cast<size_t>(rank * 7 + call)) % 100);
  return values;
}

std::vector<float> sum_of_inputs(int size, int call) {
  std::vector<float> sum(kLentCount);
  for (int rank = 0; rank < size; ++rank) {
    const std::vector<float> input = input_of(rank, call);
    for (size_t i = 0; i < kLentCount; ++i) sum[i] += input[i];
  }
  return sum;
}

const char* library() {
  const char* named = std::getenv("TUTTI_CUDA_LIBRARY");
  return named ? named : cuda::kDriverLibrary;
}

void set_mood_of_driver(const char* moods) {
  void* const handle = ::dlopen(library(), RTLD_NOW | RTLD_NOLOAD);
  const auto set = handle ? reinterpret_cast<void (*)(const char*)>(::dlsym(handle, "fake_cuda_mood")) : nullptr;
  if (!set) throw std::runtime_error("this driver has no moods");
  set(moods);
}

std::string reason_of_last_call(tutti_comm* comm) {
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  if (tutti_comm_stats(comm, &stats) != TUTTI_SUCCESS) throw std::runtime_error(tutti_last_error(comm));
  return stats.last_reason;
}

// The library's reason; then a barrier.
std::string sum_in_place(tutti_comm* comm, void* memory) {
  if (tutti_all_reduce(comm, memory, memory, kLentCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr) != TUTTI_SUCCESS)
    throw std::runtime_error(tutti_last_error(comm));
  std::string reason = reason_of_last_call(comm);
  if (tutti_barrier(comm, nullptr) != TUTTI_SUCCESS) throw std::runtime_error(tutti_last_error(comm));
  return reason;
}

}  // namespace

const cuda::SharedContext& device_of_tests() {
  static const cuda::SharedContext made = [] { return needed(cuda::Context::retain(*needed(cuda::Driver::load(library())), 0)); }();
  return made;
}

LentFloats::LentFloats(tutti_comm* comm, const std::vector<float>& values, cuda::SharedContext device)
    : device_(std::move(device)),
      host_(needed(cuda::PinnedMemory::allocate(device_, values.size() * sizeof(float)))),
      stream_(needed(cuda::Stream::create(device_))) {
  const cuda::CurrentContext current(*device_);
  if (tutti_alloc_device(comm, host_.size(), &memory_) != TUTTI_SUCCESS) throw std::runtime_error(tutti_last_error(comm));
  write(values);
}

void LentFloats::write(const std::vector<float>& values) const {
  std::memcpy(host_.data(), values.data(), host_.size());
  move(cuda::address_of(memory_), cuda::address_of(host_.data()));
}

std::vector<float> LentFloats::values() const {
  move(cuda::address_of(host_.data()), cuda::address_of(memory_));
  std::vector<float> values(host_.size() / sizeof(float));
  std::memcpy(values.data(), host_.data(), host_.size());
  return values;
}

void LentFloats::move(cuda::CUdeviceptr to, cuda::CUdeviceptr from) const {
  const cuda::CurrentContext current(*device_);
  Status status = cuda::copy(*device_, to, from, host_.size(), stream_.get());
  if (status.ok()) status = device_->check(device_->driver().call<"cuStreamSynchronize">(stream_.get()), "copy floats");
  if (!status.ok()) throw std::runtime_error(status.message());
}

// A call's memory is published in it, mapped by others in that or their next one, and lent in the one after.  Callers
// write into it as soon as a call has ended.
std::string check_lent_memory(tutti_comm* comm) try {
  constexpr int kCalls = 6;
  const int rank = tutti_comm_rank(comm), size = tutti_comm_size(comm);
  const LentFloats first(comm, input_of(rank, 0)), second(comm, input_of(rank, 0));
  for (int call = 0; call < kCalls; ++call) {
    const bool in_place = call % 2 == 1;
    first.write(input_of(rank, call));
    const LentFloats& output = in_place ? first : second;
    if (tutti_all_reduce(comm, first.data(), output.data(), kLentCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr) != TUTTI_SUCCESS)
      return tutti_last_error(comm);
    if (!in_place) first.write(std::vector<float>(kLentCount, -1));
    if (output.values() != sum_of_inputs(size, call)) return "all_reduce " + std::to_string(call) + " is wrong";
    const std::string reason = reason_of_last_call(comm);
    const bool lends = reason.find("lent") != std::string::npos;
    if (call != 1 && lends != (call > 1)) return "call " + std::to_string(call) + ": " + reason;
    if (tutti_barrier(comm, nullptr) != TUTTI_SUCCESS) return tutti_last_error(comm);
  }
  if (tutti_broadcast(comm, rank == 0 ? first.data() : nullptr, second.data(), kLentCount, TUTTI_FLOAT32, 0, nullptr) !=
      TUTTI_SUCCESS)
    return tutti_last_error(comm);
  if (second.values() != sum_of_inputs(size, kCalls - 1)) return "broadcast is wrong";
  if (tutti_free(comm, first.data()) != TUTTI_SUCCESS) return tutti_last_error(comm);
  // What was freed is there again, and lent at once.
  const LentFloats again(comm, input_of(rank, 9));
  if (again.data() != first.data()) return "memory that was freed is not used again";
  if (tutti_all_reduce(comm, again.data(), second.data(), kLentCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr) != TUTTI_SUCCESS)
    return tutti_last_error(comm);
  return second.values() == sum_of_inputs(size, 9) ? "" : "the last all_reduce is wrong";
} catch (const std::exception& error) {
  return error.what();
}

// Rank 0's driver neither tells nor opens a handle, once the ranks have met.
std::string check_memory_that_cannot_be_opened(tutti_comm* comm) try {
  const int rank = tutti_comm_rank(comm), size = tutti_comm_size(comm);
  const auto plain = needed(cuda::DeviceMemory::allocate(device_of_tests(), kLentCount * sizeof(float)));
  (void)sum_in_place(comm, plain.data());
  // What is wrong in the last of four calls, or in the result of one.
  const auto check = [&](const LentFloats& memory, bool lends) -> std::string {
    std::string reason;
    for (int call = 0; call < 4; ++call) {
      memory.write(input_of(rank, call));
      reason = sum_in_place(comm, memory.data());
      if (memory.values() != sum_of_inputs(size, call)) return "all_reduce " + std::to_string(call) + " is wrong: " + reason;
    }
    const bool right = reason.starts_with("by kernels, ") && (reason.find("lent") != std::string::npos) == lends;
    return right ? "" : std::string(lends ? "not lent: " : "lent: ") + reason;
  };
  if (rank == 0) set_mood_of_driver("no-ipc");
  const LentFloats unopened(comm, input_of(rank, 0));
  std::string wrong = check(unopened, false);
  if (rank == 0) set_mood_of_driver("");
  const LentFloats opened(comm, input_of(rank, 0));
  if (wrong.empty()) wrong = check(opened, true);
  return wrong.empty() ? check(unopened, false) : wrong;
} catch (const std::exception& error) {
  return error.what();
}

}  // namespace tutti::test

#include "lent_memory.h"

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

}  // namespace

const cuda::SharedContext& device_of_tests() {
  static const cuda::SharedContext made = [] {
    const char* library = std::getenv("TUTTI_CUDA_LIBRARY");
    return needed(cuda::Context::retain(*needed(cuda::Driver::load(library ? library : cuda::kDriverLibrary)), 0));
  }();
  return made;
}

LentFloats::LentFloats(tutti_comm* comm, const std::vector<float>& values)
    : host_(needed(cuda::PinnedMemory::allocate(device_of_tests(), values.size() * sizeof(float)))),
      stream_(needed(cuda::Stream::create(device_of_tests()))) {
  const cuda::CurrentContext current(*device_of_tests());
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
  const cuda::Context& device = *device_of_tests();
  const cuda::CurrentContext current(device);
  Status status = cuda::copy(device, to, from, host_.size(), stream_.get());
  if (status.ok()) status = device.check(device.driver().call<"cuStreamSynchronize">(stream_.get()), "copy floats");
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
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    if (tutti_comm_stats(comm, &stats) != TUTTI_SUCCESS) return tutti_last_error(comm);
    const std::string reason = stats.last_reason;
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

}  // namespace tutti::test

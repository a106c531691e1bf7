#include "family_memory.h"

#include <cstdint>
#include <cstring>

namespace tutti::test {
namespace {

constexpr size_t kCount = (6 << 20) / sizeof(int32_t);

// Two buffers of tutti_alloc on one communicator.
struct Buffers {
  int32_t *in = nullptr, *out = nullptr;
};

class Checks {
 public:
  const std::string& wrong() const { return wrong_; }

  void require(bool right, const std::string& otherwise) {
    if (!right && wrong_.empty()) wrong_ = otherwise;
  }
  void require(tutti_status status, const tutti_comm* comm, const std::string& doing) {
    require(status == TUTTI_SUCCESS, doing + ": " + tutti_last_error(comm));
  }

  Buffers allocate(tutti_comm* comm) {
    void *in = nullptr, *out = nullptr;
    require(tutti_alloc(comm, kCount * sizeof(int32_t), &in), comm, "tutti_alloc");
    require(tutti_alloc(comm, kCount * sizeof(int32_t), &out), comm, "tutti_alloc");
    return {static_cast<int32_t*>(in), static_cast<int32_t*>(out)};
  }

  tutti_comm* split(tutti_comm* comm, int color) {
    tutti_comm* child = nullptr;
    require(tutti_comm_split(comm, color, 0, &child), comm, "tutti_comm_split");
    return child;
  }

  // An all-reduce of `comm` between these buffers.  Where three ranks or more share a host and nothing else, the
  // library says that it lent them.
  void all_reduce(tutti_comm* comm, const Buffers& buffers, bool in_place, const std::string& which) {
    if (!wrong_.empty()) return;
    const int rank = tutti_comm_rank(comm), size = tutti_comm_size(comm);
    for (size_t i = 0; i < kCount; ++i) buffers.in[i] = static_cast<int32_t>(i) + 1000 * rank;
    int32_t* const out = in_place ? buffers.in : buffers.out;
    require(tutti_all_reduce(comm, buffers.in, out, kCount, TUTTI_INT32, TUTTI_SUM, nullptr), comm, which);
    size_t right = 0;
    while (right < kCount && out[right] == size * static_cast<int32_t>(right) + 1000 * size * (size - 1) / 2) ++right;
    require(right == kCount, which + ": wrong at " + std::to_string(right));
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    require(tutti_comm_stats(comm, &stats), comm, "tutti_comm_stats");
    const bool may_lend = size > 2 && !std::strstr(stats.transports, "tcp");
    const bool lent = std::strcmp(stats.last_algorithm, "direct") == 0 && std::strstr(stats.last_reason, "tutti_alloc");
    require(!may_lend || lent, which + ": " + stats.last_algorithm + ", " + stats.last_reason);
  }

 private:
  std::string wrong_;
};

}  // namespace

std::string check_family_memory(tutti_comm* world) {
  Checks check;
  const int rank = tutti_comm_rank(world);
  const Buffers of_world = check.allocate(world);
  tutti_comm* const part = check.split(world, rank % 2);  // of three ranks and of two
  if (!part) return check.wrong();
  const Buffers of_part = check.allocate(part);
  tutti_comm* const half = check.split(part, tutti_comm_rank(part) / 2);
  if (!half) return check.wrong();
  const Buffers of_half = check.allocate(half);
  for (const bool in_place : {false, true}) {
    check.all_reduce(part, of_world, in_place, "a split, memory of the parent");
    check.all_reduce(half, of_world, in_place, "a split of a split, memory of the first");
    check.all_reduce(world, of_part, in_place, "the parent, memory of a split");
    check.all_reduce(part, of_half, in_place, "a split, memory of its own split");
    check.all_reduce(part, {of_part.in, of_world.out}, in_place, "a split, memory of both");
  }
  check.require(tutti_free(part, of_world.in) == TUTTI_INVALID_ARGUMENT, "a split freed memory of its parent");
  check.require(std::strstr(tutti_last_error(part), "another communicator") != nullptr, tutti_last_error(part));
  check.require(tutti_free(world, of_world.in), world, "tutti_free");
  check.require(tutti_comm_destroy(world), nullptr, "the end of the parent");
  check.all_reduce(part, of_part, false, "a split whose parent has ended");
  check.all_reduce(part, of_half, false, "a split whose parent has ended, memory of its own split");
  const Buffers later = check.allocate(part);
  check.all_reduce(half, later, true, "memory allocated after the end of the first");
  check.require(tutti_comm_destroy(part), nullptr, "the end of a split");
  check.all_reduce(half, of_half, true, "the last of its family");
  check.require(tutti_comm_destroy(half), nullptr, "the end of the last");
  return check.wrong();
}

std::string check_kept_memory(tutti_comm* world) {
  constexpr unsigned kFlags[] = {TUTTI_ALLOC_KEEP, TUTTI_ALLOC_KEEP | TUTTI_ALLOC_UNINITIALIZED};
  Checks check;
  void* memory[2] = {};
  for (int i = 0; i < 2; ++i)
    check.require(tutti_alloc_with(world, kCount * sizeof(int32_t), kFlags[i], &memory[i]), world, "tutti_alloc_with");
  if (!check.wrong().empty()) return check.wrong();
  const Buffers kept{static_cast<int32_t*>(memory[0]), static_cast<int32_t*>(memory[1])};
  for (size_t i = 0; i < kCount; ++i)
    if (kept.in[i] != 0) return "kept memory was not zeroed";
  check.all_reduce(world, kept, false, "kept memory");
  tutti_comm* const part = check.split(world, tutti_comm_rank(world) % 2);
  const int size = tutti_comm_size(part);
  check.require(tutti_comm_destroy(world), nullptr, "the end of the communicator of the memory");
  check.all_reduce(part, kept, false, "kept memory of a parent that has ended");
  check.require(tutti_comm_destroy(part), nullptr, "the end of the family");
  for (size_t i = 0; i < kCount; ++i) {  // as the last call left it
    const int32_t sum = size * static_cast<int32_t>(i) + 1000 * size * (size - 1) / 2;
    check.require(kept.out[i] == sum, "kept memory was lost at " + std::to_string(i));
    kept.in[i] = kept.out[i];
  }
  check.require(tutti_free(nullptr, kept.in), nullptr, "tutti_free after the end");
  check.require(tutti_free(nullptr, kept.in) == TUTTI_INVALID_ARGUMENT, "kept memory was freed twice");
  check.require(tutti_free(nullptr, kept.out), nullptr, "tutti_free after the end");
  return check.wrong();
}

}  // namespace tutti::test

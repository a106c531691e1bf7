// The life of one rank for bench/bootstrap: creates a communicator, makes one all-reduce, splits and creates groups as
// often as it is told, destroys.  Prints the moments between these as seconds of the monotonic clock, and what the
// communicator holds.  A group is of the first or the second half of the ranks, of all where there are two.
//   driver_bootstrap SPLITS BYTES GROUPS     with 0 0 0 it only creates and destroys
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tutti/tutti.h"

namespace {

double seconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void check(tutti_status status, const tutti_comm* comm) {
  if (status == TUTTI_SUCCESS) return;
  std::fprintf(stderr, "driver_bootstrap: %s\n", tutti_last_error(comm));
  std::exit(1);
}

// Of this process, in KiB; 0 where there is no such line.
long resident_kib(const char* kind) {
  long kib = 0;
  char line[256];
  if (std::FILE* file = std::fopen("/proc/self/status", "re")) {
    while (std::fgets(line, sizeof line, file))
      if (std::strncmp(line, kind, std::strlen(kind)) == 0) kib = std::atol(line + std::strlen(kind));
    std::fclose(file);
  }
  return kib;
}

}  // namespace

int main(int argc, char** argv) {
  const double started = seconds();
  const int splits = argc > 1 ? std::atoi(argv[1]) : 0;
  const size_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) / sizeof(float) : 0;
  const int groups = argc > 3 ? std::atoi(argv[3]) : 0;
  tutti_comm* comm = nullptr;
  check(tutti_comm_create(&comm, nullptr), nullptr);
  const double created = seconds();
  std::vector<float> data(count, 1.0f);
  const double filled = seconds();
  if (count > 0) check(tutti_all_reduce(comm, data.data(), data.data(), count, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm);
  const double reduced = seconds();
  std::vector<tutti_comm*> children(static_cast<size_t>(splits));
  for (tutti_comm*& child : children) check(tutti_comm_split(comm, 0, 0, &child), comm);
  const double split = seconds();
  const int size = tutti_comm_size(comm), half = size > 2 ? size / 2 : size;
  std::vector<int> members;
  for (int rank = 0; rank < size; ++rank)
    if ((rank < half) == (tutti_comm_rank(comm) < half)) members.push_back(rank);
  for (int i = 0; i < groups; ++i) {
    children.push_back(nullptr);
    check(tutti_comm_create_group(comm, members.data(), static_cast<int>(members.size()), 0, 0, &children.back()), comm);
  }
  const double grouped = seconds();
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  check(tutti_comm_stats(comm, &stats), comm);
  const long shared = resident_kib("RssShmem:"), own = resident_kib("RssAnon:");
  const double destroying = seconds();
  for (tutti_comm* child : children) check(tutti_comm_destroy(child), comm);
  check(tutti_comm_destroy(comm), nullptr);
  const double destroyed = seconds();
  std::printf(
      "{\"started\": %.6f, \"created\": %.6f, \"first_call\": %.6f, \"splits\": %.6f, \"groups\": %.6f, \"destroy\": %.6f, "
      "\"destroyed\": %.6f, "
      "\"memory\": %llu, \"shared_kib\": %ld, \"own_kib\": %ld}\n",
      started, created, reduced - filled, split - reduced, grouped - split, destroyed - destroying, destroyed,
      static_cast<unsigned long long>(stats.memory_bytes), shared, own);
  return 0;
}

// One rank of split_failure_test: splits by parity while one rank has no descriptors to spare, and goes on with the
// parent.
#include <sys/resource.h>
#include <tutti/tutti.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

int failed(const char* what, const tutti_comm* comm) { return std::fprintf(stderr, "%s: %s\n", what, tutti_last_error(comm)), 1; }

// While it lives, `spare` more descriptors can be opened.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t spare) {
    getrlimit(RLIMIT_NOFILE, &before_);
    int highest = 0;
    for (int fd = 0; fd < 1024; ++fd)
      if (is_open(fd)) highest = fd;
    for (int fd = dup(0); fd >= 0 && fd < highest; fd = dup(0)) {  // no holes below
    }
    const rlimit low{static_cast<rlim_t>(dup(0)) + 1 + spare, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
  }
  FewDescriptors(const FewDescriptors&) = delete;
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  static bool is_open(int fd) {
    const int copy = dup(fd);
    if (copy >= 0) close(copy);
    return copy >= 0;
  }
  rlimit before_{};
};

// Sum over the communicator of 2^(world rank), or 0.
uint32_t members(tutti_comm* comm, int world_rank) {
  const uint32_t mine = 1u << world_rank;
  uint32_t all = 0;
  return tutti_all_reduce(comm, &mine, &all, 1, TUTTI_UINT32, TUTTI_SUM, nullptr) == TUTTI_SUCCESS ? all : 0;
}

size_t threads() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++n;
  return n;
}

// A rendezvous to which nobody comes ends soon, and its thread with it.
bool ends_rendezvous(size_t threads_before) {
  for (int i = 0; i < 5'000 && threads() > threads_before; ++i) usleep(1'000);
  return threads() <= threads_before;
}

// The names of splits of splits outgrow what a rendezvous may be called.
bool splits_deeply(tutti_comm* comm) {
  std::vector<tutti_comm*> line{comm};
  bool well = true;
  for (int depth = 0; well && depth < 30; ++depth) {
    tutti_comm* child = nullptr;
    well = tutti_comm_split(line.back(), 2'000'000'000, 0, &child) == TUTTI_SUCCESS;
    if (well) line.push_back(child);
    if (!well) failed("a deep split", line.back());
  }
  for (size_t i = 1; i < line.size(); ++i) well = tutti_comm_destroy(line[i]) == TUTTI_SUCCESS && well;
  return well;
}

}  // namespace

// split_program RANK: the one without descriptors
int main(int, char** argv) {
  tutti_comm *comm = nullptr, *child = nullptr;
  if (tutti_comm_create(&comm, nullptr) != TUTTI_SUCCESS) return failed("create", nullptr);
  const int rank = tutti_comm_rank(comm), poor = std::atoi(argv[1]);
  const uint32_t all = (1u << tutti_comm_size(comm)) - 1;
  const uint32_t same_parity = all & (rank % 2 == 0 ? 0x55555555u : 0xaaaaaaaau);
  members(comm, rank);
  const size_t threads_before = threads();
  tutti_status status = TUTTI_SUCCESS;
  if (rank == poor) {
    const FewDescriptors few(8);
    status = tutti_comm_split(comm, rank % 2, 0, &child);
  } else {
    status = tutti_comm_split(comm, rank % 2, 0, &child);
  }
  std::printf("split: %s: %s\n", tutti_status_string(status), status == TUTTI_SUCCESS ? "" : tutti_last_error(comm));
  if ((child != nullptr) != (status == TUTTI_SUCCESS)) return failed("a child beside a failure", comm);
  if (members(comm, rank) != all) return failed("the parent", comm);
  if (!child && !ends_rendezvous(threads_before)) return failed("a rendezvous was left behind", comm);
  if (child && (members(child, rank) != same_parity || tutti_comm_destroy(child) != TUTTI_SUCCESS))
    return failed("the child", comm);
  if (tutti_comm_split(comm, rank % 2, 0, &child) != TUTTI_SUCCESS) return failed("a later split", comm);
  if (members(child, rank) != same_parity) return failed("the later child", child);
  if (!splits_deeply(comm)) return 1;
  if (tutti_comm_destroy(child) != TUTTI_SUCCESS || tutti_comm_destroy(comm) != TUTTI_SUCCESS) return failed("destroy", nullptr);
  return std::puts("all well"), 0;
}

// One rank of split_failure_test: splits by parity while one rank has no descriptors to spare, and goes on with the parent.
#include <sys/resource.h>
#include <tutti/tutti.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

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

}  // namespace

// split_program RANK: the one without descriptors
int main(int, char** argv) {
  tutti_comm *comm = nullptr, *child = nullptr;
  if (tutti_comm_create(&comm, nullptr) != TUTTI_SUCCESS) return failed("create", nullptr);
  const int rank = tutti_comm_rank(comm), poor = std::atoi(argv[1]);
  const uint32_t all = (1u << tutti_comm_size(comm)) - 1;
  const uint32_t same_parity = all & (rank % 2 == 0 ? 0x55555555u : 0xaaaaaaaau);
  members(comm, rank);
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
  if (child && (members(child, rank) != same_parity || tutti_comm_destroy(child) != TUTTI_SUCCESS)) return failed("the child", comm);
  if (tutti_comm_split(comm, rank % 2, 0, &child) != TUTTI_SUCCESS) return failed("a later split", comm);
  if (members(child, rank) != same_parity) return failed("the later child", child);
  if (tutti_comm_destroy(child) != TUTTI_SUCCESS || tutti_comm_destroy(comm) != TUTTI_SUCCESS) return failed("destroy", nullptr);
  return std::puts("all well"), 0;
}

// One rank of the process tests:  rank_program ACTION [SEED] [N]  under any launcher.  Ends with "rank R: ok" and exit
// code 0, or says what was wrong.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "cases.h"
#include "device_bytes.h"
#include "digest.h"
#include "family_memory.h"
#include "lent_memory.h"
#include "random_program.h"

namespace tutti::test {
namespace {

struct Arguments {
  uint64_t seed = 1;
  size_t n = 50;
};

std::string run_cases(tutti_comm* comm, const std::vector<Case>& cases) {
  const int rank = tutti_comm_rank(comm);
  for (const Case& c : cases) {
    const std::vector<Bytes> inputs = make_inputs(c.call);
    Arena arena(c.call, rank, inputs[static_cast<size_t>(rank)]);
    const tutti_status status = arena.perform(comm, c.how);
    if (status != TUTTI_SUCCESS) return describe(c) + ": " + tutti_status_string(status) + ": " + tutti_last_error(comm);
    const std::string wrong = arena.check(inputs);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string cover(tutti_comm* comm, const Arguments& arguments) {
  return run_cases(comm, CaseSpace({tutti_comm_size(comm)}, 30'001).pairwise_cover(arguments.seed));
}

std::string sample(tutti_comm* comm, const Arguments& arguments) {
  return run_cases(comm, CaseSpace({tutti_comm_size(comm)}, 300'001).sample(arguments.n, arguments.seed));
}

std::string program(tutti_comm* comm, const Arguments& arguments) {
  return run_random_program({{comm, 0}}, arguments.seed, {.steps = static_cast<int>(arguments.n)});
}

std::string split_program(tutti_comm* comm, const Arguments& arguments) {
  const int color = tutti_comm_rank(comm) % 2;
  tutti_comm* child = nullptr;
  if (tutti_comm_split(comm, color, 0, &child) != TUTTI_SUCCESS) return tutti_last_error(comm);
  std::string wrong = run_random_program({{comm, 0}, {child, static_cast<uint64_t>(color) + 1}}, arguments.seed,
                                         {.steps = static_cast<int>(arguments.n)});
  if (tutti_comm_destroy(child) != TUTTI_SUCCESS && wrong.empty()) wrong = "destroying the child failed";
  return wrong;
}

std::string digest(tutti_comm* comm, const Arguments&) {
  if (tutti_comm_rank(comm) == 0) std::printf("digest %s\n", reduction_digest(comm).c_str());
  if (tutti_comm_rank(comm) != 0) reduction_digest(comm);
  return "";
}

// For looking at what a communicator says about its transports.
std::string stats(tutti_comm* comm, const Arguments&) {
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  if (tutti_barrier(comm, nullptr) != TUTTI_SUCCESS) return tutti_last_error(comm);
  if (tutti_comm_stats(comm, &stats) != TUTTI_SUCCESS) return tutti_last_error(comm);
  std::printf("transports %s\n", stats.transports);
  return "";
}

std::string family_memory(tutti_comm* comm, const Arguments&) { return check_family_memory(comm); }
std::string kept_memory(tutti_comm* comm, const Arguments&) { return check_kept_memory(comm); }
std::string lent_memory(tutti_comm* comm, const Arguments&) { return check_lent_memory(comm); }
std::string unopened_memory(tutti_comm* comm, const Arguments&) { return check_memory_that_cannot_be_opened(comm); }

int run(const std::string& action, const Arguments& arguments) {
  static const std::map<std::string, std::string (*)(tutti_comm*, const Arguments&)> kActions = {
      {"cover", cover},
      {"sample", sample},
      {"program", program},
      {"split", split_program},
      {"digest", digest},
      {"stats", stats},
      {"family_memory", family_memory},
      {"kept_memory", kept_memory},
      {"lent_memory", lent_memory},
      {"unopened_memory", unopened_memory}};
  const auto found = kActions.find(action);
  if (found == kActions.end()) return std::fprintf(stderr, "no action %s\n", action.c_str()), 2;
  (void)DeviceBytes::wanted();  // so that the communicator knows of devices
  tutti_comm* comm = nullptr;
  if (tutti_comm_create(&comm, nullptr) != TUTTI_SUCCESS) return std::fprintf(stderr, "%s\n", tutti_last_error(nullptr)), 3;
  const int rank = tutti_comm_rank(comm);
  const std::string wrong = found->second(comm, arguments);
  // Others see this rank leave.
  if (!wrong.empty()) return std::fprintf(stderr, "rank %d: %s\n", rank, wrong.c_str()), 1;
  if (found->second == family_memory || found->second == kept_memory) comm = nullptr;  // which has ended it
  if (tutti_comm_destroy(comm) != TUTTI_SUCCESS) return std::fprintf(stderr, "%s\n", tutti_last_error(nullptr)), 4;
  std::printf("rank %d: ok\n", rank);
  return 0;
}

}  // namespace
}  // namespace tutti::test

int main(int argc, char** argv) {
  tutti::test::Arguments arguments;
  if (argc > 2) arguments.seed = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) arguments.n = std::strtoull(argv[3], nullptr, 10);
  return tutti::test::run(argc > 1 ? argv[1] : "", arguments);
}

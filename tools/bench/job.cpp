#include "job.h"

namespace tutti::bench {
namespace {

Status as_status(tutti_status code, const char* sentence) {
  if (code == TUTTI_SUCCESS) return {};
  return Status(static_cast<Code>(code), *sentence != '\0' ? sentence : tutti_status_string(code));
}

}  // namespace

Result<Job> Job::join() {
  tutti_comm* comm = nullptr;
  const tutti_status created = tutti_comm_create(&comm, nullptr);
  if (created != TUTTI_SUCCESS) return as_status(created, tutti_last_error(nullptr));
  return Job(comm);
}

Result<std::vector<Job>> Job::start(int ranks) {
  std::vector<tutti_comm*> comms(static_cast<size_t>(ranks));
  const tutti_status created = tutti_comm_create_local(comms.data(), ranks);
  if (created != TUTTI_SUCCESS) return as_status(created, tutti_last_error(nullptr));
  std::vector<Job> jobs;
  for (tutti_comm* comm : comms) jobs.push_back(Job(comm));
  return jobs;
}

Status Job::failure(tutti_status code) const {
  return code == TUTTI_SUCCESS ? Status() : as_status(code, tutti_last_error(comm()));
}

tutti_stats Job::stats() const {
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  if (tutti_comm_stats(comm(), &stats) != TUTTI_SUCCESS) return tutti_stats{};
  return stats;
}

Status Job::leave() { return as_status(tutti_comm_destroy(comm_.release()), "The communicator could not be ended in order."); }

}  // namespace tutti::bench

// The communicator under test, and the few agreements that its ranks make with each other around the measurement.
#pragma once

#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "status.h"
#include "tutti/tutti.h"

namespace tutti::bench {

class Job {
 public:
  static Result<Job> join();                         // where and as which rank, the environment says
  static Result<std::vector<Job>> start(int ranks);  // all of a job, for threads of this process

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool first() const { return rank_ == 0; }
  tutti_comm* comm() const { return comm_.get(); }

  // The failure on the communicator, with the library's own sentence.
  Status failure(tutti_status code) const;
  Status barrier() const { return failure(tutti_barrier(comm(), nullptr)); }
  tutti_stats stats() const;
  void abort(const Status& why) const { tutti_comm_abort(comm(), why.message().c_str()); }
  Status leave();  // waits for the others

  // Every rank's value, by rank.
  template <class T>
  Result<std::vector<T>> gather(const T& mine) const {
    return gather_all(std::vector<T>{mine});
  }
  // As many values from each rank; rank r's begin at r * mine.size().
  template <class T>
  Result<std::vector<T>> gather_all(const std::vector<T>& mine) const {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> all(mine.size() * static_cast<size_t>(size_));
    const tutti_status s = tutti_all_gather(comm(), mine.data(), all.data(), mine.size() * sizeof(T), TUTTI_UINT8, nullptr);
    if (s != TUTTI_SUCCESS) return failure(s);
    return all;
  }

 private:
  struct Destroy {
    void operator()(tutti_comm* comm) const { tutti_comm_destroy(comm); }
  };
  explicit Job(tutti_comm* comm) : comm_(comm), rank_(tutti_comm_rank(comm)), size_(tutti_comm_size(comm)) {}

  std::unique_ptr<tutti_comm, Destroy> comm_;
  int rank_;
  int size_;
};

}  // namespace tutti::bench

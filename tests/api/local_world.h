// The ranks of a group as threads of this process, by tutti_comm_create_local.
#pragma once

#include <gtest/gtest.h>
#include <tutti/tutti.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "device_bytes.h"

namespace tutti::test {

// body(rank) on one thread per rank; returns when all have ended.
inline void on_all_ranks(int size, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(body, rank);
  for (std::thread& thread : threads) thread.join();
}

class LocalWorld {
 public:
  explicit LocalWorld(int size) : comms_(static_cast<size_t>(size)) {
    (void)DeviceBytes::wanted();  // from now on all communicators know of devices
    const tutti_status status = tutti_comm_create_local(comms_.data(), size);
    EXPECT_EQ(status, TUTTI_SUCCESS) << tutti_last_error(nullptr);
    if (status != TUTTI_SUCCESS) comms_.clear();
  }
  LocalWorld(const LocalWorld&) = delete;
  ~LocalWorld() {
    run([](int, tutti_comm* comm) { tutti_comm_destroy(comm); });
  }

  int size() const { return static_cast<int>(comms_.size()); }  // 0 when creation failed
  tutti_comm* comm(int rank) const { return comms_[static_cast<size_t>(rank)]; }

  void run(const std::function<void(int rank, tutti_comm* comm)>& body) const {
    on_all_ranks(size(), [&](int rank) { body(rank, comm(rank)); });
  }

 private:
  std::vector<tutti_comm*> comms_;
};

// For EXPECT_TRUE(succeeded(status, comm)): on failure, what the library says.
inline testing::AssertionResult succeeded(tutti_status status, const tutti_comm* comm) {
  if (status == TUTTI_SUCCESS) return testing::AssertionSuccess();
  return testing::AssertionFailure() << tutti_status_string(status) << ": " << tutti_last_error(comm);
}

}  // namespace tutti::test

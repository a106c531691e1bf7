// Control trees whose ranks are threads of the test.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include "bootstrap_fixture.h"
#include "clock.h"
#include "control.h"

namespace tutti {

// An exchange among threads.
class Roundtable {
 public:
  explicit Roundtable(int size, uint64_t timeout_ns = kLong)
      : size_(static_cast<size_t>(size)), deadline_(now_ns() + timeout_ns), blobs_(size_) {}
  ExchangeOnly seat(int rank) {
    const auto exchange = [this, rank](const std::string& mine) -> Result<std::vector<std::string>> {
      std::unique_lock lock(mutex_);
      blobs_[static_cast<size_t>(rank)] = mine;
      ++given_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return given_ == size_; });
      return blobs_;
    };
    return ExchangeOnly(exchange, deadline_);
  }

 private:
  size_t size_, given_ = 0;
  uint64_t deadline_;
  std::vector<std::string> blobs_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

// A bootstrap that brings word of a failure elsewhere, once told to.
class Herald final : public Bootstrap {
 public:
  explicit Herald(Bootstrap& inner) : Bootstrap(inner.deadline()), inner_(inner) {
    EXPECT_EQ(::pipe2(ends_, O_CLOEXEC | O_NONBLOCK), 0);
  }
  ~Herald() override {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Result<std::vector<std::string>> exchange(const std::string& mine) override { return inner_.exchange(mine); }
  int watched() const override { return ends_[0]; }
  Status heard() override { return Status(Code::out_of_memory, "rank 7 has no memory"); }
  void announce() { EXPECT_EQ(::write(ends_[1], "x", 1), 1); }

 private:
  Bootstrap& inner_;
  int ends_[2] = {-1, -1};
};

inline std::string rank_name(int rank) {
  return "rank " + std::to_string(rank) + " (host h, pid " + std::to_string(100 + rank) + ")";
}

inline Control::Options control_options(int rank, int size, uint64_t timeout_ns = kLong) {
  Control::Options options;
  options.rank = rank;
  options.size = size;
  options.name = "world";
  for (int r = 0; r < size; ++r) options.rank_names.push_back(rank_name(r));
  options.timeout_ns = timeout_ns;
  options.listen_address = "127.0.0.1";
  options.log = kSilent;
  return options;
}

// One tree, each rank with its own control thread, as in processes.
class Orchestra {
 public:
  explicit Orchestra(int size, const Log& log = kSilent, uint64_t timeout_ns = kLong) : ranks_(static_cast<size_t>(size)) {
    Roundtable table(size);
    as_ranks(size, [&](int rank) {
      Status status;
      auto thread = start_control_thread(status);
      ASSERT_TRUE(status.ok()) << status.message();
      Control::Options options = control_options(rank, size, timeout_ns);
      options.log = log;
      auto seat = table.seat(rank);
      auto control = Control::create(thread, options, seat);
      ASSERT_TRUE(control.ok()) << control.status().message();
      ranks_[static_cast<size_t>(rank)] = std::move(*control);
    });
  }
  int size() const { return static_cast<int>(ranks_.size()); }
  Control& operator[](int rank) { return *ranks_[static_cast<size_t>(rank)]; }
  void kill(int rank) { ranks_[static_cast<size_t>(rank)].reset(); }  // without failure or goodbye, as kill -9 does
  void retire(int rank) { Control::retire(std::move(ranks_[static_cast<size_t>(rank)])); }
  bool alive(int rank) const { return ranks_[static_cast<size_t>(rank)] != nullptr; }

  // The failure of a rank; waits for it.
  Status failure(int rank) {
    Control& control = (*this)[rank];
    while (!control.failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return control.failure();
  }
  void expect_everywhere(Code code, const std::string& sentence) {
    for (int rank = 0; rank < size(); ++rank) {
      if (!alive(rank)) continue;
      const Status status = failure(rank);
      EXPECT_EQ(status.code(), code) << "at rank " << rank;
      EXPECT_EQ(status.message(), sentence) << "at rank " << rank;
    }
  }

 private:
  std::vector<std::unique_ptr<Control>> ranks_;
};

inline Signature call_of(Collective collective, uint32_t sequence, uint64_t count) {
  Signature signature;
  signature.collective = static_cast<uint8_t>(collective);
  signature.data_type = static_cast<uint8_t>(DataType::float32);
  signature.op = static_cast<uint8_t>(ReduceOp::sum);
  signature.sequence = sequence;
  signature.root = -1;
  signature.count = count;
  return signature;
}

inline Stall stall_in(const Signature& signature, int waits_for, uint64_t waited_ns = 2'000'000'000) {
  return {signature, waits_for, 5, 14, waited_ns};
}

}  // namespace tutti

// One rank's view of a bootstrap: rounds in which all ranks exchange blobs, and news of failures at other ranks.
//
// Each wait during a bootstrap (for the other ranks' blobs, the shared memory, a control connection) is in exchange()
// or in await().  So it ends when the bootstrap fails at another rank, and it keeps the one deadline of the whole
// bootstrap.  A rank that cannot go on says so by fail(), and all ranks return the first cause.
#pragma once

#include <poll.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "status.h"

namespace tutti {

class Bootstrap {
 public:
  virtual ~Bootstrap() = default;

  // Gives a blob of at most 64 KiB, gets all ranks' blobs, by rank.  Blocks; every rank calls it the same number of
  // times.
  virtual Result<std::vector<std::string>> exchange(const std::string& mine) = 0;

  // A descriptor that becomes readable when there may be news of a failure; -1: there never is.
  virtual int watched() const { return -1; }
  // After watched() became readable: why the bootstrap has failed; success: it has not.  Does not block.
  virtual Status heard() { return {}; }
  // This rank cannot go on.  The others learn of it; returns the first cause, which all ranks give.  Blocks for a
  // moment.
  virtual Status fail(const Status& why) { return why; }

  uint64_t deadline() const { return deadline_; }  // of the bootstrap, by clock.h

 protected:
  explicit Bootstrap(uint64_t deadline) : deadline_(deadline) {}

 private:
  const uint64_t deadline_;
};

// Waits until one of `set` is ready (true; see their revents), until `until` or the bootstrap's deadline (false), or
// until the bootstrap has failed elsewhere (its cause).
Result<bool> await(Bootstrap& bootstrap, std::span<pollfd> set, uint64_t until = UINT64_MAX);

// By a function that exchanges, for ranks that hear of no failures meanwhile: a single rank, tests.
class ExchangeOnly final : public Bootstrap {
 public:
  using Exchange = std::function<Result<std::vector<std::string>>(const std::string& mine)>;
  ExchangeOnly(Exchange exchange, uint64_t deadline) : Bootstrap(deadline), exchange_(std::move(exchange)) {}
  Result<std::vector<std::string>> exchange(const std::string& mine) override { return exchange_(mine); }

 private:
  Exchange exchange_;
};

}  // namespace tutti

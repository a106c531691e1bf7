// The ranks of a bootstrap as one of them sees them: rounds in which everybody hands round a blob, and word of failures elsewhere.
//
// Whoever waits for anything during a bootstrap (the other ranks' blobs, the shared memory, a control connection) either waits in exchange()
// or by await(), so that it also hears that the bootstrap has failed at another rank, and keeps the one deadline of the whole bootstrap.  A rank
// that cannot go on says so by fail(), and all ranks return the first cause.
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

  // Gives a blob of at most 64 KiB, gets all ranks' blobs, by rank.  Blocks; every rank calls it the same number of times.
  virtual Result<std::vector<std::string>> exchange(const std::string& mine) = 0;

  // A descriptor that becomes readable when there may be word of a failure; -1: there never is.
  virtual int watched() const { return -1; }
  // After watched() became readable: why the bootstrap has failed; success: it has not.  Does not block.
  virtual Status heard() { return {}; }
  // This rank cannot go on: the others are told, and what comes back is the first cause, which all ranks give.  Blocks for a moment.
  virtual Status fail(const Status& why) { return why; }

  uint64_t deadline() const { return deadline_; }  // of the bootstrap, by clock.h

 protected:
  explicit Bootstrap(uint64_t deadline) : deadline_(deadline) {}

 private:
  const uint64_t deadline_;
};

// Waits until one of `set` is ready (true; see their revents), until `until` or the bootstrap's deadline (false), or until the bootstrap has failed
// elsewhere (its cause).
Result<bool> await(Bootstrap& bootstrap, std::span<pollfd> set, uint64_t until = UINT64_MAX);

// By a function that exchanges, for ranks that hear of no failures meanwhile: one rank alone, tests.
class ExchangeOnly final : public Bootstrap {
 public:
  using Exchange = std::function<Result<std::vector<std::string>>(const std::string& mine)>;
  ExchangeOnly(Exchange exchange, uint64_t deadline) : Bootstrap(deadline), exchange_(std::move(exchange)) {}
  Result<std::vector<std::string>> exchange(const std::string& mine) override { return exchange_(mine); }

 private:
  Exchange exchange_;
};

}  // namespace tutti

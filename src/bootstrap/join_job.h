// How ranks find each other.  The result is a Bootstrap, by which they create their communicator.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bootstrap.h"
#include "log.h"
#include "settings.h"
#include "status.h"

namespace tutti {

// This rank's place in the job, from an explicit config or from the launcher's environment.
struct Membership {
  int rank = -1;
  int size = -1;
  std::string source;  // "torchrun", "Open MPI (PMIx)", "Slurm (PMIx)", "hydra (PMI)", "TUTTI_RANK", "config" …  for messages
  std::string local_address;  // of this rank towards the rendezvous, when known ("" otherwise); numeric
};

// A store of the caller's.  Values are text of at most 512 bytes.
struct StoreCallbacks {
  std::function<bool(const std::string& key, const std::string& value)> set;              // false: it failed
  std::function<std::optional<std::string>(const std::string& key, int timeout_ms)> get;  // nullopt: not there in time
};

struct JoinOptions {
  // From the caller's config; see tutti_config.
  int rank = -1, size = -1;
  std::optional<std::string> unique_id;  // the text that make_unique_id gave
  std::string store;
  std::optional<StoreCallbacks> callbacks;
  std::string name = "world";
  // From the settings.
  int setting_rank = -1, setting_size = -1;
  std::string setting_store;
  std::string interface;
  uint64_t timeout_ns = 120'000'000'000;
  // Asked now and then while ranks are missing: why it has become pointless to wait for them, or success.
  std::function<Status()> called_off;
  // With the variables of launchers; see launcher.h.
  Environment environment;
  Log log;
};

// This rank's number, and its place in the rendezvous.  The rendezvous ends for this rank when `bootstrap` is
// destroyed.  The process of rank 0 then waits, at most a few seconds, until the others have taken their last answers.
struct JoinedJob {
  Membership membership;
  std::shared_ptr<Bootstrap> bootstrap;
};

// Blocks until all ranks have joined; bounded by the timeout.
Result<JoinedJob> join_job(const JoinOptions& options);

// Opens a rendezvous in this process for the ranks that will join by the returned text (at most 127 characters).  Its
// thread is detached and ends by itself: when the ranks have come and gone, or after `timeout_ns` without anyone.
Result<std::string> make_unique_id(const std::string& interface, uint64_t timeout_ns, const Log& log);

}  // namespace tutti

// The launcher that started this process: which rank this is, and where the ranks can meet.  docs/launchers.md has the
// table.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "join_job.h"
#include "launcher_claims.h"
#include "pmi.h"
#include "settings.h"
#include "status.h"

namespace tutti {

enum class Place : uint8_t {
  alone,  // one rank
  unique_id,
  store,  // host:port or file:/path
  callbacks,
  launcher,  // by the key store that the launcher runs
};

struct Launch {
  int rank = 0, size = 1;
  std::string source;  // see Membership
  std::string seen;    // the variables that said so; may be empty
  Place place = Place::alone;
  std::string store;                              // for Place::store
  std::string store_is;                           // origin of a store that is not the user's: "MASTER_PORT + 1"; may be empty
  // Distinguishes this job from others at the same address; may be empty.
  std::string job;
  std::shared_ptr<LauncherStore> launcher_store;  // for Place::launcher
};

// Explicit config, then TUTTI_RANK/TUTTI_SIZE, then the launchers; TUTTI_STORE beats a launcher's own rendezvous place.
// Variables that speak of several ranks but do not say which one this is, or where they meet, are an error: a rank
// never takes itself for the only one.
Result<Launch> find_launch(const JoinOptions& options);

}  // namespace tutti

// What a rank tells the others about itself at bootstrap.  Decoded by a pure function of untrusted bytes, in which every field is bounded:
// who learns a job's rendezvous can write to all of its ranks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "status.h"

namespace tutti {

struct Introduction {
  std::string host_id;         // see host_id(); who has the same can reach this rank's unix socket
  std::string host;            // its name
  uint64_t pid = 0;            // as the rank itself sees it
  std::string pid_namespace;   // in which that number means something; "" if the system does not say
  uint64_t user = 0;           // effective user id
  std::string user_namespace;  // likewise
  std::string handoff;         // the unix socket at which shared memory would be handed over; "" where the rank shares none
  std::string handoff_secret;  // what to say there
  uint64_t context = 0;        // a random number
  std::string cores;           // see allowed_cores()
  std::string place;           // see Locality
  std::string wire;            // see encode_wire_settings()
  bool shm = false, tcp = false;
};

std::string encode(const Introduction& introduction);
// An error names `rank`.
Result<Introduction> decode_introduction(std::string_view bytes, int rank);

// This process's part: pid, user and the namespaces of both.
void introduce_process(Introduction& introduction);

}  // namespace tutti

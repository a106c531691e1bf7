// An introduction is what a rank tells the others about itself at bootstrap.  A pure function decodes it and bounds
// every field: the bytes are hostile, since anybody who learns a job's rendezvous can write to all of its ranks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "status.h"

namespace tutti {

inline constexpr size_t kMostCards = 16;

struct Introduction {
  std::string host_id;         // see host_id(); ranks with the same one reach each other's unix sockets
  std::string host;            // its name
  uint64_t pid = 0;            // as the rank itself sees it
  std::string pid_namespace;   // in which that number is valid; "" if the system does not say
  uint64_t user = 0;           // effective user id
  std::string user_namespace;  // likewise
  uint64_t context = 0;        // a random number
  std::string cores;           // see allowed_cores()
  std::string place;           // see Locality
  uint64_t warnings = 0;       // hash of its warnings about settings; 0: it has none
  std::string wire;            // see encode_wire_settings()
  std::map<std::string, std::string, std::less<>> cards;  // of the transports that the rank may use, by name (see Card)
};

std::string encode(const Introduction& introduction);
// An error names `rank`.
Result<Introduction> decode_introduction(std::string_view bytes, int rank);

// This process's part: pid, user and the namespaces of both.
void introduce_process(Introduction& introduction);

}  // namespace tutti

#include "file_size_limit.h"

#include <sys/resource.h>

#include "byte_units.h"

namespace tutti {

Status within_file_size_limit(uint64_t bytes, const std::string& doing) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur) return {};
  return Status(Code::system, doing + " takes a file of " + describe_bytes(bytes) +
                                  ", but this process may write files of at most " + describe_bytes(limit.rlim_cur) +
                                  ": raise the limit (ulimit -f unlimited)");
}

}  // namespace tutti

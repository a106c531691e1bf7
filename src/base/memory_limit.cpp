#include "memory_limit.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "byte_units.h"

namespace tutti {
namespace {

std::string limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "";
  return describe_bytes(limit.rlim_cur);
}

}  // namespace

Status cannot_map(const std::string& doing, uint64_t bytes) {
  const int error = errno;
  std::string text = doing + " takes " + describe_bytes(bytes) + ": " + std::strerror(error);
  if (const std::string locked = limit_of(RLIMIT_MEMLOCK); error == EAGAIN && !locked.empty())
    text += "; this program has all its memory locked (mlockall with MCL_FUTURE) and may lock " + locked +
            ": raise the limit (ulimit -l unlimited), or let the program lock less";
  else if (const std::string space = limit_of(RLIMIT_AS); error == ENOMEM && !space.empty())
    text += "; the address space of this process is limited to " + space + ": raise the limit (ulimit -v unlimited)";
  return Status(Code::out_of_memory, text + "; a lower TUTTI_SLOT_BYTES or TUTTI_LANES takes less");
}

}  // namespace tutti

#include "descriptor_limit.h"

#include <sys/resource.h>

#include <cerrno>

namespace tutti {

bool is_descriptor_shortage(int error) { return error == EMFILE || error == ENFILE; }

Status out_of_descriptors(const std::string& doing, uint64_t needed) {
  const int error = errno;
  rlimit limit{};
  const bool known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0;
  std::string now = "unknown";
  if (known) now = limit.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limit.rlim_cur);
  const std::string raise = !known || needed > limit.rlim_cur
                                ? "raise the limit (ulimit -n " + std::to_string(needed) + " or more)"
                                : "this process or this host has opened many others; close some, or raise the limit (ulimit -n)";
  errno = error;
  return Status(Code::system, doing + ": Too many open files; this takes some " + std::to_string(needed) +
                                  " descriptors, and the limit of this process is " + now + ": " + raise);
}

}  // namespace tutti

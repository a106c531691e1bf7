#include "resource_limits.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "byte_units.h"

namespace tutti {
namespace {

// None: there is no limit, or the system does not say.
std::optional<uint64_t> limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

}  // namespace

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

Status no_descriptor(const std::string& doing, uint64_t needed) {
  const int error = errno;
  Status status = is_descriptor_shortage(error) ? out_of_descriptors(doing, needed) : system_error(doing);
  errno = error;
  return status;
}

Status within_file_size_limit(uint64_t bytes, const std::string& doing) {
  const auto limit = limit_of(RLIMIT_FSIZE);
  if (!limit || bytes <= *limit) return {};
  return Status(Code::system, doing + " takes a file of " + describe_bytes(bytes) +
                                  ", but this process may write files of at most " + describe_bytes(*limit) +
                                  ": raise the limit (ulimit -f unlimited)");
}

Status cannot_map(const std::string& doing, uint64_t bytes) {
  const int error = errno;
  std::string text = doing + " takes " + describe_bytes(bytes) + ": " + std::strerror(error);
  if (const auto locked = limit_of(RLIMIT_MEMLOCK); error == EAGAIN && locked)
    text += "; this program has all its memory locked (mlockall with MCL_FUTURE) and may lock " + describe_bytes(*locked) +
            ": raise the limit (ulimit -l unlimited), or let the program lock less";
  else if (const auto space = limit_of(RLIMIT_AS); error == ENOMEM && space)
    text += "; the address space of this process is limited to " + describe_bytes(*space) +
            ": raise the limit (ulimit -v unlimited)";
  return Status(Code::out_of_memory, text + "; a lower TUTTI_SLOT_BYTES or TUTTI_LANES takes less");
}

}  // namespace tutti

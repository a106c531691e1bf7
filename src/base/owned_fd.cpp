#include "owned_fd.h"

#include <fcntl.h>

#include <cerrno>

namespace tutti {
namespace {

constexpr int kFirst = 3;

}  // namespace

int beyond_standard_streams(int fd) {
  if (fd < 0 || fd >= kFirst) return fd;
  const int saved = errno;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirst);
  const int failure = errno == EINVAL ? EMFILE : errno;  // the limit is 3 or less
  ::close(fd);
  errno = moved < 0 ? failure : saved;
  return moved;
}

}  // namespace tutti

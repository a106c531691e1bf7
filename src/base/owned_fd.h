// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <utility>

namespace tutti {

// Where a program was started without stdin, stdout or stderr, the system gives their numbers to whatever is opened next, and the program's
// output would land there.  Moves such a descriptor to a number from 3 on, closing the low one; others stay.  -1 with errno set where the
// process has no descriptor left; otherwise errno is kept.
int beyond_standard_streams(int fd);

// Never holds a number below 3.  Whoever makes descriptors for the library puts them in one of these at once.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(beyond_standard_streams(fd)) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~OwnedFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = beyond_standard_streams(fd);
  }

 private:
  int fd_ = -1;
};

}  // namespace tutti

// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <utility>

namespace tutti {

// A program may be started without stdin, stdout or stderr.  The system then gives their numbers to the files that are
// opened next, and the program's output would go there.  This moves such a descriptor to a number from 3 on and closes
// the low one; others stay.  -1 with errno set where the process has no descriptor left; otherwise errno is kept.
int beyond_standard_streams(int fd);

// Never holds a number below 3.  Every descriptor that the library makes goes into one of these at once.
//
// In the child of a fork() all of them are closed, since a copy of a socket there would hide the death of this process
// from its peers.  The child's copies of these objects hold nothing, whatever numbers its own descriptors get.  Where
// another thread may fork between the call that makes a descriptor and the constructor, made_by() is for sockets.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) { hold(beyond_standard_streams(fd)); }
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)), process_(other.process_) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this == &other) return *this;
    let_go();
    fd_ = std::exchange(other.fd_, -1);
    process_ = other.process_;
    return *this;
  }
  ~OwnedFd() { let_go(); }

  // What make() returns, which must not block; no thread forks meanwhile.
  template <class Make>
  static OwnedFd made_by(Make make) {
    return made_by([](void* context) { return (*static_cast<Make*>(context))(); }, &make);
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset(int fd = -1) {
    let_go();
    hold(beyond_standard_streams(fd));
  }

 private:
  static OwnedFd made_by(int (*make)(void* context), void* context);
  void hold(int fd);
  void let_go();
  int fd_ = -1;
  unsigned process_ = 0;  // counts forks: in which process it was made
};

}  // namespace tutti

// A socket that talks to a listener by hand, for tests.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "tcp_frames.h"

namespace tutti {

class Stranger {
 public:
  explicit Stranger(const SocketAddress& address) {
    auto fd = start_connect(address);
    EXPECT_TRUE(fd.ok()) << fd.status().message();
    fd_ = std::move(*fd);
    pollfd entry{fd_.get(), POLLOUT, 0};
    EXPECT_EQ(::poll(&entry, 1, 60'000), 1);
    EXPECT_TRUE(connect_result(fd_.get(), address).ok());
  }

  void say(const void* bytes, size_t count) {
    EXPECT_EQ(::send(fd_.get(), bytes, count, MSG_NOSIGNAL), static_cast<ssize_t>(count));
  }
  template <class Frame>
  void say(const Frame& frame) {
    say(&frame, sizeof frame);
  }
  bool was_refused() const {  // the other end closed
    char byte = 0;
    const ssize_t n = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }
  void leave() { fd_.reset(); }
  int fd() const { return fd_.get(); }

 private:
  OwnedFd fd_;
};

// The hello by which `rank` is let in at `endpoint`.
inline tcp::Hello right_hello(const tcp::Endpoint& endpoint, int rank, uint32_t connection = 0) {
  tcp::Hello hello;
  hello.context = 7;
  hello.secret = endpoint.secret;
  hello.rank = rank;
  hello.connection = connection;
  return hello;
}

}  // namespace tutti

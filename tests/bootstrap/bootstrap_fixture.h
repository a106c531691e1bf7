// Ranks as threads, for the tests of bootstrap and control.
#pragma once

#include <sys/socket.h>
#include <sys/wait.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "log.h"
#include "net_address.h"

namespace tutti {

inline constexpr uint64_t kLong = 60'000'000'000;  // a bound that no test that passes comes near
inline constexpr uint64_t kShort = 300'000'000;    // for tests that want a deadline to pass

inline const Log kSilent{LogLevel::none, "", 2};

// body(rank) on one thread per rank, at the same time.
inline void as_ranks(int size, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(body, rank);
  for (std::thread& thread : threads) thread.join();
}

inline SocketAddress loopback(uint16_t port = 0) { return *SocketAddress::parse("127.0.0.1", port); }

// A port that was free a moment ago.
inline uint16_t free_port() {
  auto listener = listen_on(loopback(), 1);
  return local_address_of(listener->get())->port();
}

inline int exit_code_of(pid_t child) {
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A blocking connection from outside.
class Outsider {
 public:
  explicit Outsider(const SocketAddress& to) : fd_(::socket(to.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    connected_ = ::connect(fd_.get(), to.data(), to.length()) == 0;
  }
  bool connected() const { return connected_; }
  void say(const std::string& bytes) { (void)!::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // All that the other side sends until it closes.
  std::string hear() {
    std::string heard;
    char chunk[4096];
    for (ssize_t n; (n = ::recv(fd_.get(), chunk, sizeof chunk, 0)) > 0;) heard.append(chunk, static_cast<size_t>(n));
    return heard;
  }

 private:
  OwnedFd fd_;
  bool connected_ = false;
};

}  // namespace tutti

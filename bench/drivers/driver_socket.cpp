// The limit of TCP: every rank sends to the next and receives from the one before, both ways at once, as many bytes as
// a ring all-reduce moves per rank: 2(p-1)/p of the data.  Nothing is reduced.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <fstream>

#include "harness.h"

namespace {

class Socket {
 public:
  static harness::Result result() { return harness::Result::neighbour; }
  int rank = harness::environment_number("COMPARE_RANK");
  int size = harness::environment_number("COMPARE_SIZE");

  Socket() {
    if (size < 2) harness::fail("it takes two ranks to exchange");
    const int listener = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    checked(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    checked(listen(listener, 1), "listen");
    socklen_t length = sizeof address;
    checked(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    publish(ntohs(address.sin_port));
    address.sin_port = htons(port_of((rank + 1) % size));
    next_ = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    checked(connect(next_, reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
    previous_ = checked(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept");
    close(listener);
    for (const int fd : {next_, previous_}) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      checked(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
    }
  }

  void all_reduce(const float* input, float* output, size_t count) {
    const size_t bytes = count * sizeof(float);
    // At least all of the input, so that the result can be checked.
    const size_t total = std::max(bytes, bytes * 2 * static_cast<size_t>(size - 1) / static_cast<size_t>(size));
    size_t sent = 0, received = 0;
    for (unsigned idle = 0; sent < total || received < total;) {
      const ssize_t out = part(sent, total, bytes, [&](size_t at, size_t n) {
        return send(next_, reinterpret_cast<const char*>(input) + at, n, MSG_NOSIGNAL);
      });
      const ssize_t in = part(received, total, bytes,
                              [&](size_t at, size_t n) { return recv(previous_, reinterpret_cast<char*>(output) + at, n, 0); });
      idle = out > 0 || in > 0 ? 0 : idle + 1;
      if (idle > 20) sched_yield();  // ranks may share a core
    }
  }

 private:
  static int checked(int result, const char* what) {
    if (result < 0) harness::fail(std::string(what) + ": " + std::strerror(errno));
    return result;
  }

  // Moves one part of what is left; positions beyond the data begin again at its start.
  template <class Move>
  static ssize_t part(size_t& done, size_t total, size_t bytes, Move move) {
    if (done == total) return 0;
    const size_t at = done % bytes;
    const ssize_t n = move(at, std::min(bytes - at, total - done));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) harness::fail("the other rank has gone");
    if (n > 0) done += static_cast<size_t>(n);
    return n;
  }

  static std::string port_file(int of_rank) {
    const char* directory = std::getenv("COMPARE_DIRECTORY");
    return std::string(directory != nullptr ? directory : ".") + "/port" + std::to_string(of_rank);
  }
  void publish(int port) const {
    const std::string path = port_file(rank), draft = path + ".new";
    std::ofstream(draft) << port;
    std::rename(draft.c_str(), path.c_str());
  }
  static uint16_t port_of(int of_rank) {
    for (int tries = 0; tries < 2000; ++tries) {
      int port = 0;
      if (std::ifstream(port_file(of_rank)) >> port) return static_cast<uint16_t>(port);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    harness::fail("rank " + std::to_string(of_rank) + " has not come");
  }

  int next_ = -1, previous_ = -1;  // until the process ends
};

}  // namespace

int main(int argc, char** argv) {
  Socket driver;
  harness::run(driver, harness::Settings::of(argc, argv));
}

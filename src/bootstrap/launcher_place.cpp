#include "launcher_place.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <optional>

#include "bytes.h"
#include "net_address.h"

namespace tutti {
namespace {

// An abstract unix socket.
SocketAddress name_of(const std::string& place) {
  const auto hash = std::bit_cast<std::array<unsigned char, 8>>(Hash().add(place).value());
  return *SocketAddress::parse("unix:tutti-rank-" + to_hex(hash));
}

// The process that holds a name; 0: one that this process cannot see.  None: another user's, or one that has exited and
// left the socket to children forked from it.
std::optional<pid_t> holder(const SocketAddress& name) {
  const auto probe = start_connect(name);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!probe.ok() || ::getsockopt(probe->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return 0;
  if (peer.uid != ::geteuid()) return std::nullopt;
  if (peer.pid > 0 && ::kill(peer.pid, 0) != 0 && errno == ESRCH) return std::nullopt;
  return peer.pid;
}

Status used_by(pid_t process, const std::string& variables) {
  const std::string who = process > 0 ? "process " + std::to_string(process) : "a process";
  return Status(Code::invalid_argument, "this program runs inside a rank of a job: " + who +
                                            " has used the place in the job that " + variables +
                                            " name, and only one process can; " + kHowToRunInside);
}

}  // namespace

Status LauncherPlace::take(const std::string& place, const std::string& variables) {
  const SocketAddress name = name_of(place);
  auto held = listen_on(name, SOMAXCONN);  // so that others can ask for its holder; nobody accepts
  if (held.ok()) {
    name_ = std::move(*held);
  } else if (errno == EADDRINUSE) {
    const auto process = holder(name);
    if (process && *process != ::getpid()) return used_by(*process, variables);
  }
  process_ = ::getpid();
  return {};
}

bool LauncherPlace::is_ours() const { return process_ == ::getpid(); }

Status LauncherPlace::refusal(const std::string& variables) const { return used_by(process_, variables); }

}  // namespace tutti

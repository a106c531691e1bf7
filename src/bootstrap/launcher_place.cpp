#include "launcher_place.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>

namespace tutti {
namespace {

OwnedFd unix_socket() { return OwnedFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

sockaddr_un name_of(const std::string& place, socklen_t& length) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : place) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // the path begins with a zero: no file
  const int n =
      std::snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "tutti-rank-%016llx", static_cast<unsigned long long>(hash));
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path)) + 1 + static_cast<socklen_t>(n);
  return address;
}

// Who holds a name: 0 for one whom this process cannot see.  None: nobody who counts, that is another user, or a process that has exited and
// left the socket to children forked from it.
std::optional<pid_t> holder(const sockaddr_un& address, socklen_t length) {
  const OwnedFd probe = unix_socket();
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!probe || ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return 0;
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
  socklen_t length = 0;
  const sockaddr_un address = name_of(place, length);
  name_ = unix_socket();
  if (name_ && ::bind(name_.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 && errno == EADDRINUSE) {
    const auto process = holder(address, length);
    if (process && *process != ::getpid()) return used_by(*process, variables);
  }
  if (name_) ::listen(name_.get(), SOMAXCONN);  // so that others can ask whose it is; nobody accepts
  process_ = ::getpid();
  return {};
}

bool LauncherPlace::is_ours() const { return process_ == ::getpid(); }

Status LauncherPlace::refusal(const std::string& variables) const { return used_by(process_, variables); }

}  // namespace tutti

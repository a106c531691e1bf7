#include "host_identity.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "owned_fd.h"

namespace tutti {
namespace {

std::string boot_id() {
  const OwnedFd file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  char text[64];
  const ssize_t got = file ? ::read(file.get(), text, sizeof text) : -1;
  std::string id(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!id.empty() && id.back() <= ' ') id.pop_back();
  return id;
}

// The namespace of the calling thread: a program may have moved single threads with setns().
std::string network_namespace() {
  struct stat info;
  if (::stat("/proc/thread-self/ns/net", &info) != 0) return "unknown";
  return std::to_string(info.st_dev) + "-" + std::to_string(info.st_ino);
}

}  // namespace

std::string host_name() {
  char name[HOST_NAME_MAX + 1] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "unknown";
  return name;
}

std::string host_id(std::string_view setting) {
  if (!setting.empty()) return "set:" + std::string(setting);
  const std::string boot = boot_id();
  return (boot.empty() ? "name:" + host_name() : "boot:" + boot) + " net:" + network_namespace();
}

}  // namespace tutti

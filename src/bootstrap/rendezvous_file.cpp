#include "rendezvous_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "files.h"
#include "owned_fd.h"
#include "resource_limits.h"

namespace tutti {
namespace {

constexpr size_t kLongestFile = 1024;
constexpr auto kRemedy =
    "ranks that meet by a file run as one user, whom a shared file system must show as the file's owner; to meet otherwise, set "
    "TUTTI_STORE=host:port (of rank 0)";

std::string user(uid_t id) { return "user " + std::to_string(id); }

// In a directory with the sticky bit, as /tmp has it, only the owner of a file or of the directory may replace the
// file.
bool may_be_replaced(const std::string& path, const struct stat& file) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct stat about {};
  const uid_t me = ::geteuid();
  return ::stat(folder.c_str(), &about) != 0 || (about.st_mode & S_ISVTX) == 0 || me == 0 || me == file.st_uid ||
         me == about.st_uid;
}

// Why a file is not believed; success: it is.
Status distrust(const std::string& path, const struct stat& file) {
  const std::string it = "the rendezvous file " + path;
  const uid_t me = ::geteuid();
  if (file.st_uid != me)
    return Status(Code::invalid_argument,
                  it + " belongs to " + user(file.st_uid) + ", but this rank runs as " + user(me) + ": " + kRemedy);
  if (S_ISLNK(file.st_mode)) return Status(Code::invalid_argument, it + " is a symbolic link, which rank 0 does not write");
  if (!S_ISREG(file.st_mode)) return Status(Code::invalid_argument, it + " is no regular file");
  if ((file.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Status(Code::invalid_argument, it + " may be written by other users than its owner, so it may be anybody's word");
  return {};
}

Result<RendezvousFileText> not_believed(const std::string& path, const struct stat& file, Status why) {
  if (!may_be_replaced(path, file)) return why;
  return RendezvousFileText{std::nullopt, std::move(why)};
}

// Where the sticky bit is the reason.
Status cannot_replace(const std::string& path, Status plain) {
  struct stat file {};
  const bool forbidden = errno == EPERM || errno == EACCES;
  if (!forbidden || ::lstat(path.c_str(), &file) != 0 || may_be_replaced(path, file)) return plain;
  return Status(Code::system, plain.message() + ": it belongs to " + user(file.st_uid) +
                                  ", and in a directory with the sticky bit only its owner may replace it; remove it, or set "
                                  "TUTTI_STORE to another path");
}

}  // namespace

Result<std::unique_ptr<RendezvousFile>> RendezvousFile::write(const std::string& path, const std::string& text) {
  // An owner other than this user is what the others would see, too.
  const auto check = [&](const struct stat& draft) { return distrust(path, draft); };
  const Status written = replace_file(path, text, "the rendezvous file", check);
  if (!written.ok()) return cannot_replace(path, written);
  return std::unique_ptr<RendezvousFile>(new RendezvousFile(path, text));
}

void RendezvousFile::remove() {
  const auto now = read_rendezvous_file(path_);
  if (now.ok() && now->text && *now->text == text_) ::unlink(path_.c_str());
  text_.clear();
}

Result<RendezvousFileText> read_rendezvous_file(const std::string& path) {
  const std::string doing = "opening the rendezvous file " + path;
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  struct stat file {};
  if (!fd) {
    const int error = errno;
    const Status failed = no_descriptor(doing);
    // ESTALE: a network file system, between rank 0's rename and this host's notice of it.
    if (error == ENOENT || error == ESTALE) return RendezvousFileText{};
    if ((error != ELOOP && error != EACCES) || ::lstat(path.c_str(), &file) != 0) return failed;
    const Status why = distrust(path, file);
    return not_believed(path, file, why.ok() ? failed : why);
  }
  if (::fstat(fd.get(), &file) != 0)
    return errno == ESTALE ? RendezvousFileText{} : Result<RendezvousFileText>(system_error(doing));
  if (Status why = distrust(path, file); !why.ok()) return not_believed(path, file, std::move(why));
  std::string text(kLongestFile, '\0');
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  if (n < 0 && errno == ESTALE) return RendezvousFileText{};
  if (n < 0) return system_error("reading the rendezvous file " + path);
  text.resize(static_cast<size_t>(n));
  return RendezvousFileText{std::move(text), {}};
}

}  // namespace tutti

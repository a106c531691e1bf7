#include "birth_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "file_size_limit.h"
#include "owned_fd.h"

namespace tutti {
namespace {

constexpr size_t kLongestFile = 1024;

}  // namespace

Result<std::unique_ptr<MeetingFile>> MeetingFile::write(const std::string& path, const std::string& text) {
  if (Status fits = within_file_size_limit(text.size(), "writing the meeting file " + path); !fits.ok()) return fits;
  std::string draft = path + ".XXXXXX";
  const OwnedFd fd(::mkostemp(draft.data(), O_CLOEXEC));
  if (!fd) return system_error("writing the meeting file " + path);
  Status status;
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    status = system_error("writing the meeting file " + draft);
  else if (::rename(draft.c_str(), path.c_str()) != 0)
    status = system_error("renaming the meeting file to " + path);
  if (!status.ok()) {
    ::unlink(draft.c_str());
    return status;
  }
  return std::unique_ptr<MeetingFile>(new MeetingFile(path, text));
}

void MeetingFile::remove() {
  const auto now = read_meeting_file(path_);
  if (now.ok() && *now && **now == text_) ::unlink(path_.c_str());
  text_.clear();
}

Result<std::optional<std::string>> read_meeting_file(const std::string& path) {
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  // ESTALE: a network file system, between rank 0's rename and this host's notice of it.
  if (!fd && (errno == ENOENT || errno == ESTALE)) return std::optional<std::string>();
  if (!fd) return system_error("opening the meeting file " + path);
  std::string text(kLongestFile, '\0');
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  if (n < 0 && errno == ESTALE) return std::optional<std::string>();
  if (n < 0) return system_error("reading the meeting file " + path);
  text.resize(static_cast<size_t>(n));
  return std::optional<std::string>(std::move(text));
}

}  // namespace tutti

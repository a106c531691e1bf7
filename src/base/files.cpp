#include "files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "byte_units.h"
#include "owned_fd.h"
#include "resource_limits.h"

namespace tutti {
namespace {

Status write_draft(int fd, std::string_view text, const std::string& doing, const DraftCheck& check) {
  struct stat about {};
  if (check && ::fstat(fd, &about) != 0) return system_error(doing);
  if (Status refused = check ? check(about) : Status(); !refused.ok()) return refused;
  if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return system_error(doing);
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t longest, const std::string& what) {
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return no_descriptor("opening " + what + " " + path);
  std::string content;
  for (char buffer[4096];;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("reading " + what + " " + path);
    if (got == 0) return content;
    content.append(buffer, static_cast<size_t>(got));
    if (content.size() > longest)
      return Status(Code::invalid_argument, what + " " + path + " is larger than " + describe_bytes(longest));
  }
}

Status replace_file(const std::string& path, std::string_view text, const std::string& what, const DraftCheck& check) {
  const std::string doing = "writing " + what + " " + path;
  errno = 0;
  if (Status fits = within_file_size_limit(text.size(), doing); !fits.ok()) return fits;
  std::string draft = path + ".XXXXXX";
  const OwnedFd fd(::mkostemp(draft.data(), O_CLOEXEC));
  if (!fd) return no_descriptor(doing);
  Status status = write_draft(fd.get(), text, doing, check);
  if (status.ok() && ::rename(draft.c_str(), path.c_str()) != 0) status = system_error("renaming " + what + " to " + path);
  if (status.ok()) return status;
  const int error = errno;
  ::unlink(draft.c_str());
  errno = error;
  return status;
}

}  // namespace tutti

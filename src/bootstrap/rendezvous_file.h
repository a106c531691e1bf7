// A file that says where a rendezvous is.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "status.h"

namespace tutti {

// Written whole (a temporary file, renamed; no link is followed), readable by this user only, and removed again when
// the object ends or remove() is called, unless somebody else has overwritten it by then.
class RendezvousFile {
 public:
  static Result<std::unique_ptr<RendezvousFile>> write(const std::string& path, const std::string& text);
  ~RendezvousFile() { remove(); }
  RendezvousFile(const RendezvousFile&) = delete;
  RendezvousFile& operator=(const RendezvousFile&) = delete;
  void remove();

 private:
  RendezvousFile(std::string path, std::string text) : path_(std::move(path)), text_(std::move(text)) {}
  std::string path_, text_;
};

struct RendezvousFileText {
  std::optional<std::string> text;
  Status not_yet;  // there is a file, but not rank 0's: why its text is not believed
};

// The writer of the file decides which ranks this one joins.  So it must be a regular file that belongs to this rank's
// user and that nobody else may write.  An error: it is not, and rank 0 cannot replace it.
Result<RendezvousFileText> read_rendezvous_file(const std::string& path);

}  // namespace tutti

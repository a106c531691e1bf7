// Small files, read and written whole.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>

#include "status.h"

namespace tutti {

// `what` names the file in sentences: "the settings file".

// At most `longest` bytes; a longer file is an error.
Result<std::string> read_file(const std::string& path, size_t longest, const std::string& what);

// Who opens `path` sees the old file or the new one, whole: a draft beside it takes its place.  It is readable and writable by this user only, and
// no link is followed.  `check` may refuse the empty draft by what the file system says of it.  After a failure errno is its cause.
using DraftCheck = std::function<Status(const struct stat& draft)>;
Status replace_file(const std::string& path, std::string_view text, const std::string& what, const DraftCheck& check = nullptr);

}  // namespace tutti

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

// Writes a draft beside `path` and renames it, so that readers see the old file or the new one, whole.  Only this user
// may read and write it, and no link is followed.  `check` may refuse the empty draft.  After a failure errno is its
// cause.
using DraftCheck = std::function<Status(const struct stat& draft)>;
Status replace_file(const std::string& path, std::string_view text, const std::string& what, const DraftCheck& check = nullptr);

}  // namespace tutti

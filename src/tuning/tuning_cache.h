// Files of TUTTI_TUNING_CACHE: one tuning file (tuning_rules.h) for each key in a directory.
#pragma once

#include <string>
#include <string_view>

#include "status.h"

namespace tutti {

std::string cache_path(const std::string& directory, std::string_view key);
// The whole text of a tuning file; more than kLongestTuningFile is an error.
Result<std::string> read_tuning_text(const std::string& path);
// Written whole or not at all.
Status write_tuning_text(const std::string& path, std::string_view text);

}  // namespace tutti

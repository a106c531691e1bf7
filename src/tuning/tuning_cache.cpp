#include "tuning_cache.h"

#include <charconv>
#include <iterator>

#include "bytes.h"
#include "files.h"
#include "tuning_rules.h"

namespace tutti {

std::string cache_path(const std::string& directory, std::string_view key) {
  char name[32];
  const auto end = std::to_chars(std::begin(name), std::end(name), Hash().add(key).value(), 16).ptr;
  return directory + "/tutti-" + std::string(name, end) + ".tuning";
}

Result<std::string> read_tuning_text(const std::string& path) { return read_file(path, kLongestTuningFile, "the tuning file"); }

Status write_tuning_text(const std::string& path, std::string_view text) { return replace_file(path, text, "the tuning file"); }

}  // namespace tutti

// The tables of predictions that rank 0 of some communicator of a family has computed, by the shape of the
// communicators that they are for: all of the family have been measured alike.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace tutti {

class KnownTables {
 public:
  std::string of(const std::string& shape, const std::function<std::string()>& make) {
    const std::lock_guard lock(mutex_);
    std::string& table = tables_[shape];
    if (table.empty()) table = make();
    return table;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> tables_;
};

}  // namespace tutti

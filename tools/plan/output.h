// How tutti-plan's commands end.
#pragma once

#include <fstream>
#include <iostream>
#include <string>

#include "status.h"

namespace tutti {

inline constexpr int kFailed = 1, kMisused = 2;

inline int fail(const Status& status, int code) {
  std::cerr << "tutti-plan: " << status.message() << "\n";
  return code;
}

// To the terminal if `file` is "" or "-".
inline int write(const std::string& file, const std::string& text) {
  if (file.empty() || file == "-") {
    std::cout << text << std::flush;
    return std::cout ? 0 : fail(Status(Code::system, "writing the output failed"), kFailed);
  }
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  return out ? 0 : fail(system_error("writing " + file), kFailed);
}

}  // namespace tutti

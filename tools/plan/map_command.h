// tutti-plan map.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>

namespace tutti {

// A subcommand with its options; run() if it was chosen.  The return value is the program's.
class MapCommand {
 public:
  explicit MapCommand(CLI::App& app);
  ~MapCommand();
  bool chosen() const;
  int run();

 private:
  struct Options;
  CLI::App* command_;
  std::unique_ptr<Options> options_;
};

}  // namespace tutti

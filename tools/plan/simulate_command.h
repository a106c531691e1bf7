// tutti-plan simulate.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

namespace tutti {

// A subcommand with its options; run() if it was chosen.  The return value is the program's.
class SimulateCommand {
 public:
  explicit SimulateCommand(CLI::App& app);
  ~SimulateCommand();
  bool chosen() const;
  int run();

 private:
  struct Options;
  CLI::App* command_;
  std::unique_ptr<Options> options_;
};

}  // namespace tutti

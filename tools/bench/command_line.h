// The programs that measure read a command line in this way once its options are declared.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>

#include "status.h"

namespace tutti::bench {

// Lets CLI11 read the command line, and then `read` the texts that it found.  Returns the exit status if the program
// should end now: 0 after --help or --version, 2 after a complaint on stderr.  A `silent` rank prints nothing, for all
// ranks but one of a launched job.
std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv, bool silent, const std::function<Status()>& read);

}  // namespace tutti::bench

#include "command_line.h"

#include <cstdio>

namespace tutti::bench {

std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv, bool silent, const std::function<Status()>& read) {
  Status status;
  try {
    app.parse(argc, argv);
    status = read();
  } catch (const CLI::Success& end) {  // --help, --version
    if (!silent) app.exit(end);
    return 0;
  } catch (const CLI::Error& error) {
    status = Status(Code::invalid_argument, std::string(error.what()) + ".");
  }
  if (status.ok()) return std::nullopt;
  const std::string name = app.get_name();
  if (!silent) std::fprintf(stderr, "%s: %s\nTry %s --help.\n", name.c_str(), status.message().c_str(), name.c_str());
  return 2;
}

}  // namespace tutti::bench

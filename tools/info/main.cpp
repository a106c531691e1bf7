// tutti-info: what this build of Tutti is, what it sees of this machine, and which settings are in force.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "facts.h"
#include "report.h"
#include "settings.h"
#include "tutti/tutti.h"

int main(int argc, char** argv) {
  CLI::App app("What this build of Tutti is, what it sees of this machine, and which settings are in force.", "tutti-info");
  bool json = false, document = false;
  app.add_flag("--json", json, "Print JSON");
  app.add_flag("--environment-doc", document, "Print docs/environment.md and nothing else");
  app.set_version_flag("--version", tutti_version());
  CLI11_PARSE(app, argc, argv);

  if (document) {
    std::fputs(tutti::environment_document().c_str(), stdout);
    return 0;
  }
  const tutti::info::Facts facts = tutti::info::gather();
  std::fputs((json ? tutti::info::as_json(facts) : tutti::info::as_text(facts)).c_str(), stdout);
  for (const std::string& error : facts.errors) std::fprintf(stderr, "tutti-info: %s\n", error.c_str());
  return facts.errors.empty() ? 0 : 1;
}

// bootstrap_program [BOOTSTRAPS [PROGRAM]]: one rank under a real launcher.  Meets the others several times, one
// communicator after another, prints what it learned, and each time runs PROGRAM.
#include <cstdio>
#include <cstdlib>

#include "join_job.h"
#include "launcher.h"

int main(int argc, char** argv) {
  using namespace tutti;
  const int bootstraps = argc > 1 ? std::atoi(argv[1]) : 1;
  for (int i = 0; i < bootstraps; ++i) {
    JoinOptions options;
    options.timeout_ns = 60'000'000'000;
    options.environment = process_environment();
    if (const char* store = std::getenv("TUTTI_STORE")) options.setting_store = store;
    const auto bootstrap = join_job(options);
    if (!bootstrap.ok()) return std::printf("failed: %s\n", bootstrap.status().message().c_str()), 1;
    const Membership& member = bootstrap->membership;
    const auto got = bootstrap->bootstrap->exchange(std::to_string(member.rank * 10 + i));
    if (!got.ok()) return std::printf("failed: %s\n", got.status().message().c_str()), 1;
    std::string line = "bootstrap " + std::to_string(i) + ": rank " + std::to_string(member.rank) + " of " +
                       std::to_string(member.size) + " by " + member.source + ":";
    for (const std::string& blob : *got) line += " " + blob;
    std::puts(line.c_str());
    std::fflush(stdout);
    if (argc > 2) (void)!std::system(argv[2]);
  }
}

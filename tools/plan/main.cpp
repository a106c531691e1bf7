// tutti-plan: looks at plans.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "cost_table.h"
#include "map_command.h"
#include "output.h"
#include "plan_text.h"
#include "portrait.h"
#include "proving.h"
#include "selection.h"
#include "simulate_command.h"
#include "spaces.h"

namespace tutti {
namespace {

struct Options {
  std::string collective, algorithm, ranks, hosts, file;
  int root = 0, rank = -1;
};

// One algorithm for one team.
struct Subject {
  Algorithm algorithm;
  Team team;
};

Result<Subject> subject(const Options& options) {
  const auto rows = select_algorithms(options.collective, options.algorithm);
  if (!rows.ok()) return rows.status();
  const auto team = parse_team(options.ranks, options.hosts);
  if (!team.ok()) return team.status();
  const auto among = [&](const char* option, int rank) {
    return Status(Code::invalid_argument,
                  std::string(option) + " " + std::to_string(rank) + " is not among " + std::to_string(team->size) + " ranks");
  };
  if (options.root < 0 || options.root >= team->size) return among("--root", options.root);
  if (options.rank < -1 || options.rank >= team->size) return among("--rank", options.rank);
  return Subject{rows->front(), *team};
}

int check(const Options& options) {
  const auto rows = select_algorithms(options.collective, options.algorithm);
  if (!rows.ok()) return fail(rows.status(), kMisused);
  const auto ranks = parse_ranks(options.ranks);
  if (!ranks.ok()) return fail(ranks.status(), kMisused);
  bool all_good = true;
  for (const Algorithm& algorithm : *rows) {
    const std::string title = std::string(name(algorithm.collective)) + " " + std::string(algorithm.name);
    int proofs = 0;
    Status status;
    std::string where;
    for (int size = ranks->first; size <= ranks->last && status.ok(); ++size) {
      where = ", " + std::to_string(size) + " ranks";
      status = prove_in_flight(algorithm, size);
      const int roots = has_root(algorithm.collective) ? size : 1;
      for (int root = 0; root < roots && status.ok(); ++root, ++proofs) {
        if (has_root(algorithm.collective)) where = ", " + std::to_string(size) + " ranks, root " + std::to_string(root);
        status = prove_plans(algorithm, size, root).status();
      }
    }
    if (status.ok()) std::printf("%-26s %6s ranks: %d sets of plans proved\n", title.c_str(), options.ranks.c_str(), proofs);
    if (!status.ok()) std::printf("%-26s WRONG%s: %s\n", title.c_str(), where.c_str(), status.message().c_str());
    std::fflush(stdout);
    all_good &= status.ok();
  }
  return all_good ? 0 : kFailed;
}

int print(const Options& options) {
  const auto chosen = subject(options);
  if (!chosen.ok()) return fail(chosen.status(), kMisused);
  const auto& [algorithm, team] = *chosen;
  for (int rank = 0; rank < team.size; ++rank) {
    if (options.rank >= 0 && options.rank != rank) continue;
    const Plan plan = algorithm.plan(rank, team, options.root);
    std::printf("%s %s, rank %d of %d", std::string(name(algorithm.collective)).c_str(), std::string(algorithm.name).c_str(), rank,
                team.size);
    if (team.hosts() > 1) std::printf(" on host %d of %d", team.host_of(rank), team.hosts());
    std::printf(": %zu steps over %u blocks\n", plan.steps().size(), plan.blocks());
    std::fputs(describe(plan, compile(plan, algorithm.collective, rank, team.size, options.root)).c_str(), stdout);
  }
  return 0;
}

int draw(const Options& options) {
  const auto chosen = subject(options);
  if (!chosen.ok()) return fail(chosen.status(), kMisused);
  const auto svg = portrait(chosen->algorithm, chosen->team, options.root);
  if (!svg.ok()) return fail(svg.status(), kMisused);
  return write(options.file, *svg);
}

int table(const Options& options) {
  const auto made = cost_table();
  if (!made.ok()) return fail(made.status(), kFailed);
  if (options.file.empty()) return write("", *made);
  std::ifstream in(options.file, std::ios::binary);
  const std::string document{std::istreambuf_iterator<char>(in), {}};
  if (!in) return fail(system_error("reading " + options.file), kFailed);
  const auto updated = with_table(document, *made);
  return updated.ok() ? write(options.file, *updated) : fail(updated.status(), kFailed);
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Plans are what Tutti's ranks do in a collective: this proves, prints, draws and prices them."};
  app.require_subcommand(1);
  app.footer("tutti-plan COMMAND --help says more about each.");

  const auto name_options = [&options](CLI::App* command, bool one) {
    command->add_option("-c,--collective", options.collective, one ? "all_reduce if not given" : "only this one; all if not given");
    command->add_option("-a,--algorithm", options.algorithm,
                        one ? "the first one of the collective if not given" : "only this one; all if not given");
  };
  auto* checking = app.add_subcommand("check", "Prove plans: the result, its order of operands, no deadlock, the cost by formula");
  name_options(checking, false);
  checking->add_option("-n,--ranks", options.ranks, "a number or a range; 1-130 if not given");
  auto* printing = app.add_subcommand("print", "The steps of each rank");
  auto* drawing = app.add_subcommand("draw", "A picture (SVG): ranks as rows, messages as curves in the colours of their blocks");
  for (auto* command : {printing, drawing}) {
    name_options(command, true);
    command->add_option("-n,--ranks", options.ranks, "how many; those of --hosts, or else 4, if not given");
    command->add_option("--hosts", options.hosts, "ranks on each host, such as 3,1,2; all on one if not given");
    command->add_option("-r,--root", options.root, "of collectives that have one; 0 if not given");
  }
  printing->add_option("--rank", options.rank, "only this rank's");
  drawing->add_option("-o,--output", options.file, "the file to write; to the terminal if not given");
  auto* tabling = app.add_subcommand("table", "What each algorithm costs, by formula and by its plans (Markdown)");
  SimulateCommand simulating(app);
  MapCommand mapping(app);
  tabling->add_option("--into", options.file, "replace the table in this document, docs/algorithms.md, instead of printing it");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kMisused;
  }
  if (checking->parsed()) {
    if (options.ranks.empty()) options.ranks = "1-130";
    return check(options);
  }
  if (tabling->parsed()) return table(options);
  if (simulating.chosen()) return simulating.run();
  if (mapping.chosen()) return mapping.run();
  if (options.collective.empty()) options.collective = "all_reduce";
  return printing->parsed() ? print(options) : draw(options);
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) { return tutti::run(argc, argv); }

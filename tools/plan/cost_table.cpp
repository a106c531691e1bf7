#include "cost_table.h"

#include <cstdio>
#include <vector>

#include "algorithms.h"
#include "proving.h"

namespace tutti {
namespace {

struct Sample {
  std::string_view title;
  Team team;
};
std::vector<Sample> samples() {
  Team two_hosts = 8;
  two_hosts.host = {0, 0, 0, 0, 1, 1, 1, 1};
  return {{"8 ranks", 8}, {"8 ranks on 2 hosts", two_hosts}, {"13 ranks", 13}};
}
constexpr std::string_view kBegin = "<!-- made by: tutti-plan table -->\n";
constexpr std::string_view kEnd = "<!-- end of what tutti-plan table makes -->\n";

Result<std::string> measured(const Algorithm& algorithm, const Team& team) {
  const Result<Proof> proof = prove_plans(algorithm, team, 0);
  if (!proof.ok()) return proof.status();
  const Cost& cost = proof->cost;
  return std::to_string(cost.rounds) + " · " + std::to_string(cost.messages) + " · " + in_n(cost.blocks, algorithm, team) + " · " +
         in_n(cost.reduced, algorithm, team);
}

}  // namespace

std::string in_n(uint64_t blocks, const Algorithm& algorithm, const Team& team) {
  if (blocks == 0 || algorithm.collective == Collective::barrier) return "0";
  const uint32_t parts =
      algorithm.collective == Collective::all_to_all ? static_cast<uint32_t>(team.size) : algorithm.plan(0, team, 0).blocks();
  char text[32];
  std::snprintf(text, sizeof text, "%.3gn", static_cast<double>(blocks) / parts);
  return std::string(text) == "1n" ? "n" : text;
}

Result<std::string> cost_table() {
  std::string table = "| collective | algorithm | rounds | messages | bytes | bytes reduced | codec |";
  std::string line = "|---|---|---|---|---|---|---|";
  for (const Sample& sample : samples()) {
    table += " " + std::string(sample.title) + " |";
    line += "---|";
  }
  table += "\n" + line + "\n";
  std::string last;
  for (const Algorithm& algorithm : algorithms()) {
    const CostModel& model = algorithm.cost;
    const std::string collective(name(algorithm.collective));
    table += "| " + (collective == last ? "" : collective) + " | " + std::string(algorithm.name);
    for (const Formula& formula : {model.rounds, model.messages, model.data, model.reduced})
      table += " | " + std::string(formula.text);
    const bool empty = algorithm.collective == Collective::barrier;
    table += empty ? " | – |" : algorithm.may_carry_codec ? " | yes |" : " | no |";
    for (const Sample& sample : samples()) {
      const Result<std::string> cell = measured(algorithm, sample.team);
      if (!cell.ok()) return cell.status();
      table += " " + *cell + " |";
    }
    table += "\n";
    last = collective;
  }
  return table;
}

Result<std::string> with_table(const std::string& document, const std::string& table) {
  const size_t begin = document.find(kBegin), end = document.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    return Status(Code::invalid_argument, "the document lacks the lines that the table stands between: " + std::string(kBegin) +
                                              "and " + std::string(kEnd));
  }
  return document.substr(0, begin + kBegin.size()) + "\n" + table + "\n" + document.substr(end);
}

}  // namespace tutti

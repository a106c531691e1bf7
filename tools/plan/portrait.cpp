#include "portrait.h"

#include "cost_table.h"
#include "drawing.h"
#include "proving.h"
#include "selection.h"
#include "spaces.h"

namespace tutti {
namespace {

std::string counted(uint64_t n, const std::string& what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

}  // namespace

Result<std::string> portrait(const Algorithm& algorithm, const Team& team, int root) {
  const int size = team.size;
  if (size < 2 || size > 24) return Status(Code::invalid_argument, "pictures show 2 to 24 ranks, not " + std::to_string(size));
  const Result<Proof> proof = prove_plans(algorithm, team, root);
  if (!proof.ok()) return proof.status();
  const auto plans = plans_of_all_ranks(algorithm, team, root);
  const Result<Timeline> timeline = timeline_of(algorithm.collective, root, plans);
  if (!timeline.ok()) return timeline.status();

  Caption caption;
  caption.title =
      std::string(name(algorithm.collective)) + " · " + std::string(algorithm.name) + " · " + std::to_string(size) + " ranks";
  if (team.hosts() > 1) caption.title += " on " + std::to_string(team.hosts()) + " hosts";
  caption.subtitle = counted(proof->cost.rounds, "round") + "; " + counted(proof->cost.messages, "message");
  const std::string bytes = in_n(proof->cost.blocks, algorithm, team);
  if (bytes != "0") caption.subtitle += " and " + bytes + " bytes";
  caption.subtitle += " in or out of the busiest rank";
  if (bytes != "0")
    caption.subtitle += algorithm.collective == Collective::all_to_all ? ", n = what each sends" : ", n = the whole vector";
  caption.root = has_root(algorithm.collective) ? root : -1;
  caption.reduction = is_reduction(algorithm.collective);
  return draw_svg(*timeline, caption);
}

}  // namespace tutti

#include <array>

#include "algorithms.h"
#include "plans.h"

namespace tutti {

// The place in this table is the number that travels in signatures.
std::span<const Algorithm> algorithms() {
  using enum Collective;
  static const std::array kAlgorithms{
      Algorithm{ring::all_reduce, "ring", all_reduce, "large vectors, any number of ranks"},
      Algorithm{tree::all_reduce, "tree", all_reduce, "many ranks, middle and large vectors"},
      Algorithm{recursive::all_reduce, "recursive", all_reduce, "middle vectors, any number of ranks"},
      Algorithm{doubling::all_reduce, "doubling", all_reduce, "small vectors"},
      Algorithm{direct::all_reduce, "direct", all_reduce, "few ranks close together; operands in rank order"},
      Algorithm{exchange::all_reduce, "exchange", all_reduce, "small vectors, few ranks; operands in rank order"},
      Algorithm{hierarchical::all_reduce, "hierarchical", all_reduce, "several hosts, any ranks on each"},
      Algorithm{ring::reduce_scatter, "ring", reduce_scatter, "large vectors, any number of ranks"},
      Algorithm{recursive::reduce_scatter, "recursive", reduce_scatter, "small and middle vectors"},
      Algorithm{direct::reduce_scatter, "direct", reduce_scatter, "few ranks close together; operands in rank order"},
      Algorithm{hierarchical::reduce_scatter, "hierarchical", reduce_scatter, "several hosts, any ranks on each"},
      Algorithm{ring::all_gather, "ring", all_gather, "large vectors, any number of ranks"},
      Algorithm{recursive::all_gather, "recursive", all_gather, "small and middle vectors"},
      Algorithm{direct::all_gather, "direct", all_gather, "few ranks close together"},
      Algorithm{hierarchical::all_gather, "hierarchical", all_gather, "several hosts, any ranks on each"},
      Algorithm{ring::broadcast, "ring", broadcast, "very large vectors, few ranks"},
      Algorithm{tree::broadcast, "tree", broadcast, "many ranks, any size"},
      Algorithm{recursive::broadcast, "recursive", broadcast, "middle vectors"},
      Algorithm{direct::broadcast, "direct", broadcast, "few ranks close together"},
      Algorithm{hierarchical::broadcast, "hierarchical", broadcast, "several hosts, any ranks on each"},
      Algorithm{ring::reduce, "ring", reduce, "very large vectors, few ranks"},
      Algorithm{tree::reduce, "tree", reduce, "many ranks, any size"},
      Algorithm{recursive::reduce, "recursive", reduce, "middle vectors"},
      Algorithm{direct::reduce, "direct", reduce, "few ranks close together; operands in rank order"},
      Algorithm{hierarchical::reduce, "hierarchical", reduce, "several hosts, any ranks on each"},
      Algorithm{tree::gather, "tree", gather, "many ranks, small blocks"},
      Algorithm{direct::gather, "direct", gather, "large blocks"},
      Algorithm{tree::scatter, "tree", scatter, "many ranks, small blocks"},
      Algorithm{direct::scatter, "direct", scatter, "large blocks"},
      Algorithm{direct::all_to_all, "direct", all_to_all, "every size"},
      Algorithm{ring::scan, "ring", scan, "large vectors"},
      Algorithm{doubling::scan, "doubling", scan, "small vectors"},
      Algorithm{direct::scan, "direct", scan, "few ranks close together; operands in one go"},
      Algorithm{ring::exscan, "ring", exscan, "large vectors"},
      Algorithm{doubling::exscan, "doubling", exscan, "small vectors"},
      Algorithm{direct::exscan, "direct", exscan, "few ranks close together; operands in one go"},
      Algorithm{tree::barrier, "tree", barrier, "many ranks"},
      Algorithm{doubling::barrier, "doubling", barrier, "few ranks"},
  };
  return kAlgorithms;
}

std::optional<uint8_t> find_algorithm(Collective collective, std::string_view name) {
  const auto rows = algorithms();
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].collective == collective && rows[i].name == name) return static_cast<uint8_t>(i);
  return std::nullopt;
}

bool makes_partial_sums(Collective collective, std::string_view name, const Team& team) {
  const auto index = find_algorithm(collective, name);
  if (!index) return false;
  const auto known = algorithms()[*index].makes_partial_sums;
  return known != nullptr && known(team);
}

}  // namespace tutti

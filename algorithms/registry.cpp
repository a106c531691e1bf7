#include <array>

#include "algorithms.h"
#include "plans.h"

namespace tutti {
namespace {

constexpr std::string_view kRing = "Patarasuk, Yuan 2009";
constexpr std::string_view kChain = "Pješivac-Grbović et al. 2007";
constexpr std::string_view kTwoTrees = "Sanders, Speck, Träff 2009";
constexpr std::string_view kCirculant = "Träff 2024";
constexpr std::string_view kMpich = "Thakur, Rabenseifner, Gropp 2005";
constexpr std::string_view kLanes = "Träff, Hunold 2020";
constexpr std::string_view kHalves = "Chan, Heimlich, Purkayastha, van de Geijn 2007";

// The place in this table is the number that travels in signatures.
using enum Collective;
constexpr std::array kAlgorithms{
    Algorithm{"ring", all_reduce, ring::all_reduce, kRing, "large vectors, any number of ranks"},
    Algorithm{"tree", all_reduce, tree::all_reduce, kTwoTrees, "many ranks, middle and large vectors"},
    Algorithm{"recursive", all_reduce, recursive::all_reduce, kCirculant, "middle vectors, any number of ranks"},
    Algorithm{"doubling", all_reduce, doubling::all_reduce, kMpich, "small vectors"},
    Algorithm{"direct", all_reduce, direct::all_reduce, kMpich, "few ranks close together; operands in rank order"},
    Algorithm{"hierarchical", all_reduce, hierarchical::all_reduce, kLanes, "several hosts, any ranks on each"},
    Algorithm{"ring", reduce_scatter, ring::reduce_scatter, kRing, "large vectors, any number of ranks"},
    Algorithm{"recursive", reduce_scatter, recursive::reduce_scatter, kCirculant, "small and middle vectors"},
    Algorithm{"direct", reduce_scatter, direct::reduce_scatter, kMpich, "few ranks close together; operands in rank order"},
    Algorithm{"hierarchical", reduce_scatter, hierarchical::reduce_scatter, kLanes, "several hosts, any ranks on each"},
    Algorithm{"ring", all_gather, ring::all_gather, kRing, "large vectors, any number of ranks"},
    Algorithm{"recursive", all_gather, recursive::all_gather, kCirculant, "small and middle vectors"},
    Algorithm{"direct", all_gather, direct::all_gather, kMpich, "few ranks close together"},
    Algorithm{"hierarchical", all_gather, hierarchical::all_gather, kLanes, "several hosts, any ranks on each"},
    Algorithm{"ring", broadcast, ring::broadcast, kChain, "very large vectors, few ranks"},
    Algorithm{"tree", broadcast, tree::broadcast, kTwoTrees, "many ranks, any size"},
    Algorithm{"recursive", broadcast, recursive::broadcast, kHalves, "middle vectors"},
    Algorithm{"direct", broadcast, direct::broadcast, kChain, "few ranks close together"},
    Algorithm{"hierarchical", broadcast, hierarchical::broadcast, kLanes, "several hosts, any ranks on each"},
    Algorithm{"ring", reduce, ring::reduce, kChain, "very large vectors, few ranks"},
    Algorithm{"tree", reduce, tree::reduce, kTwoTrees, "many ranks, any size"},
    Algorithm{"recursive", reduce, recursive::reduce, kHalves, "middle vectors"},
    Algorithm{"direct", reduce, direct::reduce, kChain, "few ranks close together; operands in rank order"},
    Algorithm{"hierarchical", reduce, hierarchical::reduce, kLanes, "several hosts, any ranks on each"},
    Algorithm{"tree", gather, tree::gather, kHalves, "many ranks, small blocks"},
    Algorithm{"direct", gather, direct::gather, kChain, "large blocks"},
    Algorithm{"tree", scatter, tree::scatter, kHalves, "many ranks, small blocks"},
    Algorithm{"direct", scatter, direct::scatter, kChain, "large blocks"},
    Algorithm{"direct", all_to_all, direct::all_to_all, kMpich, "every size"},
    Algorithm{"tree", barrier, tree::barrier, kTwoTrees, "many ranks"},
    Algorithm{"doubling", barrier, doubling::barrier, kMpich, "few ranks"},
};

}  // namespace

std::span<const Algorithm> algorithms() { return kAlgorithms; }

std::optional<uint8_t> find_algorithm(Collective collective, std::string_view name) {
  for (size_t i = 0; i < kAlgorithms.size(); ++i) {
    if (kAlgorithms[i].collective == collective && kAlgorithms[i].name == name) return static_cast<uint8_t>(i);
  }
  return std::nullopt;
}

}  // namespace tutti

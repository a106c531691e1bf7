// Which algorithm is the fastest, by size of the data and number of ranks, as a picture (SVG).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "simulation.h"

namespace tutti {

struct CrossoverMap {
  struct Row {
    Scenario scenario;
    std::vector<PricedRun> runs;  // for each size all algorithms, as price() gives them
  };
  std::string title, subtitle;
  std::vector<std::string_view> algorithms;
  std::vector<uint64_t> sizes;
  std::vector<Row> rows;  // numbers of ranks, ascending
};

std::string draw_svg(const CrossoverMap& map);

}  // namespace tutti

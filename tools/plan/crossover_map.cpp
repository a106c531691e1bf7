#include "crossover_map.h"

#include <algorithm>

#include "byte_units.h"
#include "quantities.h"
#include "svg.h"

namespace tutti {
namespace {

constexpr double kMargin = 28, kTop = 104, kRankWidth = 62, kCellWidth = 62, kCellHeight = 30, kLegend = 74, kNarrowest = 560;
constexpr double kClose = 1.1;  // times: the runner-up is as good as the fastest

std::string without_blank(std::string text) {
  std::erase(text, ' ');
  return text;
}

struct Cell {
  const PricedRun* fastest = nullptr;
  const PricedRun* second = nullptr;
};

Cell cell_of(const CrossoverMap::Row& row, uint64_t bytes) {
  Cell cell;
  for (const PricedRun& run : row.runs) {
    if (run.bytes != bytes) continue;
    if (!cell.fastest || run.prediction.seconds < cell.fastest->prediction.seconds) {
      cell.second = cell.fastest;
      cell.fastest = &run;
    } else if (!cell.second || run.prediction.seconds < cell.second->prediction.seconds) {
      cell.second = &run;
    }
  }
  return cell;
}

}  // namespace

std::string draw_svg(const CrossoverMap& map) {
  Svg svg;
  const auto colour_of = [&](std::string_view name) {
    const auto index = std::ranges::find(map.algorithms, name) - map.algorithms.begin();
    return colour(static_cast<uint32_t>(index), static_cast<uint32_t>(map.algorithms.size()));
  };
  const double left = kMargin + kRankWidth, grid_end = kTop + kCellHeight * static_cast<double>(map.rows.size());
  const double width = std::max(left + kCellWidth * static_cast<double>(map.sizes.size()) + kMargin, kNarrowest);
  svg.open(width, grid_end + kLegend, map.title);
  svg.words(kMargin, 38, 19, kInk, map.title, " font-weight=\"600\"");
  svg.words(kMargin, 60, 12.5, kFaint, map.subtitle);
  svg.words(kMargin, kTop - 9, 11.5, kFaint, "ranks");
  for (size_t column = 0; column < map.sizes.size(); ++column)
    svg.words(left + (static_cast<double>(column) + 0.5) * kCellWidth, kTop - 9, 11.5, kFaint, format_bytes(map.sizes[column]),
              " text-anchor=\"middle\"");
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = kTop + kCellHeight * static_cast<double>(r);
    svg.words(kMargin, y + 19, 13, kInk, std::to_string(map.rows[r].scenario.team.size));
    for (size_t column = 0; column < map.sizes.size(); ++column) {
      const Cell cell = cell_of(map.rows[r], map.sizes[column]);
      if (!cell.fastest) continue;
      const double x = left + static_cast<double>(column) * kCellWidth;
      const std::string fill = colour_of(cell.fastest->algorithm);
      svg.box(x, y, kCellWidth - 2, kCellHeight - 2, fill, 0.85, " rx=\"3\"");
      if (cell.second && cell.second->prediction.seconds < kClose * cell.fastest->prediction.seconds)
        svg.box(x, y + kCellHeight - 7, kCellWidth - 2, 5, colour_of(cell.second->algorithm), 1, " rx=\"2\"");
      svg.words(x + kCellWidth / 2 - 1, y + 17, 11, "#ffffff", without_blank(describe_seconds(cell.fastest->prediction.seconds)),
                " text-anchor=\"middle\"");
    }
  }
  double x = kMargin;
  for (const std::string_view name : map.algorithms) {
    svg.box(x, grid_end + 17, 11, 11, colour_of(name), 0.85, " rx=\"2\"");
    svg.words(x + 16, grid_end + 27, 12, kInk, std::string(name));
    x += 34 + 6.8 * static_cast<double>(name.size());
  }
  svg.words(kMargin, grid_end + 52, 11.5, kFaint,
            "colour: the fastest algorithm, with its time; a strip below: another one is within a tenth of it");
  return svg.close();
}

}  // namespace tutti

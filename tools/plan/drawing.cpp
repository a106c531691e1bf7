#include "drawing.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "svg.h"

namespace tutti {
namespace {

constexpr double kMargin = 28, kTop = 96, kRankWidth = 74, kLegend = 70, kNarrowest = 620;

// "M1.0 2.0": a command of a path.
std::string go(const char* command, std::initializer_list<double> numbers) {
  std::string text = command;
  const char* separator = "";
  for (const double value : numbers) {
    text += separator + number(value);
    separator = " ";
  }
  return text + " ";
}

class Picture {
 public:
  Picture(const Timeline& timeline, const Caption& caption) : t_(timeline), caption_(caption) {
    columns_ = t_.blocks == t_.ranks * t_.ranks ? t_.ranks : t_.blocks;  // all_to_all: a square, a row for each source
    rows_ = t_.blocks / columns_;
    cell_w_ = rows_ > 1 ? 9 : std::clamp(56.0 / columns_, 9.0, 24.0);
    cell_h_ = rows_ > 1 ? 9 : 22;
    strip_w_ = columns_ * cell_w_;
    strip_h_ = rows_ * cell_h_;
    gap_ = std::clamp(46.0 + 6 * t_.ranks, 64.0, t_.rounds > 8 ? 72.0 : 130.0);
    if (t_.rounds > 0) gap_ = std::max(gap_, (kNarrowest - width()) / t_.rounds + gap_);
    row_h_ = std::max(52.0, strip_h_ + 22);
  }

  std::string draw() {
    const double full = std::max(width(), kNarrowest), grid_end = kTop + t_.ranks * row_h_;
    svg_.open(full, grid_end + kLegend, caption_.title);
    svg_.words(kMargin, 38, 19, kInk, caption_.title, " font-weight=\"600\"");
    svg_.words(kMargin, 60, 12.5, kFaint, caption_.subtitle);
    draw_grid(full);
    draw_messages();
    for (uint32_t time = 0; time <= t_.rounds; ++time) {
      for (uint32_t rank = 0; rank < t_.ranks; ++rank) draw_strip(time, rank);
    }
    draw_legend(grid_end + 26);
    return svg_.close();
  }

 private:
  double width() const { return x_of(t_.rounds) + strip_w_ + kMargin; }
  // The left edge of the strips.
  double x_of(uint32_t time) const { return kMargin + kRankWidth + time * (strip_w_ + gap_); }
  double y_of(uint32_t rank) const { return kTop + (rank + 0.5) * row_h_; }                     // middle of the row

  void draw_grid(double width) {
    for (uint32_t rank = 0; rank < t_.ranks; ++rank) {
      if (rank % 2 == 0)
        svg_.box(kMargin - 12, y_of(rank) - row_h_ / 2, width - 2 * kMargin + 24, row_h_, "#f6f8fa", 1, " rx=\"6\"");
      const bool root = caption_.root == static_cast<int>(rank);
      svg_.words(kMargin, y_of(rank) + (root ? -1 : 4.5), 13, kInk, "rank " + std::to_string(rank));
      if (root) svg_.words(kMargin, y_of(rank) + 13, 11, kFaint, "root");
    }
    for (uint32_t round = 0; round < t_.rounds; ++round) {
      svg_.words(x_of(round) + strip_w_ + gap_ / 2, kTop - 8, 11.5, kFaint,
                 (t_.rounds <= 8 ? "round " : "") + std::to_string(round + 1), " text-anchor=\"middle\"");
    }
  }

  // The blocks that a rank holds: a cell for each, filled as high as it holds contributions.
  void draw_strip(uint32_t time, uint32_t rank) {
    const double left = x_of(time), top = y_of(rank) - strip_h_ / 2;
    svg_.box(left - 1.5, top - 1.5, strip_w_ + 3, strip_h_ + 3, "#ffffff", 1, " rx=\"3\"");
    for (uint32_t block = 0; block < t_.blocks; ++block) {
      const uint32_t row = block / columns_, column = block % columns_;
      const double x = left + column * cell_w_, y = top + row * cell_h_;
      const uint32_t held = t_.contributions(time, rank, block);
      const double share = caption_.reduction ? static_cast<double>(held) / t_.ranks : held > 0 ? 1 : 0;
      draw_cell(x, y, cell_w_ - 1, rows_ > 1 ? cell_h_ - 1 : cell_h_, share, colour(block_colour(block), colours()));
    }
  }

  void draw_cell(double x, double y, double w, double h, double share, const std::string& fill) {
    svg_.box(x, y, w, h, share > 0 ? fill : kFaint, share > 0 ? 0.18 : 0.12);
    if (share > 0) svg_.box(x, y + h * (1 - share), w, h * share, fill, share < 1 ? 0.6 : 1);
  }

  uint32_t colours() const { return rows_ > 1 ? t_.ranks : t_.blocks; }
  uint32_t block_colour(uint32_t block) const { return rows_ > 1 ? block / columns_ : block; }

  // Where along the height of a strip the ends of messages stand, so that they do not lie on each other.
  double spread(size_t place, size_t of) const {
    if (of < 2) return 0;
    const double room = std::min(row_h_ - 12, 11.0 * static_cast<double>(of - 1));
    return room * (static_cast<double>(place) / static_cast<double>(of - 1) - 0.5);
  }

  void draw_messages() {
    std::map<std::pair<uint32_t, uint32_t>, std::vector<size_t>> leaving, coming;  // by rank and time
    for (size_t i = 0; i < t_.messages.size(); ++i) {
      leaving[{t_.messages[i].from, t_.messages[i].departs}].push_back(i);
      coming[{t_.messages[i].to, t_.messages[i].taken}].push_back(i);
    }
    std::vector<double> start(t_.messages.size()), end(t_.messages.size());
    const auto place = [&](auto& groups, std::vector<double>& offsets, auto other) {
      for (auto& [where, group] : groups) {
        std::ranges::stable_sort(group, {}, [&](size_t i) { return other(t_.messages[i]); });
        for (size_t k = 0; k < group.size(); ++k) offsets[group[k]] = spread(k, group.size());
      }
    };
    place(leaving, start, [](const TimedMessage& m) { return m.to; });
    place(coming, end, [](const TimedMessage& m) { return m.from; });
    for (size_t i = 0; i < t_.messages.size(); ++i) draw_message(t_.messages[i], start[i], end[i]);
  }

  // A ribbon with one line for each block, over a white shadow that parts it from what it crosses.
  void draw_message(const TimedMessage& m, double start, double end) {
    const double x0 = x_of(m.departs) + strip_w_ + 4, y0 = y_of(m.from) + start;
    const double x1 = x_of(m.taken) - 11, y1 = y_of(m.to) + end;
    const double reach = (x1 - x0) * 0.48, line = std::clamp(10.0 / m.count, 0.8, 2.0);
    // Keeps the lines of a ribbon apart where it is steep.
    const double lean = (y0 - y1) / std::hypot(x1 - x0, y1 - y0) / 0.75;
    const auto curve = [&](double shift, double w, const std::string& stroke) {
      const double y = y0 + shift, across = reach + shift * lean, back = reach - shift * lean;
      svg_.line(go("M", {x0, y}) + go("C", {x0 + across, y, x1 - back, y1 + shift, x1, y1 + shift}), stroke, w);
    };
    curve(0, line * m.count + 2.4, "#ffffff");
    for (uint32_t i = 0; i < m.count; ++i) {
      const uint32_t block = (m.block + i) % t_.blocks;
      curve((i - (m.count - 1) / 2.0) * line, line, colour(block_colour(block), colours()));
    }
    draw_head(x1 + 4, y1, m.reduced, colour(block_colour(m.block), colours()), line * m.count);
  }

  void draw_head(double x, double y, bool reduced, const std::string& fill, double width) {
    const double r = std::max(4.2, width / 2 + 1.5);
    if (!reduced) {
      svg_.shape(go("M", {x + 5, y}) + go("l", {-r - 4, -r}) + go("v", {2 * r}) + "z", fill);
      return;
    }
    const double arm = r - 1.8;
    svg_.circle(x, y, r, fill);
    svg_.line(go("M", {x - arm, y}) + go("h", {2 * arm}) + go("M", {x, y - arm}) + go("v", {2 * arm}), fill, 1.6);
  }

  void draw_legend(double y) {
    double x = kMargin;
    const char* unit = rows_ > 1 ? "from rank " : "block ";
    if (colours() <= 10) {
      for (uint32_t i = 0; i < colours(); ++i) {
        svg_.box(x, y - 9, 11, 11, colour(i, colours()), 1, " rx=\"2\"");
        const std::string text = (i == 0 ? unit : "") + std::to_string(i);
        svg_.words(x + 16, y, 11.5, kInk, text);
        x += 28 + 6.4 * static_cast<double>(text.size());
      }
    }
    y += 26;
    x = kMargin;
    if (caption_.reduction) {
      draw_head(x + 6, y - 4, true, kFaint, 2);
      svg_.words(x + 17, y, 11.5, kFaint, "received and reduced");
      x += 150;
    }
    draw_head(x + 6, y - 4, false, kFaint, 2);
    svg_.words(x + 17, y, 11.5, kFaint, "received");
    x += 86;
    if (!caption_.reduction) return;
    for (const double share : {0.25, 0.5, 1.0}) {
      draw_cell(x, y - 11, 9, 14, share, kFaint);
      x += 11;
    }
    svg_.words(x + 6, y, 11.5, kFaint, "a block with a quarter, half, all of the contributions");
  }

  const Timeline& t_;
  const Caption& caption_;
  Svg svg_;
  uint32_t columns_, rows_;
  double cell_w_, cell_h_, strip_w_, strip_h_, gap_, row_h_;
};

}  // namespace

std::string draw_svg(const Timeline& timeline, const Caption& caption) { return Picture(timeline, caption).draw(); }

}  // namespace tutti

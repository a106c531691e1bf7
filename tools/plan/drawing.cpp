#include "drawing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

namespace tutti {
namespace {

constexpr const char* kInk = "#24292f";
constexpr const char* kFaint = "#6e7781";
constexpr double kMargin = 28, kTop = 96, kRankWidth = 74, kLegend = 70, kNarrowest = 620;

// Colours of equal weight, told apart by most eyes; more than eight go round the circle of hues.
std::string colour(uint32_t block, uint32_t blocks) {
  static constexpr std::array kEight{"#4477aa", "#ee7733", "#228833", "#cc3366", "#33bbcc", "#ccaa22", "#8855bb", "#88664c"};
  if (blocks <= kEight.size()) return kEight[block];
  const double hue = 6.0 * block / blocks;
  const auto channel = [hue](double offset) {
    const double k = std::fmod(offset + hue, 6.0);
    return static_cast<int>(210 - 150 * std::clamp(std::min(k, 4 - k), 0.0, 1.0));
  };
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", channel(5) & 255, channel(3) & 255, channel(1) & 255);
  return text;
}

class Svg {
 public:
  __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
    std::array<char, 1024> line;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line.data(), line.size(), format, arguments);
    va_end(arguments);
    text_ += line.data();
    text_ += '\n';
  }
  void words(double x, double y, double size, const char* fill, const char* anchor, const std::string& text,
             const char* more = "") {
    add("<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.1f\" fill=\"%s\" text-anchor=\"%s\" %s>%s</text>", x, y, size, fill, anchor,
        more, text.c_str());
  }
  void box(double x, double y, double w, double h, const char* fill, double opacity, const char* more = "") {
    add("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" fill-opacity=\"%.2f\" %s/>", x, y, w, h, fill,
        opacity, more);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

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
    svg_.add(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
        "font-family=\"Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif\">",
        full, grid_end + kLegend, full, grid_end + kLegend);
    svg_.add("<title>%s</title>", caption_.title.c_str());
    svg_.box(0, 0, full, grid_end + kLegend, "#ffffff", 1, "rx=\"10\"");
    svg_.words(kMargin, 38, 19, kInk, "start", caption_.title, "font-weight=\"600\"");
    svg_.words(kMargin, 60, 12.5, kFaint, "start", caption_.subtitle);
    draw_grid(full);
    draw_messages();
    for (uint32_t time = 0; time <= t_.rounds; ++time) {
      for (uint32_t rank = 0; rank < t_.ranks; ++rank) draw_strip(time, rank);
    }
    draw_legend(grid_end + 26);
    svg_.add("</svg>");
    return svg_.take();
  }

 private:
  double width() const { return x_of(t_.rounds) + strip_w_ + kMargin; }
  double x_of(uint32_t time) const { return kMargin + kRankWidth + time * (strip_w_ + gap_); }  // left edge of the strips
  double y_of(uint32_t rank) const { return kTop + (rank + 0.5) * row_h_; }                     // middle of the row

  void draw_grid(double width) {
    for (uint32_t rank = 0; rank < t_.ranks; ++rank) {
      if (rank % 2 == 0)
        svg_.box(kMargin - 12, y_of(rank) - row_h_ / 2, width - 2 * kMargin + 24, row_h_, "#f6f8fa", 1, "rx=\"6\"");
      const bool root = caption_.root == static_cast<int>(rank);
      svg_.words(kMargin, y_of(rank) + (root ? -1 : 4.5), 13, kInk, "start", "rank " + std::to_string(rank));
      if (root) svg_.words(kMargin, y_of(rank) + 13, 11, kFaint, "start", "root");
    }
    for (uint32_t round = 0; round < t_.rounds; ++round) {
      svg_.words(x_of(round) + strip_w_ + gap_ / 2, kTop - 8, 11.5, kFaint, "middle",
                 (t_.rounds <= 8 ? "round " : "") + std::to_string(round + 1));
    }
  }

  // What a rank holds: a cell for each block, filled as high as it holds contributions.
  void draw_strip(uint32_t time, uint32_t rank) {
    const double left = x_of(time), top = y_of(rank) - strip_h_ / 2;
    svg_.box(left - 1.5, top - 1.5, strip_w_ + 3, strip_h_ + 3, "#ffffff", 1, "rx=\"3\"");
    for (uint32_t block = 0; block < t_.blocks; ++block) {
      const double x = left + block % columns_ * cell_w_, y = top + block / columns_ * cell_h_;
      const uint32_t held = t_.contributions(time, rank, block);
      const double share = caption_.reduction ? static_cast<double>(held) / t_.ranks : held > 0 ? 1 : 0;
      draw_cell(x, y, cell_w_ - 1, rows_ > 1 ? cell_h_ - 1 : cell_h_, share, colour(block_colour(block), colours()));
    }
  }

  void draw_cell(double x, double y, double w, double h, double share, const std::string& fill) {
    svg_.box(x, y, w, h, share > 0 ? fill.c_str() : kFaint, share > 0 ? 0.18 : 0.12);
    if (share > 0) svg_.box(x, y + h * (1 - share), w, h * share, fill.c_str(), share < 1 ? 0.6 : 1);
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
    const double lean = (y0 - y1) / std::hypot(x1 - x0, y1 - y0) / 0.75;  // keeps the lines of a ribbon apart where it is steep
    const auto curve = [&](double shift, double w, const char* stroke) {
      const double y = y0 + shift, across = reach + shift * lean, back = reach - shift * lean;
      svg_.add("<path d=\"M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f\" fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\"/>", x0, y,
               x0 + across, y, x1 - back, y1 + shift, x1, y1 + shift, stroke, w);
    };
    curve(0, line * m.count + 2.4, "#ffffff");
    for (uint32_t i = 0; i < m.count; ++i) {
      const uint32_t block = (m.block + i) % t_.blocks;
      curve((i - (m.count - 1) / 2.0) * line, line, colour(block_colour(block), colours()).c_str());
    }
    draw_head(x1 + 4, y1, m.reduced, colour(block_colour(m.block), colours()), line * m.count);
  }

  void draw_head(double x, double y, bool reduced, const std::string& fill, double width) {
    const double r = std::max(4.2, width / 2 + 1.5);
    if (!reduced) {
      svg_.add("<path d=\"M%.1f %.1f l%.1f %.1f l0 %.1f z\" fill=\"%s\"/>", x + 5, y, -r - 4, -r, 2 * r, fill.c_str());
      return;
    }
    svg_.add("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"#ffffff\" stroke=\"%s\" stroke-width=\"1.6\"/>", x, y, r,
             fill.c_str());
    svg_.add("<path d=\"M%.1f %.1f h%.1f M%.1f %.1f v%.1f\" stroke=\"%s\" stroke-width=\"1.6\"/>", x - r + 1.8, y, 2 * r - 3.6, x,
             y - r + 1.8, 2 * r - 3.6, fill.c_str());
  }

  void draw_legend(double y) {
    double x = kMargin;
    const char* unit = rows_ > 1 ? "from rank " : "block ";
    if (colours() <= 10) {
      for (uint32_t i = 0; i < colours(); ++i) {
        svg_.box(x, y - 9, 11, 11, colour(i, colours()).c_str(), 1, "rx=\"2\"");
        const std::string text = (i == 0 ? unit : "") + std::to_string(i);
        svg_.words(x + 16, y, 11.5, kInk, "start", text);
        x += 28 + 6.4 * static_cast<double>(text.size());
      }
    }
    y += 26;
    x = kMargin;
    if (caption_.reduction) {
      draw_head(x + 6, y - 4, true, kFaint, 2);
      svg_.words(x + 17, y, 11.5, kFaint, "start", "received and reduced");
      x += 150;
    }
    draw_head(x + 6, y - 4, false, kFaint, 2);
    svg_.words(x + 17, y, 11.5, kFaint, "start", "received");
    x += 86;
    if (!caption_.reduction) return;
    for (const double share : {0.25, 0.5, 1.0}) {
      draw_cell(x, y - 11, 9, 14, share, kFaint);
      x += 11;
    }
    svg_.words(x + 6, y, 11.5, kFaint, "start", "a block with a quarter, half, all of the contributions");
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

#include "svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

namespace tutti {
namespace {

std::string with(const char* name, const std::string& value) { return std::string(name) + "=\"" + value + "\""; }
std::string at(const char* name, double value) { return with(name, number(value)); }
std::string pen(const std::string& stroke, double width) { return with(" stroke", stroke) + with(" stroke-width", number(width)); }

}  // namespace

std::string colour(uint32_t index, uint32_t of) {
  static constexpr std::array kEight{"#4477aa", "#ee7733", "#228833", "#cc3366", "#33bbcc", "#ccaa22", "#8855bb", "#88664c"};
  if (of <= kEight.size()) return kEight[index];
  const double hue = 6.0 * index / of;
  const auto channel = [hue](double offset) {
    const double k = std::fmod(offset + hue, 6.0);
    return static_cast<int>(210 - 150 * std::clamp(std::min(k, 4 - k), 0.0, 1.0));
  };
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", channel(5) & 255, channel(3) & 255, channel(1) & 255);
  return text;
}

std::string number(double value, const char* format) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

void Svg::open(double width, double height, const std::string& title) {
  const std::string w = number(width, "%.0f"), h = number(height, "%.0f");
  add("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + w + "\" height=\"" + h + "\" viewBox=\"0 0 " + w + " " + h +
      "\" font-family=\"Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif\">");
  add("<title>" + title + "</title>");
  box(0, 0, width, height, "#ffffff", 1, " rx=\"10\"");
}

void Svg::words(double x, double y, double size, const char* fill, const std::string& text, const char* more) {
  add("<text" + at(" x", x) + at(" y", y) + at(" font-size", size) + with(" fill", fill) + more + ">" + text + "</text>");
}

void Svg::box(double x, double y, double w, double h, const std::string& fill, double opacity, const char* more) {
  add("<rect" + at(" x", x) + at(" y", y) + at(" width", w) + at(" height", h) + with(" fill", fill) +
      with(" fill-opacity", number(opacity, "%.2f")) + more + "/>");
}

void Svg::circle(double x, double y, double r, const std::string& stroke) {
  add("<circle" + at(" cx", x) + at(" cy", y) + at(" r", r) + with(" fill", "#ffffff") + pen(stroke, 1.6) + "/>");
}

void Svg::shape(const std::string& path, const std::string& fill) { add("<path" + with(" d", path) + with(" fill", fill) + "/>"); }

void Svg::line(const std::string& path, const std::string& stroke, double width) {
  add("<path" + with(" d", path) + with(" fill", "none") + pen(stroke, width) + "/>");
}

std::string Svg::close() {
  add("</svg>");
  return std::move(text_);
}

}  // namespace tutti

// The elements of SVG that the pictures need.
#pragma once

#include <cstdint>
#include <string>

namespace tutti {

inline constexpr const char* kInk = "#24292f";
inline constexpr const char* kFaint = "#6e7781";

// Colours of equal weight, told apart by most eyes; more than eight go round the circle of hues.
std::string colour(uint32_t index, uint32_t of);

std::string number(double value, const char* format = "%.1f");

class Svg {
 public:
  void open(double width, double height, const std::string& title);  // a white card
  void words(double x, double y, double size, const char* fill, const std::string& text, const char* more = "");
  void box(double x, double y, double w, double h, const std::string& fill, double opacity, const char* more = "");
  void circle(double x, double y, double r, const std::string& stroke);
  void shape(const std::string& path, const std::string& fill);
  void line(const std::string& path, const std::string& stroke, double width);
  std::string close();

 private:
  void add(const std::string& element) { text_ += element + '\n'; }
  std::string text_;
};

}  // namespace tutti

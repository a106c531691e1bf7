// A collective as a picture: ranks are rows, rounds are columns, messages are curves in the colours of their blocks,
// and between the rounds stands what each rank holds.
#pragma once

#include <string>

#include "timeline.h"

namespace tutti {

struct Caption {
  std::string title, subtitle;
  int root = -1;           // marked if there is one
  bool reduction = false;  // blocks fill up with contributions
};

std::string draw_svg(const Timeline& timeline, const Caption& caption);

}  // namespace tutti

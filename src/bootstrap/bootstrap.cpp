#include "bootstrap.h"

#include <algorithm>
#include <cerrno>

#include "clock.h"

namespace tutti {

Result<bool> await(Bootstrap& bootstrap, std::span<pollfd> set, uint64_t until) {
  until = std::min(until, bootstrap.deadline());
  std::vector<pollfd> all(set.begin(), set.end());
  all.push_back({bootstrap.watched(), POLLIN, 0});
  for (;;) {
    const uint64_t now = now_ns();
    const int ready = ::poll(all.data(), all.size(), wait_ms(now, until));
    if (ready < 0 && errno != EINTR) return system_error("waiting during the bootstrap of a communicator");
    if (ready > 0 && all.back().revents != 0)
      if (Status failure = bootstrap.heard(); !failure.ok()) return failure;
    if (ready > 0) {
      for (size_t i = 0; i < set.size(); ++i) set[i].revents = all[i].revents;
      if (std::any_of(set.begin(), set.end(), [](const pollfd& entry) { return entry.revents != 0; })) return true;
    }
    if (now >= until) return false;
  }
}

}  // namespace tutti

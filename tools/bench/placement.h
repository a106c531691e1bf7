// Where the ranks' cores sit, as a ping-pong of one cache line tells: cores that share a last-level cache answer in 130
// to 300 ns, others in 500 and more, and a hypervisor moves virtual cores while we measure.  Times are comparable only
// at equal placement.
#pragma once

#include <memory>
#include <string>

#include "roster.h"
#include "stopwatch.h"

namespace tutti::bench {

struct Placement {
  // SAME, CROSS; BUSY: something else runs on a core; CROWDED: ranks outnumber cores; HOSTS: several hosts; UNKNOWN: no
  // shared page.
  std::string tag = "UNKNOWN";
  double round_trip_ns = 0;  // of the slowest pair of neighbours; 0 where not measured
};
inline constexpr double kSameBelowNs = 400, kCrossBelowNs = 2000;

// The tag of a sample taken between two looks: MOVED if they differ by more than a half.
std::string placement_between(const Placement& before, const Placement& after);

class PlacementProbe {
 public:
  // Collective.  Shares a page with the ranks of the host if that is possible.
  static Result<PlacementProbe> create(const Job& job, const Roster& roster);
  // Collective; takes about a millisecond.
  Result<Placement> look(const Job& job, const Stopwatch& watch);

 private:
  struct Page;
  struct Unmap {
    void operator()(Page* page) const;
  };
  double ping_pong(size_t pair, bool leads, const Stopwatch& watch);

  std::unique_ptr<Page, Unmap> page_;  // null: `verdict_` stands
  std::string verdict_;
  uint64_t looks_ = 0;
};

}  // namespace tutti::bench

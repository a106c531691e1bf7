// The root's judgement of stalled ranks' reports: which rank is late, which called something else, which has stopped.
// Pure: the time is an argument.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control_frames.h"

namespace tutti {

// Stalled ranks report each second; one that stops doing so moves again.
inline constexpr uint64_t kStallFreshNs = 3'000'000'000;
inline constexpr uint64_t kLateNs = 30'000'000'000;       // of waiting, until the late rank is logged
// Messages to a rank that has waited longer have long arrived.
inline constexpr uint64_t kSureNs = 5'000'000'000;
inline constexpr uint64_t kExitGraceNs = 1'000'000'000;   // between the end of a process and its being a death
// After the first deadline, for the other ranks' reports and for suspects.
inline constexpr uint64_t kVerdictDelayNs = 600'000'000;

// The same words wherever in the tree it is noticed.
Cause silent_cause(int rank, const std::string& rank_name);
Cause died_cause(int rank, const std::string& rank_name);
// The view of a waiting rank by itself: the rank that it waits for is late.
Cause late_cause(int culprit, int waiter, const Stall& stall, const std::vector<std::string>& rank_names);

class ControlJudge {
 public:
  // A standstill of all ranks in different calls for `settle_ns` is a mismatch.
  explicit ControlJudge(std::vector<std::string> rank_names, uint64_t settle_ns = 0);
  void set_settle(uint64_t ns) { settle_ns_ = ns; }

  // A rank's report.  The verdict, if it shows that ranks called different things.
  // `query`: the last one that the rank had heard when it reported.
  std::optional<Cause> stalled(int rank, const Stall& stall, uint64_t now, uint32_t query = 0);
  // The same, and the rank's deadline is over: a verdict will come from `due`.
  std::optional<Cause> timed_out(int rank, const Stall& stall, uint64_t now, uint32_t query = 0);
  void suspect(int rank) { suspects_.insert(rank); }
  void leaving(int rank) { left_.insert(rank); }
  // Nothing more is heard of it, so the end of its process says nothing.
  void unheard(int rank) { unheard_.insert(rank); }
  // Its process has ended.  Its last frames may still be on their way here, so the verdict comes later, from `due`.
  void exited(int rank, uint64_t now);

  // A query to send to all ranks: reports that name it were made after it, however long others were under way.
  std::optional<uint32_t> query() { return std::exchange(unsent_query_, std::nullopt); }

  std::optional<Cause> due(uint64_t now);

  struct Late {
    int rank;
    std::string text;
  };
  // A rank that has just become so late that the waiters should know; each call of each rank once.
  std::optional<Late> late(uint64_t now);

  uint64_t next() const;  // when `due` or `late` may have something new; UINT64_MAX: not before the next report

 private:
  struct Report {
    Stall stall;
    uint64_t at = 0;  // 0: none
    uint32_t query = 0;
  };

  bool fresh(int rank, uint64_t now) const;
  int blamed_by(int rank, uint64_t now) const;
  std::optional<Cause> contradiction(int rank, uint64_t now);
  std::optional<std::pair<int, int>> apart(uint64_t now, uint64_t least) const;
  std::optional<Cause> standstill(uint64_t now);
  std::optional<Cause> expired(uint64_t now);
  std::string circle_from(int rank, uint64_t now) const;
  std::optional<Cause> departure(int rank, uint64_t now) const;
  Cause different(int a, int b) const;

  std::vector<std::string> rank_names_;
  uint64_t settle_ns_;
  std::vector<Report> reports_;  // by rank
  std::set<int> suspects_;
  std::set<int> left_;     // called destroy
  std::set<int> unheard_;
  std::map<int, uint64_t> exits_;  // of ranks whose processes have ended: when that is the verdict
  uint32_t query_ = 0;             // the last one
  uint64_t queried_at_ = 0;
  std::optional<uint32_t> unsent_query_;
  int first_waiter_ = -1;  // whose deadline was over first
  uint64_t due_at_ = UINT64_MAX;
  // The waiters of one late rank do not cross the line at the same moment.
  uint64_t late_at_ = UINT64_MAX;
  std::set<std::pair<int, uint32_t>> reported_late_;  // rank, sequence
};

}  // namespace tutti

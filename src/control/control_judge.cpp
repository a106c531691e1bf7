#include "control_judge.h"

#include <algorithm>
#include <cstdio>

namespace tutti {
namespace {

constexpr uint64_t kLateGatherNs = 1'200'000'000;
constexpr size_t kMostReported = 1024;  // the memory of late calls is bounded

std::string in_seconds(uint64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) * 1e-9);
  return text;
}

std::string where(const Stall& stall) {
  std::string text = describe(stall.signature);
  if (stall.steps > 0) text += ", step " + std::to_string(stall.step) + " of " + std::to_string(stall.steps);
  return text;
}

// The difference of two signatures of which describe() shows the same words.
std::string hidden_difference(const Signature& a, const Signature& b) {
  if (describe(a) != describe(b)) return "";
  if (a.version != b.version) return " (their versions of Tutti differ)";
  if (a.algorithm != b.algorithm && a.algorithm != kQuestion && b.algorithm != kQuestion)
    return " (by different algorithms: settings or call options differ)";
  if (a.context != b.context) return " (of different communicators)";
  return " (with different counts, data types, operators or roots)";
}

}  // namespace

Cause silent_cause(int rank, const std::string& rank_name) {
  return {rank, false, Status(Code::timeout, rank_name + " does not answer: its process is stopped, or its host is gone")};
}

Cause died_cause(int rank, const std::string& rank_name) {
  return {rank, true, Status(Code::peer_lost, rank_name + " died or closed its connections")};
}

Cause late_cause(int culprit, int waiter, const Stall& stall, const std::vector<std::string>& rank_names) {
  const std::string& who = rank_names[static_cast<size_t>(waiter)];
  const std::string waited = " waited " + in_seconds(stall.waited_ns);
  if (culprit < 0 || culprit == waiter)
    return {-1, false, Status(Code::timeout, "no progress: " + who + waited + " in " + where(stall))};
  return {culprit, false,
          Status(Code::timeout, rank_names[static_cast<size_t>(culprit)] + " is late: " + who + waited + " in " + where(stall))};
}

ControlJudge::ControlJudge(std::vector<std::string> rank_names, uint64_t settle_ns)
    : rank_names_(std::move(rank_names)), settle_ns_(settle_ns), reports_(rank_names_.size()) {}

bool ControlJudge::fresh(int rank, uint64_t now) const {
  const Report& report = reports_[static_cast<size_t>(rank)];
  return report.at != 0 && now < report.at + kStallFreshNs;
}

std::optional<Cause> ControlJudge::stalled(int rank, const Stall& stall, uint64_t now, uint32_t query) {
  reports_[static_cast<size_t>(rank)] = {stall, now, query};
  if (stall.waited_ns >= kLateNs && late_at_ == UINT64_MAX) late_at_ = now + kLateGatherNs;
  if (auto gone = departure(rank, now)) return gone;
  return contradiction(rank, now);
}

std::optional<Cause> ControlJudge::timed_out(int rank, const Stall& stall, uint64_t now, uint32_t query) {
  reports_[static_cast<size_t>(rank)] = {stall, now, query};
  if (first_waiter_ < 0) {
    first_waiter_ = rank;
    due_at_ = now + kVerdictDelayNs;
  }
  return contradiction(rank, now);
}

Cause ControlJudge::different(int a, int b) const {
  const auto part = [this](int rank) {
    return rank_names_[static_cast<size_t>(rank)] + " is in " + describe(reports_[static_cast<size_t>(rank)].stall.signature);
  };
  return {-1, false,
          Status(Code::mismatch, "ranks called different things: " + part(std::min(a, b)) + "; " + part(std::max(a, b)) +
                                     hidden_difference(reports_[static_cast<size_t>(a)].stall.signature,
                                                       reports_[static_cast<size_t>(b)].stall.signature))};
}

// Two ranks that stalled in calls of the same number but called different things.  The reports may be of different
// times.  Point to point calls have no number and prove nothing.
std::optional<Cause> ControlJudge::contradiction(int rank, uint64_t now) {
  const Signature& mine = reports_[static_cast<size_t>(rank)].stall.signature;
  if (mine.sequence == 0) return std::nullopt;
  for (int other = 0; other < static_cast<int>(reports_.size()); ++other) {
    const Report& report = reports_[static_cast<size_t>(other)];
    if (report.at != 0 && report.stall.signature.sequence == mine.sequence && !same_call(report.stall.signature, mine))
      return different(rank, other);
  }
  return standstill(now);
}

// If all ranks have stalled for `least` in collectives, and not all in the same: two of them.  A rank's device may be
// in another call than its host: that proves nothing before a deadline is over.
std::optional<std::pair<int, int>> ControlJudge::apart(uint64_t now, uint64_t least) const {
  int first = 0, last = 0;
  const auto sequence = [this](int r) { return reports_[static_cast<size_t>(r)].stall.signature.sequence; };
  for (int rank = 0; rank < static_cast<int>(reports_.size()); ++rank) {
    const uint64_t waited = reports_[static_cast<size_t>(rank)].stall.waited_ns;
    const bool on_device = (reports_[static_cast<size_t>(rank)].stall.signature.data_type & kOnDevice) != 0;
    if (!fresh(rank, now) || sequence(rank) == 0 || waited < least || (on_device && least > 0)) return std::nullopt;
    if (sequence(rank) < sequence(first)) first = rank;
    if (sequence(rank) > sequence(last)) last = rank;
  }
  return sequence(first) != sequence(last) ? std::optional(std::pair(first, last)) : std::nullopt;
}

// Ranks that stall in different collectives may be right for a while: with asynchronous calls, a broadcast's root that
// runs ahead, or lost packets that are sent again.  After an interruption of the network old reports arrive with new
// ones.  So the ranks are queried.  Only if all report after that, and again settle_ns later, that nothing has moved
// for long is it a standstill.
std::optional<Cause> ControlJudge::standstill(uint64_t now) {
  const auto pair = apart(now, kSureNs);
  if (!pair) {
    queried_at_ = 0;
    return std::nullopt;
  }
  if (queried_at_ == 0) {
    unsent_query_ = ++query_;
    queried_at_ = now;
  }
  const bool all_answered = std::all_of(reports_.begin(), reports_.end(), [this](const Report& r) { return r.query == query_; });
  if (!all_answered || now < queried_at_ + settle_ns_) return std::nullopt;
  return different(pair->first, pair->second);
}

void ControlJudge::exited(int rank, uint64_t now) { exits_.emplace(rank, now + kExitGraceNs); }

std::optional<Cause> ControlJudge::expired(uint64_t now) {
  for (auto exit = exits_.begin(); exit != exits_.end();) {
    if (now < exit->second) {
      ++exit;
      continue;
    }
    const int rank = exit->first;
    exit = exits_.erase(exit);
    if (!left_.contains(rank) && !unheard_.contains(rank)) return died_cause(rank, rank_names_[static_cast<size_t>(rank)]);
  }
  return std::nullopt;
}

// A rank that called destroy sends nothing more, and its earlier messages have long arrived when a wait is sure.
std::optional<Cause> ControlJudge::departure(int rank, uint64_t now) const {
  const Stall& stall = reports_[static_cast<size_t>(rank)].stall;
  if (stall.waited_ns < kSureNs || left_.empty()) return std::nullopt;
  const int culprit = blamed_by(rank, now);
  if (culprit < 0 || !left_.contains(culprit)) return std::nullopt;
  return Cause{culprit, false,
               Status(Code::peer_lost, rank_names_[static_cast<size_t>(culprit)] + " has left: it called tutti_comm_destroy, and " +
                                           rank_names_[static_cast<size_t>(rank)] + " waits for it in " + where(stall))};
}

// Follows waits_for from a stalled rank to one that reports no stall.  -1: they wait in a circle, or for nobody.
int ControlJudge::blamed_by(int rank, uint64_t now) const {
  for (size_t hops = 0; hops <= reports_.size(); ++hops) {
    if (!fresh(rank, now)) return rank;
    rank = reports_[static_cast<size_t>(rank)].stall.waits_for;
    if (rank < 0) return -1;
  }
  return -1;
}

// "rank 0 is in …, and waits for rank 1; rank 1 is in …": the ranks that wait for one another, from the one that `rank`
// waits for; "" if there is no circle.
std::string ControlJudge::circle_from(int rank, uint64_t now) const {
  std::vector<int> path;
  while (rank >= 0 && fresh(rank, now) && std::count(path.begin(), path.end(), rank) == 0) {
    path.push_back(rank);
    rank = reports_[static_cast<size_t>(rank)].stall.waits_for;
  }
  const auto begin = std::find(path.begin(), path.end(), rank);
  std::string text;
  for (auto member = begin; member != path.end(); ++member) {
    const Stall& stall = reports_[static_cast<size_t>(*member)].stall;
    text += (text.empty() ? "" : "; ") + rank_names_[static_cast<size_t>(*member)] + " is in " + where(stall) +
            " and waits for rank " +
            std::to_string(stall.waits_for);
  }
  return text;
}

std::optional<Cause> ControlJudge::due(uint64_t now) {
  if (auto death = expired(now)) return death;
  if (now < due_at_) return std::nullopt;
  due_at_ = UINT64_MAX;
  if (!suspects_.empty()) {
    const int rank = *suspects_.begin();
    return silent_cause(rank, rank_names_[static_cast<size_t>(rank)]);
  }
  if (const auto pair = apart(now, 0)) return different(pair->first, pair->second);
  const Stall& stall = reports_[static_cast<size_t>(first_waiter_)].stall;
  if (const std::string circle = circle_from(first_waiter_, now); !circle.empty())
    return Cause{-1, false,
                 Status(Code::timeout, "ranks wait for one another, and nothing moved for " + in_seconds(stall.waited_ns) +
                                           ": " + circle)};
  return late_cause(blamed_by(first_waiter_, now), first_waiter_, stall, rank_names_);
}

std::optional<ControlJudge::Late> ControlJudge::late(uint64_t now) {
  if (now < late_at_) return std::nullopt;
  late_at_ = UINT64_MAX;
  for (int waiter = 0; waiter < static_cast<int>(reports_.size()); ++waiter) {
    const Stall& stall = reports_[static_cast<size_t>(waiter)].stall;
    if (!fresh(waiter, now) || stall.waited_ns < kLateNs) continue;
    const int culprit = blamed_by(waiter, now);
    if (culprit < 0 || reported_late_.size() >= kMostReported) continue;
    if (!reported_late_.emplace(culprit, stall.signature.sequence).second) continue;
    int waiters = 0;
    for (int rank = 0; rank < static_cast<int>(reports_.size()); ++rank)
      if (fresh(rank, now) && reports_[static_cast<size_t>(rank)].stall.waited_ns >= kLateNs && blamed_by(rank, now) == culprit)
        ++waiters;
    late_at_ = now;  // there may be a second one
    return Late{culprit, rank_names_[static_cast<size_t>(culprit)] + " is late: " + std::to_string(waiters) +
                             (waiters == 1 ? " rank has" : " ranks have") + " waited 30 s for it in " + describe(stall.signature)};
  }
  return std::nullopt;
}

uint64_t ControlJudge::next() const {
  uint64_t next = std::min(due_at_, late_at_);
  for (const auto& [rank, at] : exits_) next = std::min(next, at);
  return next;
}

}  // namespace tutti

// The end of a control tree: goodbyes, and the departures and deaths that the root hears of.
#include <algorithm>
#include <chrono>
#include <set>

#include "clock.h"
#include "control_tree.h"

namespace tutti {
namespace {

constexpr uint64_t kLongestLook = kSecond;  // that counts as waiting: a job that was stopped is not late
constexpr uint64_t kGoodbyeNotice = 30 * kSecond;

}  // namespace

Status ControlTree::goodbye(std::optional<uint64_t> limit_ns) {
  std::unique_lock lock(thread_->mutex());
  leaving_ = true;
  if (!over()) {
    for (size_t i = 0; i < neighbours_.size(); ++i)
      if (is_child(i)) send(neighbours_[i], frame_of(FrameKind::leaving, options_.rank));
    report_leaving(options_.rank);
  }
  if (!over()) advance_goodbye();
  if (failed()) return failure_;
  return thread_->has_staying() ? Status() : wait_for_others(lock, limit_ns);
}

// This process has no other communicator.  The ranks below, in this and other trees, may need it to pass messages on.
Status ControlTree::wait_for_others(std::unique_lock<std::mutex>& lock, std::optional<uint64_t> limit_ns) {
  const uint64_t limit = limit_ns.value_or(timeout_ns_);
  uint64_t waited = 0, logged = 0;
  for (uint64_t last = now_ns(); !thread_->all_done() && !thread_->has_staying();) {
    if (waited >= limit && limit_ns) break;
    if (waited >= limit)
      return Status(Code::timeout, "not all ranks have called tutti_comm_destroy within TUTTI_TIMEOUT: " + thread_->awaited_ones());
    const uint64_t slice = std::min(kLongestLook, limit - waited);
    thread_->changed().wait_for(lock, std::chrono::nanoseconds(slice));
    const uint64_t now = now_ns();
    waited += std::min(now - last, kLongestLook);
    last = now;
    if (waited < logged + kGoodbyeNotice) continue;
    logged = waited;
    options_.log.warn("tutti_comm_destroy waits until others have called it, too: " + thread_->awaited_ones());
  }
  return failed() ? failure_ : Status();
}

void Control::retire(std::unique_ptr<Control> control) {
  if (!control) return;
  auto* const tree = dynamic_cast<ControlTree*>(control.get());
  if (!tree) return;
  const std::shared_ptr<ControlThread> thread = tree->thread_keeper_;
  const auto is_needed = [&] {
    const std::lock_guard lock(thread->mutex());
    return tree->is_leaving() && !tree->is_done();
  };
  if (!is_needed()) return;
  tree->thread_keeper_.reset();
  (void)!control.release();
  thread->keep(std::unique_ptr<ControlMember>(tree));
  outlive_communicators(thread);
}

std::string ControlTree::awaited_ones() const {
  std::set<int> silent;  // children are kept in the order in which they connected
  for (size_t i = 0; i < neighbours_.size(); ++i)
    if (is_child(i) && !neighbours_[i].goodbye) silent.insert(neighbours_[i].rank);
  std::string text = "of communicator " + options_.name;
  for (const int rank : silent) text += (rank == *silent.begin() ? " " : ", ") + name_of(rank) + " or a rank behind it";
  return text;
}

// The ranks that still wait for a leaving rank must learn that they wait in vain.
void ControlTree::report_leaving(int rank) {
  if (parent() == nullptr) return judge_.leaving(rank);
  send_up(frame_of(FrameKind::leaving, rank));
}

// The same way.  The root knows which ranks have left, so it distinguishes deaths from departures.
void ControlTree::report_exit(int rank) {
  if (parent() == nullptr) return judge_.exited(rank, now_ns());
  send_up(frame_of(FrameKind::exited, rank));
}

// A neighbour has left and closed its connection, although not all ranks behind it are done.  This part of the tree and
// theirs go on apart, so that a process that ends there may have left before or have died.
void ControlTree::cut_off(const Neighbour& neighbour) {
  is_cut_ = true;
  if (neighbour.rank < options_.rank) {
    for (int rank = 0; rank < options_.size; ++rank)
      if (!is_below(options_.rank, rank)) judge_.unheard(rank);
  } else {
    report_cut(neighbour.rank);
  }
}

void ControlTree::report_cut(int rank) {
  if (parent() != nullptr) return send_up(frame_of(FrameKind::cut_off, rank));
  for (int other = rank + 1; other < options_.size; ++other)
    if (is_below(rank, other)) judge_.unheard(other);
}

void ControlTree::advance_goodbye() {
  if (!leaving_ || left_) return;
  for (size_t i = 0; i < neighbours_.size(); ++i)
    if (is_child(i) && !neighbours_[i].goodbye) return;
  send_up(frame_of(FrameKind::goodbye_up));
  left_ = true;
  thread_->changed().notify_all();
}

}  // namespace tutti

#include "control_tree.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <set>

#include "clock.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace tutti {
namespace {

constexpr uint64_t kRootPatience = 400 * kMillisecond;  // for the root's verdict on a failure
constexpr uint64_t kPingPatience = 400 * kMillisecond;
constexpr uint64_t kProbePause = 1000 * kMillisecond;  // one probe per second is enough for all who ask
constexpr uint64_t kVerdictPatience = 1000 * kMillisecond;
constexpr uint64_t kNearlyLateNs = kLateNs - 5000 * kMillisecond;
constexpr uint64_t kLookPause = 250 * kMillisecond;    // between two at what waits elsewhere
constexpr uint64_t kExitPatience = 50 * kMillisecond;  // for the last frames of a process that has ended

// Bounds of the time after which a standstill between hosts counts as one.  An interrupted connection resumes only
// after a pause as long as the interruption.
constexpr uint64_t kLeastSettle = 5000 * kMillisecond, kMostSettle = 30'000 * kMillisecond;

uint64_t settle_ns(bool between_hosts, uint64_t timeout_ns) {
  return between_hosts ? std::clamp(timeout_ns / 20, kLeastSettle, kMostSettle) : 0;
}

// Also if nobody has waited for it yet.
bool has_ended(int pid) {
  const OwnedFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return errno == ESRCH;
  pollfd entry{fd.get(), POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

// A process that writes a core dump keeps its connections meanwhile, which may take a minute.
bool has_crashed(int pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("CoreDumping:")) return line.ends_with('1');
  return false;
}

// A pidfd of the process at the other end of a unix socket, in whatever namespace it counts its processes; none for
// other sockets, for this process, and before Linux 6.5.
OwnedFd process_behind(int socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid == ::getpid()) return OwnedFd();
  int fd = -1;
  length = sizeof fd;
  return OwnedFd(::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &length) == 0 ? fd : -1);
}

}  // namespace

ControlTree::ControlTree(std::shared_ptr<ControlThread> thread, Options options, std::vector<Neighbour> neighbours)
    : thread_keeper_(std::move(thread)),
      thread_(thread_keeper_.get()),
      options_(std::move(options)),
      timeout_ns_(options_.timeout_ns),
      neighbours_(std::move(neighbours)),
      judge_(options_.rank_names, settle_ns(options_.between_hosts, timeout_ns_)) {}

Status ControlTree::begin() {
  const std::lock_guard lock(thread_->mutex());
  member_ = thread_->enroll(*this);
  for (size_t i = 0; i < neighbours_.size(); ++i) {
    const Status watching = thread_->watch(member_, static_cast<uint32_t>(i), neighbours_[i].socket.fd());
    if (!watching.ok()) return watching;
  }
  watch_processes();
  // Frames that came during bootstrap.
  for (size_t i = 0; i < neighbours_.size(); ++i) on_ready(static_cast<uint32_t>(i), EPOLLIN);
  thread_->wake();
  return {};
}

// Without failure or goodbye, the others learn of the end by the closed connections.
ControlTree::~ControlTree() {
  const std::lock_guard lock(thread_->mutex());
  thread_->dismiss(member_);
  for (const Process& process : processes_)
    if (process.fd) thread_->unwatch(process.fd.get());
  for (Neighbour& neighbour : neighbours_) {
    if (!neighbour.socket.open()) continue;
    thread_->unwatch(neighbour.socket.fd());
    neighbour.socket.hang_up();
  }
}

// Each rank watches its neighbours in the tree, and the next rank of its host up and down; the last and the first watch
// each other.
void ControlTree::watch_processes() {
  for (const Neighbour& neighbour : neighbours_) watch_process(neighbour.rank);
  if (options_.local_pids.empty()) return;
  for (const int step : {1, options_.size - 1}) {
    int rank = options_.rank;
    do rank = (rank + step) % options_.size;
    while (rank != options_.rank && options_.local_pids[static_cast<size_t>(rank)] <= 0);
    if (rank != options_.rank && !neighbour_of(rank)) watch_process(rank);
  }
}

// As far as the system lets this rank: a kernel before 5.3 knows no such descriptors, and of a process that has just
// died the connections tell.
void ControlTree::watch_process(int rank) {
  const int pid = options_.local_pids.empty() ? 0 : options_.local_pids[static_cast<size_t>(rank)];
  Neighbour* const neighbour = neighbour_of(rank);
  OwnedFd fd = pid > 0     ? OwnedFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))
               : neighbour ? process_behind(neighbour->socket.fd())
                           : OwnedFd();
  const auto which = static_cast<uint32_t>(neighbours_.size() + processes_.size());
  if (fd && thread_->watch(member_, which, fd.get()).ok()) processes_.push_back({rank, std::move(fd)});
}

ControlTree::Neighbour* ControlTree::neighbour_of(int rank) {
  const auto found = std::find_if(neighbours_.begin(), neighbours_.end(), [rank](const Neighbour& n) { return n.rank == rank; });
  return found != neighbours_.end() ? &*found : nullptr;
}

// Its connections close, too, unless another process holds copies of them.  What it sent may still be on its way here.
void ControlTree::process_ended(int rank, uint64_t now) {
  if (Neighbour* const neighbour = neighbour_of(rank))
    neighbour->ended_at = now;
  else if (!over())
    report_exit(rank);
}

uint64_t ControlTree::close_ended(uint64_t now) {
  uint64_t next = UINT64_MAX;
  for (size_t i = 0; i < neighbours_.size(); ++i) {
    const Neighbour& neighbour = neighbours_[i];
    if (neighbour.ended_at == 0 || !neighbour.socket.open()) continue;
    if (now < neighbour.ended_at + kExitPatience) {
      next = std::min(next, neighbour.ended_at + kExitPatience);
      continue;
    }
    on_ready(static_cast<uint32_t>(i), EPOLLIN);
    closed(i);
  }
  return next;
}

// Whether the rank that this one waits for can answer no more, as far as its process shows.
std::optional<Status> ControlTree::end_of(const Stall& stall) const {
  const int rank = stall.waits_for;
  const int pid = rank < 0 || options_.local_pids.empty() ? 0 : options_.local_pids[static_cast<size_t>(rank)];
  if (pid <= 0) return std::nullopt;
  if (has_crashed(pid)) return Status(Code::peer_lost, name_of(rank) + " has crashed: it is writing a core dump");
  const bool tree_tells = !is_cut_ && stall.waited_ns < kSureNs + 2000 * kMillisecond;
  if (!tree_tells && has_ended(pid)) return Status(Code::peer_lost, name_of(rank) + " is gone: its process has ended");
  return std::nullopt;
}

// ---- called by the caller's threads ----

Status ControlTree::failure() const {
  const std::lock_guard lock(thread_->mutex());
  return failure_;
}

void ControlTree::set_timeout(uint64_t ns) {
  const std::lock_guard lock(thread_->mutex());
  timeout_ns_ = ns;
  judge_.set_settle(settle_ns(options_.between_hosts, ns));
}

void ControlTree::fail(int culprit, const Status& cause) {
  const std::lock_guard lock(thread_->mutex());
  if (over() || pending_) return;
  raise({culprit, false, cause});
  thread_->wake();
}

void ControlTree::stalled(const Stall& stall) {
  const std::lock_guard lock(thread_->mutex());
  take_own_stall(stall);
  thread_->wake();
}

void ControlTree::timed_out(const Stall& stall) {
  const std::lock_guard lock(thread_->mutex());
  take_own_deadline(stall);
  thread_->wake();
}

void ControlTree::set_watch(ControlWatch* watch) {
  const std::lock_guard lock(thread_->mutex());
  watch_ = watch;
  next_look_ = watch ? 0 : UINT64_MAX;
  if (watch && failed()) watch->failed();
  thread_->wake();
}

// ---- called by the control thread ----

void ControlTree::on_ready(uint32_t which, uint32_t events) {
  if (which >= neighbours_.size()) {
    Process& process = processes_[which - neighbours_.size()];
    if (!process.fd) return;
    thread_->unwatch(process.fd.get());
    process.fd.reset();
    return process_ended(process.rank, now_ns());
  }
  Neighbour& neighbour = neighbours_[which];
  if (!neighbour.socket.open()) return;
  if (events & EPOLLOUT) {
    neighbour.socket.flush();
    if (!neighbour.socket.has_queued()) thread_->want_output(member_, which, neighbour.socket.fd(), false);
  }
  if (!(events & ~uint32_t{EPOLLOUT})) return;
  const bool alive = neighbour.socket.fill();
  ControlFrame frame;
  Decoding decoding;
  while ((decoding = neighbour.socket.next(options_.size, frame)) == Decoding::complete && neighbour.socket.open())
    handle(which, frame);
  if (!alive || decoding == Decoding::malformed) closed(which);
}

uint64_t ControlTree::on_tick(uint64_t now) {
  const uint64_t next_close = close_ended(now);
  if (over()) return next_close;
  if (now >= next_look_) ask_watch(now);
  if (pending_ && now >= pending_until_) apply(*pending_);
  if (probe_until_ != 0 && now >= probe_until_) end_probe();
  if (over_time_ && now >= over_time_until_ && !over()) {
    const Cause own_view = late_cause(over_time_->waits_for, options_.rank, *over_time_, options_.rank_names);
    send_up(frame_of(FrameKind::report, own_view));
    apply(own_view);
  }
  if (parent() == nullptr && !over()) {
    if (const auto verdict = judge_.due(now)) apply(*verdict);
    while (const auto late = judge_.late(now)) {
      ControlFrame frame = frame_of(FrameKind::late, late->rank);
      frame.text = late->text;
      announce_late(frame);
    }
  }
  if (over()) return next_close;
  uint64_t next = std::min({next_close, next_look_, parent() == nullptr ? judge_.next() : UINT64_MAX});
  if (pending_) next = std::min(next, pending_until_);
  if (probe_until_ != 0) next = std::min(next, probe_until_);
  if (over_time_) next = std::min(next, over_time_until_);
  return next;
}

void ControlTree::handle(size_t which, const ControlFrame& frame) {
  if (frame.kind == FrameKind::ping) {
    send(neighbours_[which], frame_of(FrameKind::pong), true);
    if (!over()) start_probe(now_ns());
    return;
  }
  if (frame.kind == FrameKind::pong) {
    neighbours_[which].answered = true;
    return;
  }
  if (over()) return;
  const bool understood = is_child(which) ? handle_from_child(which, frame) : handle_from_parent(frame);
  if (!understood) closed(which);
}

bool ControlTree::handle_from_child(size_t which, const ControlFrame& frame) {
  switch (frame.kind) {
    case FrameKind::report: raise(frame.cause); return true;
    case FrameKind::stall:
    case FrameKind::timed_out: take_stall(frame); return true;
    case FrameKind::suspect: suspect(frame.rank); return true;
    case FrameKind::leaving:
      neighbours_[which].leaving |= frame.rank == neighbours_[which].rank;
      report_leaving(frame.rank);
      return true;
    case FrameKind::exited: report_exit(frame.rank); return true;
    case FrameKind::cut_off: report_cut(frame.rank); return true;
    case FrameKind::goodbye_up:
      neighbours_[which].goodbye = true;
      advance_goodbye();
      return true;
    default: return false;
  }
}

bool ControlTree::handle_from_parent(const ControlFrame& frame) {
  switch (frame.kind) {
    case FrameKind::failure: apply(frame.cause); return true;
    case FrameKind::late: announce_late(frame); return true;
    case FrameKind::leaving:
      neighbours_[0].leaving |= frame.rank == neighbours_[0].rank;
      judge_.leaving(frame.rank);
      return true;
    case FrameKind::query:
      query_ = frame.query;
      send_down(frame);
      return true;
    default: return false;
  }
}

void ControlTree::closed(size_t which) {
  Neighbour& neighbour = neighbours_[which];
  if (!neighbour.socket.open()) return;
  thread_->unwatch(neighbour.socket.fd());
  neighbour.socket.close();
  if (over() || neighbour.goodbye) return;
  if (neighbour.leaving) {  // it is done; nothing more will be heard of the ranks behind it
    neighbour.goodbye = true;
    cut_off(neighbour);
    return advance_goodbye();
  }
  const Cause cause = died_cause(neighbour.rank, name_of(neighbour.rank));
  if (is_child(which))
    raise(cause);
  else
    apply(pending_ ? *pending_ : cause);  // nobody above will answer
}

// ---- failures ----

void ControlTree::raise(const Cause& cause) {
  if (over() || pending_) return;
  if (parent() == nullptr) return apply(cause);
  pending_ = cause;
  pending_until_ = now_ns() + kRootPatience;
  send_up(frame_of(FrameKind::report, cause));
}

void ControlTree::apply(const Cause& cause) {
  if (over()) return;
  send_down(frame_of(FrameKind::failure, cause));
  if (leaving_ && cause.by_close) {
    left_ = true;
  } else {
    failure_ = cause.status;
    failed_.store(true, std::memory_order_release);
    if (watch_) watch_->failed();
  }
  thread_->changed().notify_all();
}

// ---- stalls and deadlines ----

void ControlTree::take_own_stall(const Stall& stall) {
  if (over()) return;
  last_stall_ = stall;
  last_stall_at_ = now_ns();
  if (const auto end = pending_ ? std::nullopt : end_of(stall)) raise({stall.waits_for, false, *end});
  take_stall(own_stall(FrameKind::stall, stall));
}

void ControlTree::take_own_deadline(const Stall& stall) {
  if (over() || over_time_) return;
  over_time_ = stall;
  over_time_until_ = now_ns() + kVerdictPatience;
  take_stall(own_stall(FrameKind::timed_out, stall));
}

void ControlTree::ask_watch(uint64_t now) {
  next_look_ = now + kLookPause;
  const ControlWatch::Look look = watch_->look(now);
  if (look.failure && !pending_) raise({-1, false, *look.failure});
  if (!look.stall) return;
  if (look.over_time) return take_own_deadline(*look.stall);
  take_own_stall(*look.stall);
}

ControlFrame ControlTree::own_stall(FrameKind kind, const Stall& stall) const {
  ControlFrame frame = frame_of(kind, options_.rank);
  frame.stall = stall;
  frame.query = query_;
  return frame;
}

void ControlTree::take_stall(const ControlFrame& frame) {
  const bool deadline = frame.kind == FrameKind::timed_out;
  const uint64_t now = now_ns();
  if (parent() != nullptr) {
    send_up(frame, !deadline);
  } else if (const auto verdict = deadline ? judge_.timed_out(frame.rank, frame.stall, now, frame.query)
                                           : judge_.stalled(frame.rank, frame.stall, now, frame.query)) {
    return apply(*verdict);
  } else if (const auto query = judge_.query()) {
    ControlFrame down = frame_of(FrameKind::query);
    down.query = query_ = *query;
    send_down(down);
  }
  if (deadline) start_probe(now);
}

void ControlTree::start_probe(uint64_t now) {
  if (last_probe_ != 0 && now < last_probe_ + kProbePause) return;
  last_probe_ = now;
  probe_until_ = now + kPingPatience;
  for (Neighbour& neighbour : neighbours_) {
    neighbour.answered = !neighbour.socket.open();
    send(neighbour, frame_of(FrameKind::ping));
  }
}

void ControlTree::end_probe() {
  probe_until_ = 0;
  for (size_t i = 0; i < neighbours_.size(); ++i) {
    const Neighbour& neighbour = neighbours_[i];
    if (neighbour.answered || over()) continue;
    if (!is_child(i)) return apply(silent_cause(neighbour.rank, name_of(neighbour.rank)));  // it cuts this subtree off
    suspect(neighbour.rank);
  }
}

void ControlTree::suspect(int rank) {
  if (parent() == nullptr) return judge_.suspect(rank);
  send_up(frame_of(FrameKind::suspect, rank));
}

void ControlTree::announce_late(const ControlFrame& frame) {
  send_down(frame, true);
  const bool waiting = last_stall_at_ != 0 && now_ns() < last_stall_at_ + kStallFreshNs && last_stall_.waited_ns >= kNearlyLateNs;
  if (waiting) options_.log.warn(frame.text);
}

// ---- sending ----

ControlTree::Neighbour* ControlTree::parent() {
  if (options_.rank == 0 || neighbours_.empty() || !neighbours_[0].socket.open()) return nullptr;
  return &neighbours_[0];
}

void ControlTree::send(Neighbour& neighbour, const ControlFrame& frame, bool may_drop) {
  if (!neighbour.socket.open()) return;
  neighbour.socket.send(frame, may_drop);
  const auto which = static_cast<uint32_t>(&neighbour - neighbours_.data());
  if (neighbour.socket.has_queued()) thread_->want_output(member_, which, neighbour.socket.fd(), true);
}

void ControlTree::send_up(const ControlFrame& frame, bool may_drop) {
  if (Neighbour* up = parent()) send(*up, frame, may_drop);
}

void ControlTree::send_down(const ControlFrame& frame, bool may_drop) {
  for (size_t i = 0; i < neighbours_.size(); ++i)
    if (is_child(i)) send(neighbours_[i], frame, may_drop);
}

}  // namespace tutti

// The control tree of one communicator: a binary heap over the ranks, rank 0 at the root.
//
// Failures.  A rank that sees one reports it towards the root.  The first that reaches the root comes back down to
// everyone, so all ranks give the same cause.  A rank that gets no answer decides by itself: at once where its
// connection to the root is broken, after kRootPatience otherwise.
// Deadlines.  A rank whose deadline is over reports that; on the way every rank pings its neighbours, and the silent
// ones are reported too.  The root's judge decides.  Ranks that a silent one cuts off from the root accuse it by
// themselves.
//
// The end.  A rank that leaves reports that to the root and to the ranks below it, which then do not take its closing
// for a death.  It passes messages on for them until they leave, too (control.h).  If its process ends before, a rank
// whose parent it was is the root of those below it.  The parts know nothing of one another then: a rank that waits for
// another in vain looks by itself whether that one's process lives.
// Deaths.  A process that ends closes its connections, unless another one holds copies of them.  So the ranks of a host
// also watch one another's processes: each its neighbours in the tree, and the next ranks up and down.
//
// All state is guarded by the control thread's lock.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "control.h"
#include "control_judge.h"
#include "control_socket.h"
#include "control_thread.h"
#include "owned_fd.h"

namespace tutti {

// The heap.
inline int parent_of(int rank) { return rank == 0 ? -1 : (rank - 1) / 2; }
inline std::vector<int> children_of(int rank, int size) {
  std::vector<int> children;
  for (int child = 2 * rank + 1; child <= 2 * rank + 2 && child < size; ++child) children.push_back(child);
  return children;
}
inline bool is_below(int rank, int other) {
  while (other > rank) other = parent_of(other);
  return other == rank;
}

class ControlTree final : public Control, private ControlMember {
 public:
  struct Neighbour {
    int rank = -1;
    ControlSocket socket;
    bool goodbye = false;  // a child: its subtree is done
    bool answered = true;  // the last ping
    bool leaving = false;  // it has called destroy
    uint64_t ended_at = 0;  // when its process was seen to have ended; 0: it has not
  };

  // `neighbours`: connected, the parent first.
  ControlTree(std::shared_ptr<ControlThread> thread, Options options, std::vector<Neighbour> neighbours);
  ~ControlTree() override;
  Status begin();  // once, after the constructor

  Status failure() const override;
  void set_timeout(uint64_t ns) override;
  void fail(int culprit, const Status& cause) override;
  void stalled(const Stall& stall) override;
  void timed_out(const Stall& stall) override;
  void set_watch(ControlWatch* watch) override;
  Status goodbye(std::optional<uint64_t> limit_ns = {}) override;

 private:
  void on_ready(uint32_t which, uint32_t events) override;
  uint64_t on_tick(uint64_t now) override;
  bool is_done() const override { return over(); }
  bool is_leaving() const override { return leaving_ || over(); }
  std::string awaited_ones() const override;

  void handle(size_t which, const ControlFrame& frame);
  bool handle_from_child(size_t which, const ControlFrame& frame);
  bool handle_from_parent(const ControlFrame& frame);
  void closed(size_t which);
  void raise(const Cause& cause);
  void apply(const Cause& cause);
  ControlFrame own_stall(FrameKind kind, const Stall& stall) const;
  void take_stall(const ControlFrame& frame);
  void take_own_stall(const Stall& stall);
  void take_own_deadline(const Stall& stall);
  void ask_watch(uint64_t now);
  void start_probe(uint64_t now);
  void end_probe();
  void suspect(int rank);
  void announce_late(const ControlFrame& frame);
  void report_leaving(int rank);
  void report_exit(int rank);
  void advance_goodbye();
  void cut_off(const Neighbour& neighbour);
  void report_cut(int rank);
  Status wait_for_others(std::unique_lock<std::mutex>& lock, std::optional<uint64_t> limit_ns);
  std::optional<Status> end_of(const Stall& stall) const;  // why it will never end
  void watch_processes();
  void watch_process(int rank);
  Neighbour* neighbour_of(int rank);  // null: it is none
  void process_ended(int rank, uint64_t now);
  uint64_t close_ended(uint64_t now);  // when there is something to do next

  bool is_child(size_t which) const { return neighbours_[which].rank > options_.rank; }
  friend class Control;
  Neighbour* parent();  // null at the root, and where the connection to it is broken or it has left
  bool over() const { return failed() || left_; }
  void send(Neighbour& neighbour, const ControlFrame& frame, bool may_drop = false);
  void send_up(const ControlFrame& frame, bool may_drop = false);
  void send_down(const ControlFrame& frame, bool may_drop = false);
  const std::string& name_of(int rank) const { return options_.rank_names[static_cast<size_t>(rank)]; }

  std::shared_ptr<ControlThread> thread_keeper_;  // null once the thread owns this
  ControlThread* const thread_;
  const Options options_;
  uint64_t timeout_ns_;
  std::vector<Neighbour> neighbours_;
  uint32_t member_ = 0;
  ControlJudge judge_;  // used at the root
  struct Process {
    int rank;
    OwnedFd fd;  // a pidfd: readable once it has ended
  };
  std::vector<Process> processes_;  // watched as neighbours_.size() and following
  uint32_t query_ = 0;              // the last one heard

  Status failure_;
  std::optional<Cause> pending_;  // reported, not yet answered
  uint64_t pending_until_ = 0;
  uint64_t probe_until_ = 0;  // 0: no probe under way
  uint64_t last_probe_ = 0;
  std::optional<Stall> over_time_;  // this rank's deadline is over
  uint64_t over_time_until_ = 0;
  ControlWatch* watch_ = nullptr;
  uint64_t next_look_ = UINT64_MAX;  // of the watch
  Stall last_stall_;
  uint64_t last_stall_at_ = 0;
  bool leaving_ = false;       // goodbye() has been called
  bool left_ = false;          // and so have all ranks below
  bool is_cut_ = false;        // see cut_off()
};

}  // namespace tutti

// The walk of the simulator: the ranks' lanes, the messages between them and what they share, in the order of time.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <queue>
#include <vector>

#include "outline.h"
#include "simulator.h"
#include "stripes.h"
#include "turn.h"

namespace tutti::simulator {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

// A message under way.
struct Parcel {
  double ready;                                    // when its receiver can begin to take it
  uint32_t next;                                   // on its link; the last one points to the first
  uint32_t turn;                                   // its place in the order of the link
  float latency_s, link_s, interface_s, memory_s;  // of the time until then; the rest is the processors'
};

struct LinkState {  // all bits zero: unused
  double free;      // when the next message may begin
  uint32_t last;    // parcel; 0: none
  uint32_t sent;
};

struct Lane {
  enum class Phase : uint8_t { resting, taking, working, giving };
  Phase phase = Phase::resting;
  uint32_t row = 0, left = 0;  // of the row, after this move
  uint64_t stripe = 0;
  StripePlace place;
  uint64_t bytes = 0;
  Move move;
};

struct RankState {
  double now = 0;        // its last work is done
  double next = kNever;  // its place in the queue of events
  Split spent;           // sums up to `now`
  uint64_t next_stripe = 0;
  uint32_t lane = 0;  // whose turn comes first
  bool working = false;
  bool waiting = false;  // for a core
  int core = -1;
  double switching = 0;  // still to be paid
  std::vector<Lane> lanes;
};

// A rank keeps its core while it has work; then the one that has waited longest gets it.
struct Core {
  bool held = false;
  uint32_t rank = Move::kNobody;  // that holds it, or held it last
};

struct HostState {
  double out_free = 0, in_free = 0;
  double sent = 0;  // bytes to other hosts
};

struct CorePool {
  uint32_t ranks = 0;
  std::vector<Core> cores;  // none: one for each rank
  std::deque<uint32_t> waiting;
};

struct Milestone {  // the end of a wave
  double time = 0;
  Split spent;
};

class Walk {
 public:
  Walk(const Outline& outline, const Machine& machine, const Stripes& stripes, uint64_t count, uint32_t lanes);
  void run(const Watcher& watcher);
  const std::vector<Milestone>& waves() const { return waves_; }
  const Prediction& result() const { return result_; }  // without seconds and path
  bool ended() const;                                   // every rank came to the end of its plan

 private:
  struct Event {
    double time;
    uint32_t rank;
    bool operator>(const Event& other) const { return time > other.time || (time == other.time && rank > other.rank); }
  };

  uint32_t host_of(uint32_t rank) const { return machine_.host.empty() ? 0 : static_cast<uint32_t>(machine_.host[rank]); }
  CorePool& pool_of(uint32_t rank) { return pools_[machine_.one_machine ? 0 : host_of(rank)]; }
  const LinkCost& cost(uint32_t a, uint32_t b) const {
    return host_of(a) == host_of(b) ? machine_.intra_host : machine_.inter_host;
  }
  LinkState& link(uint32_t from, uint32_t to) { return links_[size_t{from} * ranks_.size() + to]; }
  static uint32_t turn_of(const Lane& lane, const Move::End& end) {
    return static_cast<uint32_t>(turn(lane.place, end.index, end.total));
  }

  void schedule(uint32_t rank, double time);
  void step(uint32_t rank, double time);
  bool give_what_waits(uint32_t rank, double time);
  bool begin_stripe(uint32_t rank, Lane& lane, uint32_t index);
  void read_move(uint32_t rank, Lane& lane);
  void next_move(uint32_t rank, Lane& lane);
  double ready(uint32_t rank, const Lane& lane);
  void work(uint32_t rank, Lane& lane, double time);
  void take(uint32_t rank, const Lane& lane, RankState& state);
  bool seize_core(uint32_t rank);
  void hold(uint32_t rank, int core);
  void release_core(uint32_t rank, double time);
  bool may_give(uint32_t rank, const Lane& lane);
  void give(uint32_t rank, Lane& lane, bool at_once);
  void wake_sender(uint32_t sender, uint32_t receiver, double time);
  void send(uint32_t rank, const Lane& lane, LinkState& link, uint32_t turn, bool at_once);
  void post(uint32_t from, uint32_t to, LinkState& link, const Parcel& parcel);

  const Outline& outline_;
  const Machine& machine_;
  const Stripes& stripes_;
  uint64_t count_;
  uint32_t lane_count_;
  bool committed_ = false;  // a rank with one lane and a core of its own knows its next work before the time has come
  std::vector<RankState> ranks_;
  std::vector<HostState> hosts_;
  std::vector<CorePool> pools_;
  // [from · ranks + to]; pages that no link uses are never touched.
  std::unique_ptr<LinkState[], void (*)(void*)> links_;
  std::vector<Parcel> parcels_{1};
  uint32_t unused_ = 0;  // first of the parcels that have been taken
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<Milestone> waves_;
  Prediction result_;
};

}  // namespace tutti::simulator

#include "simulator_walk.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace tutti::simulator {

Walk::Walk(const Outline& outline, const Machine& machine, const Stripes& stripes, uint64_t count, uint32_t lanes)
    : outline_(outline),
      machine_(machine),
      stripes_(stripes),
      count_(count),
      lane_count_(static_cast<uint32_t>(std::min<uint64_t>(lanes, count))),
      ranks_(outline.size()),
      links_(static_cast<LinkState*>(std::calloc(size_t{outline.size()} * outline.size(), sizeof(LinkState))), &std::free),
      waves_((count + lane_count_ - 1) / lane_count_) {
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    ranks_[rank].lanes.resize(lane_count_);
    if (host_of(rank) >= hosts_.size()) hosts_.resize(host_of(rank) + 1);
  }
  pools_.resize(machine.one_machine ? 1 : hosts_.size());
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) ++pool_of(rank).ranks;
  for (CorePool& pool : pools_)
    if (machine.cores > 0 && pool.ranks > static_cast<uint32_t>(machine.cores))
      pool.cores.resize(static_cast<size_t>(machine.cores));
  committed_ = lane_count_ == 1 && std::ranges::all_of(pools_, [](const CorePool& pool) { return pool.cores.empty(); });
}

void Walk::schedule(uint32_t rank, double time) {
  ranks_[rank].next = time;
  if (time < kNever) events_.push({time, rank});
}

void Walk::run(const Watcher& watcher) {
  const double all = static_cast<double>(outline_.messages() * count_);
  uint64_t told = 0;
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) schedule(rank, 0);
  while (!events_.empty()) {
    const Event event = events_.top();
    events_.pop();
    if (event.time != ranks_[event.rank].next) continue;
    step(event.rank, event.time);
    if (watcher && result_.messages >> 20 != told) {
      told = result_.messages >> 20;
      watcher(static_cast<double>(result_.messages) / all);
    }
  }
}

bool Walk::ended() const {
  return std::ranges::all_of(ranks_, [this](const RankState& rank) {
    return rank.next_stripe == count_ &&
           std::ranges::all_of(rank.lanes, [](const Lane& lane) { return lane.phase == Lane::Phase::resting; });
  });
}

// The rank has finished its work, or a message has come: gives what is ready to go, and begins the next work that can
// begin.
void Walk::step(uint32_t rank, double time) {
  RankState& state = ranks_[rank];
  if (state.working) {
    state.working = false;
    Lane& lane = state.lanes[state.lane];
    lane.phase = Lane::Phase::giving;
    if (may_give(rank, lane)) give(rank, lane, true);
    state.lane = (state.lane + 1) % lane_count_;
  }
  for (bool moved = true; moved;) {
    moved = give_what_waits(rank, time);
    for (uint32_t i = 0; i < lane_count_; ++i) moved |= begin_stripe(rank, state.lanes[i], i);
  }
  double first = kNever;
  for (uint32_t i = 0; i < lane_count_; ++i) {
    const uint32_t index = (state.lane + i) % lane_count_;
    const double when = ready(rank, state.lanes[index]);
    if (when <= time || (committed_ && when < kNever)) {
      if (!seize_core(rank)) return schedule(rank, kNever);
      state.lane = index;
      return work(rank, state.lanes[index], std::max(time, when));
    }
    first = std::min(first, when);
  }
  release_core(rank, time);
  schedule(rank, first);
}

// Lanes whose turn on a link comes after other lanes' earlier waves, or whose receiver is too far behind.
bool Walk::give_what_waits(uint32_t rank, double time) {
  RankState& state = ranks_[rank];
  bool moved = false;
  for (Lane& lane : state.lanes) {
    if (lane.phase != Lane::Phase::giving || !may_give(rank, lane)) continue;
    if (state.now < time) {
      state.spent.link_s += time - state.now;
      state.now = time;
    }
    give(rank, lane, false);
    moved = true;
  }
  return moved;
}

bool Walk::begin_stripe(uint32_t rank, Lane& lane, uint32_t index) {
  RankState& state = ranks_[rank];
  if (lane.phase != Lane::Phase::resting || state.next_stripe == count_ || state.next_stripe % lane_count_ != index) return false;
  lane.stripe = state.next_stripe++;
  lane.place = place_of_stripe(lane.stripe, lane_count_, count_);
  lane.row = 0;
  lane.left = 0;
  const auto rows = outline_.rows(rank);
  if (!rows.empty()) {
    lane.move = rows[0].first;
    lane.left = rows[0].repeat - 1;
  }
  read_move(rank, lane);
  return true;
}

void Walk::next_move(uint32_t rank, Lane& lane) {
  const auto rows = outline_.rows(rank);
  if (lane.left == 0) {
    if (++lane.row < rows.size()) {
      lane.move = rows[lane.row].first;
      lane.left = rows[lane.row].repeat - 1;
    }
  } else {
    const MoveRow& row = rows[lane.row];
    const auto shift = [](uint32_t& value, uint32_t step, uint32_t around) {
      value += step;
      if (value >= around) value -= around;
    };
    --lane.left;
    Move& move = lane.move;
    if (move.in.peer != Move::kNobody) shift(move.in.peer, row.in_peer_step, outline_.size());
    if (move.out.peer != Move::kNobody) shift(move.out.peer, row.out_peer_step, outline_.size());
    move.in.index += row.in_index_step;
    move.out.index += row.out_index_step;
    shift(move.block, row.block_step, outline_.blocks());
  }
  read_move(rank, lane);
}

// Sets the phase.  A message without bytes is not sent; it only takes its turn.
void Walk::read_move(uint32_t rank, Lane& lane) {
  if (lane.row == outline_.rows(rank).size()) {
    lane.phase = Lane::Phase::resting;
    Milestone& wave = waves_[lane.stripe / lane_count_];
    const RankState& state = ranks_[rank];
    if (state.now >= wave.time) wave = {state.now, state.spent};
    return;
  }
  lane.bytes = stripes_.bytes(lane.move.block, lane.move.count, lane.stripe);
  lane.phase = lane.bytes > 0 ? Lane::Phase::taking : Lane::Phase::giving;
}

double Walk::ready(uint32_t rank, const Lane& lane) {
  if (lane.phase != Lane::Phase::taking) return kNever;
  if (lane.move.in.peer == Move::kNobody) return 0;
  const LinkState& from = link(lane.move.in.peer, rank);
  if (from.last == 0) return kNever;
  const Parcel& first = parcels_[parcels_[from.last].next];
  return first.turn == turn_of(lane, lane.move.in) ? first.ready : kNever;
}

void Walk::take(uint32_t rank, const Lane& lane, RankState& state) {
  LinkState& from = link(lane.move.in.peer, rank);
  const uint32_t index = parcels_[from.last].next;
  Parcel& parcel = parcels_[index];
  if (parcel.ready > state.now) {  // it was waited for
    state.now = parcel.ready;
    state.spent = {0, parcel.latency_s, parcel.link_s, parcel.interface_s, parcel.memory_s};
    state.spent.processor_s = state.now - state.spent.total();
  }
  if (index == from.last) {
    from.last = 0;
  } else {
    parcels_[from.last].next = parcel.next;
  }
  parcel.next = unused_;
  unused_ = index;
  if (count_ > lane_count_) wake_sender(lane.move.in.peer, rank, state.now);
}

// One that waited because this receiver was too far behind.
void Walk::wake_sender(uint32_t sender, uint32_t receiver, double time) {
  const RankState& state = ranks_[sender];
  if (state.working || state.waiting || state.next <= time) return;
  for (const Lane& lane : state.lanes)
    if (lane.phase == Lane::Phase::giving && lane.move.out.peer == receiver) return schedule(sender, std::max(time, state.now));
}

void Walk::hold(uint32_t rank, int index) {
  Core& core = pool_of(rank).cores[static_cast<size_t>(index)];
  if (core.rank != rank && core.rank != Move::kNobody) ranks_[rank].switching = machine_.switch_s;
  core = {true, rank};
  ranks_[rank].core = index;
  ranks_[rank].waiting = false;
}

// False: all cores of a crowded host are busy; the rank waits for one.
bool Walk::seize_core(uint32_t rank) {
  CorePool& pool = pool_of(rank);
  RankState& state = ranks_[rank];
  if (pool.cores.empty() || state.core >= 0) return true;
  int found = -1;  // the one it had, else one that nobody had, else any
  for (int i = 0; i < static_cast<int>(pool.cores.size()); ++i) {
    const Core& core = pool.cores[static_cast<size_t>(i)];
    if (core.held) continue;
    if (core.rank == rank || found < 0 || (core.rank == Move::kNobody && pool.cores[static_cast<size_t>(found)].rank != rank))
      found = i;
  }
  if (found >= 0) {
    hold(rank, found);
  } else {
    state.waiting = true;
    pool.waiting.push_back(rank);
  }
  return found >= 0;
}

void Walk::release_core(uint32_t rank, double time) {
  RankState& state = ranks_[rank];
  if (state.core < 0) return;
  CorePool& pool = pool_of(rank);
  const int core = std::exchange(state.core, -1);
  if (pool.waiting.empty()) {
    pool.cores[static_cast<size_t>(core)].held = false;
    return;
  }
  const uint32_t next = pool.waiting.front();
  pool.waiting.pop_front();
  hold(next, core);
  schedule(next, std::max(time, ranks_[next].now));
}

void Walk::work(uint32_t rank, Lane& lane, double time) {
  RankState& state = ranks_[rank];
  const Move& move = lane.move;
  const auto bytes = static_cast<double>(lane.bytes);
  double processor = 0, memory = static_cast<double>(move.reduced) * bytes * machine_.reduce_byte_s;
  const LinkCost* out = move.gives == Move::Gives::nothing ? nullptr : &cost(rank, move.out.peer);
  if (move.in.peer != Move::kNobody) {
    take(rank, lane, state);
    const LinkCost& in = cost(rank, move.in.peer);
    processor += in.overhead_s + bytes * in.processor_byte_s;
    if (move.kept && !(in.streams && (!out || out->streams))) memory += bytes * machine_.copy_byte_s;
  }
  if (out) {
    processor += out->overhead_s + bytes * out->processor_byte_s;
    if (move.gives == Move::Gives::own && !out->streams) memory += bytes * machine_.copy_byte_s;
  }
  // Waiting for a core, and the core's turn to this rank.
  processor += std::max(0.0, time - state.now) + std::exchange(state.switching, 0);
  state.spent.processor_s += processor;
  state.spent.memory_s += memory;
  state.now += processor + memory;
  state.working = true;
  lane.phase = Lane::Phase::working;
  schedule(rank, state.now);
}

// It is the lane's turn on the link, and the receiver is at most a wave behind.
bool Walk::may_give(uint32_t rank, const Lane& lane) {
  if (lane.move.gives == Move::Gives::nothing || count_ == 1) return true;
  const LinkState& to = link(rank, lane.move.out.peer);
  const uint32_t number = turn_of(lane, lane.move.out);
  if (to.sent != number) return false;
  return to.last == 0 || number - parcels_[parcels_[to.last].next].turn < lane_count_ * (lane.move.out.total + 1);
}

// `at_once`: the processor has just done its part of the sending.
void Walk::give(uint32_t rank, Lane& lane, bool at_once) {
  if (lane.move.gives != Move::Gives::nothing) {
    LinkState& to = link(rank, lane.move.out.peer);
    const uint32_t number = to.sent++;
    if (lane.bytes > 0) send(rank, lane, to, number, at_once);
  }
  next_move(rank, lane);
}

void Walk::send(uint32_t rank, const Lane& lane, LinkState& to, uint32_t number, bool at_once) {
  const uint32_t peer = lane.move.out.peer;
  const bool inside = host_of(rank) == host_of(peer);
  const LinkCost& c = inside ? machine_.intra_host : machine_.inter_host;
  const RankState& state = ranks_[rank];
  const auto bytes = static_cast<double>(lane.bytes);
  const double interface = inside ? 0 : bytes * machine_.interface_byte_s, processor = bytes * c.processor_byte_s;
  // The link begins while the processor still hands the message over.
  const double head = at_once ? state.now - processor : state.now;
  double start = std::max(head, to.free), waited = 0;
  const double link_wait = start - head;
  if (interface > 0) {
    HostState& host = hosts_[host_of(rank)];
    waited = std::max(0.0, host.out_free - start);
    start += waited;
    host.out_free = start + interface;
  }
  to.free = start + bytes * c.byte_s;
  const double arrives = start + c.latency_s, alone = std::max(arrives + bytes * c.byte_s, state.now + c.latency_s);
  double tail = alone;
  if (interface > 0) {
    HostState& host = hosts_[host_of(peer)];
    host.in_free = std::max(arrives, host.in_free) + interface;
    tail = std::max(alone, host.in_free);
  }
  // The receiver's processor, too, is at work while the message still arrives.
  const double ready = std::max(arrives, tail - processor), shared = std::min(tail - alone, ready - arrives);
  Parcel parcel{ready, 0, number, 0, 0, 0, 0};
  parcel.latency_s = static_cast<float>(state.spent.latency_s + c.latency_s);
  parcel.link_s = static_cast<float>(state.spent.link_s + link_wait + (ready - arrives - shared));
  parcel.interface_s = static_cast<float>(state.spent.interface_s + waited + shared);
  parcel.memory_s = static_cast<float>(state.spent.memory_s);
  post(rank, peer, to, parcel);
  ++result_.messages;
  (inside ? result_.bytes_intra_host : result_.bytes_inter_host) += bytes;
  if (inside) return;
  HostState& host = hosts_[host_of(rank)];
  host.sent += bytes;
  result_.busiest_interface = std::max(result_.busiest_interface, host.sent);
}

void Walk::post(uint32_t from, uint32_t to, LinkState& on, const Parcel& parcel) {
  uint32_t index = unused_;
  if (index == 0) {
    index = static_cast<uint32_t>(parcels_.size());
    parcels_.push_back(parcel);
  } else {
    unused_ = parcels_[index].next;
    parcels_[index] = parcel;
  }
  parcels_[index].next = on.last == 0 ? index : parcels_[on.last].next;
  if (on.last != 0) parcels_[on.last].next = index;
  on.last = index;
  RankState& receiver = ranks_[to];
  if (receiver.working || receiver.waiting || receiver.next <= parcel.ready) return;
  for (Lane& lane : receiver.lanes) {
    if (lane.phase != Lane::Phase::taking || lane.move.in.peer != from || turn_of(lane, lane.move.in) != parcel.turn) continue;
    const double time = std::max(parcel.ready, receiver.now);
    return committed_ ? work(to, lane, time) : schedule(to, time);
  }
}

}  // namespace tutti::simulator

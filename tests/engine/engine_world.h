// All ranks of a communicator in one thread: engines advanced in random turns over moody links.  No clock, no control
// tree.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "algorithms.h"
#include "engine.h"
#include "late_executor.h"
#include "matching.h"
#include "memory_transport.h"
#include "moody_links.h"
#include "plan_operation.h"
#include "program.h"
#include "put_links.h"

namespace tutti::test {

enum class Wiring {
  slots,
  streams,
  mixed,  // streams between even and odd ranks, slots between others
  puts,
  all,         // by the sum of the two ranks: slots, streams, puts
  hosts,       // streams between the team's hosts, slots within them
  hosts_puts,  // likewise puts
};

inline LinkForm form_between(int a, int b, Wiring wiring, const Team& team) {
  switch (wiring) {
    case Wiring::slots: return LinkForm::slots;
    case Wiring::streams: return LinkForm::bytes;
    case Wiring::mixed: return (a + b) % 2 != 0 ? LinkForm::bytes : LinkForm::slots;
    case Wiring::puts: return LinkForm::puts;
    case Wiring::all: return static_cast<LinkForm>((a + b) % 3);
    case Wiring::hosts: return team.host_of(a) != team.host_of(b) ? LinkForm::bytes : LinkForm::slots;
    case Wiring::hosts_puts: return team.host_of(a) != team.host_of(b) ? LinkForm::puts : LinkForm::slots;
  }
  return LinkForm::slots;
}

struct QuietSupervisor final : Supervisor {
  bool failed() const override { return !cause.ok(); }
  Status failure() const override { return cause; }
  void fail(int, const Status& status) override {
    if (cause.ok()) cause = status;
  }
  void stalled(const Operation&, uint64_t) override {}
  void timed_out(const Operation&, uint64_t) override {}
  void break_down() noexcept override { cause = Status(Code::system, "broken"); }
  std::string peer_name(int rank) const override { return rank < 0 ? "this rank" : "rank " + std::to_string(rank); }
  Status cause;
};

class EngineWorld {
 public:
  enum class Traffic { collectives, messages };
  // `shape.slots`: of each rank, besides those that links set aside; of messages for each peer.
  EngineWorld(const Team& team, Wiring wiring, memory::ArenaShape shape, uint32_t seed, Traffic traffic = Traffic::collectives)
      : size_(team.size), turns_(seed) {
    const uint32_t slots = shape.slots;
    const bool own_pools = traffic == Traffic::messages;
    const uint32_t slots_of_peer = own_pools ? slots + static_cast<uint32_t>(PutChannel::kCredits) : 0;
    shape.slots += (static_cast<uint32_t>(PutChannel::kCredits) + slots_of_peer) * static_cast<uint32_t>(size_);
    bytes_ = std::vector<memory::Cell>(shape.bytes() / sizeof(memory::Cell) + 1);
    const memory::Arena arena(reinterpret_cast<std::byte*>(bytes_.data()), shape);
    for (int a = 0; a < size_; ++a)
      for (int b = 0; b < size_; ++b) {
        streams_[{a, b}] = std::make_shared<Stream>();
        puts_[{a, b}] = std::make_shared<PutChannel>();
      }
    for (int rank = 0; rank < size_; ++rank) {
      auto& r = ranks_.emplace_back(std::make_unique<Rank>(arena, static_cast<uint32_t>(rank), shape.slots, slots_of_peer, size_));
      for (int peer = 0; peer < size_; ++peer)
        add_link(*r, arena, rank, peer, form_between(rank, peer, wiring, team),
                 seed + static_cast<uint32_t>(rank * size_ + peer) + 1);
      while (r->pool.slots() > slots) r->pool.set_aside();  // what links of other forms leave
      auto link_table = std::make_unique<LinkTable>();
      link_table->resize(size_);
      link_table->bank.pool = &r->pool;
      for (size_t peer = 0; peer < link_table->message_banks.size(); ++peer)
        link_table->message_banks[peer].pool = &r->pool_of(static_cast<int>(peer));
      const auto link = [rank_state = r.get()](int peer) -> Link& { return *rank_state->links[static_cast<size_t>(peer)]; };
      link_table->form = [link](int peer) { return link(peer).form(); };
      link_table->connect = [link](int peer, LinkUse) -> Link& { return link(peer); };
      link_table->matching = std::make_shared<Matching>(rank, size_, kContext);
      link_table->transfer_from = [table = link_table.get()](int source, std::byte* to, const Signature& message) {
        return transfer(false, source, to, message, *table);
      };
      r->engine = std::make_unique<Engine>(std::vector<Transport*>{}, std::move(link_table), r->supervisor);
    }
  }

  static constexpr uint64_t kContext = 5;

  // One message of point to point, in several lanes.
  static std::shared_ptr<PlanOperation> transfer(bool send, int peer, std::byte* data, const Signature& message, LinkTable& table) {
    constexpr size_t kStripe = 256;
    constexpr uint32_t kLanes = 2;
    Plan plan(1);
    if (send)
      plan.send(peer, 0);
    else
      plan.recv(peer, 0);
    auto program = std::make_shared<const Program>(compile(plan, Collective::point_to_point, table.matching->rank(), 2, 0));
    const auto type = static_cast<DataType>(message.data_type);
    const size_t bytes = static_cast<size_t>(message.count) * element_size(type);
    auto binding = Binding::fixed({{send ? data : nullptr, send ? nullptr : data, bytes}}, kStripe).at_least_one_stripe();
    const uint32_t slots = PlanOperation::slots_per_stripe(*program, table);
    auto operation = std::make_shared<PlanOperation>(std::move(program), "direct", std::move(binding), Arithmetic(), message,
                                                     kLanes, slots, table);
    operation->set_tags({{{message.count, type}}, {}, 0});
    return operation;
  }

  using Make = std::function<std::shared_ptr<Operation>(int rank, LinkTable& link_table)>;
  void start(const Make& make) {
    for (int rank = 0; rank < size_; ++rank) start_at(rank, make);
  }
  void start_at(int rank, const Make& make) {
    Rank& r = *ranks_[static_cast<size_t>(rank)];
    r.operations.push_back(*r.engine->start([&](LinkTable& link_table) { return make(rank, link_table); }, false));
  }

  // Before the first operation: each rank computes by an executor that takes its time.
  void compute_late(uint32_t seed) {
    for (auto& r : ranks_) r->engine->link_table().executor = std::make_shared<LateExecutor>(++seed);
  }

  // Messages from `from` to `to` no longer arrive, and `to` sees that.
  void cut(int from, int to) { streams_[{from, to}]->cut = true; }

  // From now on `rank` lets all but one in `turns` of its turns pass.
  void slow_down(int rank, uint32_t turns) {
    slow_ = rank;
    slow_turns_ = turns;
  }

  // Gives ranks in random order so many turns; the first failure of an operation.
  Status advance(int rounds) {
    for (int round = 0; round < rounds; ++round)
      if (Status status = turn(); !status.ok()) return status;
    return {};
  }

  // Advances until all operations have ended; the first failure, or internal if nothing ends.
  Status finish() {
    for (int round = 0; round < 2'000'000; round += 64) {
      if (std::all_of(ranks_.begin(), ranks_.end(), [](const auto& x) { return x->operations.empty(); })) return {};
      if (Status status = advance(64); !status.ok()) return status;
    }
    return Status(Code::internal, "the operations do not end");
  }

  bool ended(int rank) const { return ranks_[static_cast<size_t>(rank)]->operations.empty(); }  // well
  bool failed(int rank) const { return ranks_[static_cast<size_t>(rank)]->supervisor.failed(); }
  memory::Heap& heap(int rank) { return ranks_[static_cast<size_t>(rank)]->heap; }
  LinkTable& link_table(int rank) { return ranks_[static_cast<size_t>(rank)]->engine->link_table(); }
  uint32_t free_slots(int rank) {
    return ranks_[static_cast<size_t>(rank)]->pool.available(ranks_[static_cast<size_t>(rank)]->pool.slots());
  }
  uint32_t reserved(int rank) { return link_table(rank).bank.reserved; }

 private:
  struct Rank {
    Rank(const memory::Arena& arena, uint32_t rank, uint32_t slots, uint32_t slots_of_peer, int size)
        : pool(arena, rank, &heap, {0, slots - slots_of_peer * static_cast<uint32_t>(size)}) {
      for (uint32_t first = pool.slots(); first < slots; first += slots_of_peer)
        message_pools.push_back(
            std::make_unique<memory::ArenaPool>(arena, rank, &heap, memory::ArenaPool::Part{first, slots_of_peer}));
    }
    memory::ArenaPool& pool_of(int peer) { return message_pools.empty() ? pool : *message_pools[static_cast<size_t>(peer)]; }
    memory::Heap heap;
    memory::ArenaPool pool;
    std::vector<std::unique_ptr<memory::ArenaPool>> message_pools;  // by peer; none: they share `pool`
    QuietSupervisor supervisor;
    std::vector<std::unique_ptr<Link>> links;
    std::vector<LateStreamLink*> late;
    std::vector<MoodyPutLink*> puts;
    std::unique_ptr<Engine> engine;
    std::vector<std::shared_ptr<Operation>> operations;
  };

  void add_link(Rank& r, const memory::Arena& arena, int rank, int peer, LinkForm form, uint32_t mood) {
    if (form == LinkForm::slots) {
      auto link = std::make_unique<memory::ArenaLink>(arena, static_cast<uint32_t>(rank), static_cast<uint32_t>(peer));
      r.links.push_back(std::make_unique<MoodyLink>(std::move(link), mood));
    } else if (form == LinkForm::bytes) {
      auto link = std::make_unique<LateStreamLink>(streams_[{rank, peer}], streams_[{peer, rank}], r.pool_of(peer), mood);
      r.late.push_back(link.get());
      r.links.push_back(std::move(link));
    } else {
      auto link = std::make_unique<MoodyPutLink>(puts_[{rank, peer}], puts_[{peer, rank}], r.pool_of(peer), mood, true);
      r.puts.push_back(link.get());
      r.links.push_back(std::move(link));
    }
  }

  Status turn() {
    const auto rank = static_cast<int>(turns_() % static_cast<uint32_t>(size_));
    if (rank == slow_ && turns_() % slow_turns_ != 0) return {};
    Rank& r = *ranks_[static_cast<size_t>(rank)];
    for (LateStreamLink* link : r.late) link->flush_some();
    for (MoodyPutLink* link : r.puts) link->write_some();
    while (!r.operations.empty()) {
      Status status;
      if (!r.engine->test(*r.operations.front(), status)) break;
      if (!status.ok()) return status;
      r.operations.erase(r.operations.begin());
      if (r.operations.empty())
        for (const auto& link : r.links)
          if (!link->sent(link->last_ticket()))
            return Status(Code::internal, "the last operation ended before its messages had left");
    }
    return {};
  }

  int size_, slow_ = -1;
  uint32_t slow_turns_ = 1;
  std::map<std::pair<int, int>, std::shared_ptr<Stream>> streams_;
  std::map<std::pair<int, int>, std::shared_ptr<PutChannel>> puts_;
  std::vector<memory::Cell> bytes_;  // for its alignment
  std::minstd_rand turns_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace tutti::test

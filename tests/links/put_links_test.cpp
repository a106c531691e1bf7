// The conformance suite over the put links that test the engine, and the rules that only this form has.
#include <map>

#include "arena_world.h"
#include "link_conformance.h"
#include "put_links.h"
#include "transport.h"

namespace tutti {
namespace {

using test::MoodyPutLink;
using test::PutChannel;

using Channels = std::map<std::pair<int, int>, std::shared_ptr<PutChannel>>;  // by sender and receiver

class PutTransport final : public Transport {
 public:
  PutTransport(int rank, int ranks, Channels& channels, SlotPool& pool) {
    for (int peer = 0; peer < ranks; ++peer)
      links_.push_back(std::make_unique<MoodyPutLink>(channels[{rank, peer}], channels[{peer, rank}], pool,
                                                      static_cast<uint32_t>(rank * ranks + peer + 1), false,
                                                      "rank " + std::to_string(peer)));
  }
  std::string_view name() const override { return "puts"; }
  LinkForm form() const override { return LinkForm::puts; }
  using Transport::link;
  Link& link(int peer, LinkUse) override { return *links_[static_cast<size_t>(peer)]; }
  Status progress() override {
    for (const auto& link : links_) link->write_some();
    return {};
  }
  size_t memory_bytes() const override { return 0; }

 private:
  std::vector<std::unique_ptr<MoodyPutLink>> links_;
};

// Each rank has an arena of its own, as ranks on different hosts have.
class PutWorld {
 public:
  static constexpr bool kSeesLoss = true;
  static bool available() { return true; }

  PutWorld(int ranks, uint32_t slots, size_t slot_bytes) {
    const auto set_aside = static_cast<uint32_t>(static_cast<size_t>(ranks) * PutChannel::kCredits);
    for (int a = 0; a < ranks; ++a)
      for (int b = 0; b < ranks; ++b) channels_[{a, b}] = std::make_shared<PutChannel>();
    for (int rank = 0; rank < ranks; ++rank) {
      arenas_.push_back(std::make_unique<HeapArena>(memory::ArenaShape{1, slots + set_aside, slot_bytes}));
      pools_.push_back(std::make_unique<memory::ArenaPool>(arenas_.back()->arena(), 0));
      transports_.push_back(std::make_unique<PutTransport>(rank, ranks, channels_, *pools_.back()));
    }
  }
  Transport& transport(int rank) { return *transports_[static_cast<size_t>(rank)]; }
  SlotPool& pool(int rank) { return *pools_[static_cast<size_t>(rank)]; }
  bool owns(int rank, Slot slot) const {
    const memory::Arena& arena = arenas_[static_cast<size_t>(rank)]->arena();
    return slot.data >= arena.slot_data(0) && slot.data < arena.slot_data(arena.shape().slots);
  }
  void kill(int rank) {
    for (auto& [ends, channel] : channels_)
      if (ends.first == rank || ends.second == rank) {
        const std::lock_guard lock(channel->mutex);
        channel->cut = true;
      }
    transports_[static_cast<size_t>(rank)].reset();
  }

 private:
  Channels channels_;
  std::vector<std::unique_ptr<HeapArena>> arenas_;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools_;
  std::vector<std::unique_ptr<PutTransport>> transports_;
};

class PutLinks : public LinkConformance<PutWorld> {};

TEST_F(PutLinks, LandInASlotOfTheReceiver) {
  make(2);
  for (uint32_t i = 0; i < 20; ++i) {
    const size_t bytes = 1 + i * 200;  // short ones and long ones
    ASSERT_EQ(send(0, 1, pattern(i, bytes), call(i)), Progress::done);
    Slot taken;
    ASSERT_EQ(settled([&] { return at(1).take(0, taken, bytes, call(i)); }), Progress::done);
    EXPECT_TRUE(world().owns(1, taken));
    EXPECT_TRUE(at(1).pool().writable(taken));
    at(1).pool().release(taken);
  }
  EXPECT_TRUE(all_slots_home(0));
  EXPECT_TRUE(all_slots_home(1));
}

TEST_F(PutLinks, CreditsComeBackAlthoughTheReceiverKeepsWhatItTook) {
  constexpr uint32_t kKept = 8;
  make(2, kKept);
  std::vector<Slot> kept(kKept);
  for (uint32_t i = 0; i < kKept; ++i) {
    ASSERT_EQ(send(0, 1, pattern(i, 4096), call(i)), Progress::done) << i;
    ASSERT_EQ(settled([&] { return at(1).take(0, kept[i], 4096, call(i)); }), Progress::done) << i;
  }
  for (uint32_t i = 0; i < kKept; ++i) {
    EXPECT_EQ(Bytes(kept[i].data, kept[i].data + 4096), pattern(i, 4096)) << i;
    at(1).pool().release(kept[i]);
  }
  EXPECT_TRUE(all_slots_home(1));
}

TEST_F(PutLinks, AnEmptyMessageNeedsNoSlot) {
  make(2);
  ASSERT_EQ(at(0).link(1).send({}, 0, call(1)), Progress::done);
  Slot none;
  EXPECT_EQ(settled([&] { return at(1).puts(0).receive(none, 0, call(1)); }), Progress::done);
  EXPECT_FALSE(none);
}

}  // namespace

INSTANTIATE_TYPED_TEST_SUITE_P(Puts, LinkConformance, testing::Types<PutWorld>);

}  // namespace tutti

// The duties of every transport, as a suite of typed tests.  A transport takes part with a World:
//
//   class World {                    // `ranks` ends of one transport, all in this process
//     static constexpr bool kSeesLoss;   // its links report the loss of a peer; then it has kill(rank)
//     static bool available();           // false: this machine cannot; the tests are skipped
//     World(int ranks, uint32_t slots, size_t slot_bytes);
//     Transport& transport(int rank);
//     SlotPool& pool(int rank);
//     void kill(int rank);               // its process dies; its transport may not be touched again
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Memory, LinkConformance, testing::Types<MemoryWorld>);
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "posted_world.h"
#include "sanitized.h"

namespace tutti {

template <class World>
class LinkConformance : public testing::Test, protected PostedWorld<World> {
 protected:
  void SetUp() override {
    if (!World::available()) GTEST_SKIP() << "this machine has no such links";
  }

  void make(int ranks, uint32_t slots = 8, size_t slot_bytes = 4096) { PostedWorld<World>::make(ranks, slots, slot_bytes); }
  LinkForm form() { return this->at(0).form(); }

  Progress send(int from, int to, const Bytes& bytes, const Signature& signature) {
    return this->settled([&] { return this->at(from).send(to, bytes, signature); });
  }
  void expect_message(int at_rank, int from, const Bytes& bytes, const Signature& signature) {
    Bytes got(bytes.size());
    ASSERT_EQ(this->settled([&] { return this->at(at_rank).receive(from, got, signature); }), Progress::done);
    ASSERT_EQ(got, bytes) << "of call " << signature.sequence;
  }
  bool all_slots_home(int rank) {  // taking them all tells
    SlotPool& pool = this->at(rank).pool();
    return this->eventually([&] {
      std::vector<Slot> held;
      while (const Slot slot = pool.acquire()) held.push_back(slot);
      for (const Slot slot : held) pool.release(slot);
      return held.size() == pool.slots();
    });
  }
};

TYPED_TEST_SUITE_P(LinkConformance);

TYPED_TEST_P(LinkConformance, AlwaysTheSameLink) {
  this->make(3);
  Link& first = this->at(0).link(1);
  EXPECT_NE(&first, &this->at(0).link(2));
  EXPECT_EQ(&first, &this->at(0).link(1));
  EXPECT_EQ(first.form(), this->form());
  EXPECT_EQ(this->at(1).link(0).form(), this->form());
}

TYPED_TEST_P(LinkConformance, NothingArrivesBeforeItIsSent) {
  this->make(2);
  Bytes got(16);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(this->at(1).receive(0, got, call(1)), Progress::busy);
    EXPECT_TRUE(this->at(0).progress().ok());
    EXPECT_TRUE(this->at(1).progress().ok());
  }
  EXPECT_EQ(got, Bytes(16));
}

TYPED_TEST_P(LinkConformance, EitherSideMaySpeakFirst) {
  this->make(2);
  const Bytes up = pattern(1, 100), down = pattern(2, 200);
  ASSERT_EQ(this->at(1).send(0, down, call(1)), Progress::done);
  this->expect_message(0, 1, down, call(1));
  ASSERT_EQ(this->send(0, 1, up, call(2)), Progress::done);
  this->expect_message(1, 0, up, call(2));
}

TYPED_TEST_P(LinkConformance, EverySizeFromOneByteToAWholeSlot) {
  constexpr size_t kSlot = 512;
  this->make(2, 8, kSlot);
  for (size_t bytes = 1; bytes <= kSlot; ++bytes) {
    const auto number = static_cast<uint32_t>(bytes);
    ASSERT_EQ(this->send(0, 1, pattern(bytes, bytes), call(number)), Progress::done);
    ASSERT_NO_FATAL_FAILURE(this->expect_message(1, 0, pattern(bytes, bytes), call(number)));
  }
}

TYPED_TEST_P(LinkConformance, MessagesArriveInOrder) {
  this->make(2);
  for (uint32_t round = 0; round < 50; ++round) {
    for (uint32_t i = 0; i < 6; ++i)
      ASSERT_EQ(this->send(0, 1, pattern(round * 6 + i, 1 + 37 * i), call(round * 6 + i)), Progress::done);
    for (uint32_t i = 0; i < 6; ++i)
      ASSERT_NO_FATAL_FAILURE(this->expect_message(1, 0, pattern(round * 6 + i, 1 + 37 * i), call(round * 6 + i)));
  }
}

TYPED_TEST_P(LinkConformance, AFullLinkIsBusyUntilTheReceiverTakes) {
  for (const uint32_t slots : {4u, 300u}) {  // fewer and more than what a channel holds
    this->make(2, slots, 4096);
    uint32_t sent = 0;
    while (sent < 100'000 && this->at(0).send(1, pattern(sent, 4096), call(sent)) == Progress::done) ++sent;
    ASSERT_GT(sent, 0u);
    ASSERT_LT(sent, 100'000u);
    for (uint32_t i = 0; i < sent; ++i) ASSERT_NO_FATAL_FAILURE(this->expect_message(1, 0, pattern(i, 4096), call(i)));
    ASSERT_EQ(this->send(0, 1, pattern(sent, 7), call(sent)), Progress::done);
    this->expect_message(1, 0, pattern(sent, 7), call(sent));
  }
}

TYPED_TEST_P(LinkConformance, BothDirectionsAtOnce) {
  constexpr uint32_t kMessages = 600;
  this->make(2);
  uint32_t sent[2] = {}, received[2] = {};
  Bytes got[2] = {Bytes(4096), Bytes(4096)};
  const auto tag = [](int from, uint32_t i) { return static_cast<uint64_t>(from) * 1000 + i; };
  const auto all_there = [&] {
    for (int me = 0; me < 2; ++me) {
      const int peer = 1 - me;
      if (sent[me] < kMessages && this->at(me).send(peer, pattern(tag(me, sent[me]), 4096), call(sent[me])) == Progress::done)
        ++sent[me];
      if (received[me] < kMessages && this->at(me).receive(peer, got[me], call(received[me])) == Progress::done) {
        EXPECT_EQ(got[me], pattern(tag(peer, received[me]), 4096)) << received[me];
        ++received[me];
      }
    }
    return received[0] == kMessages && received[1] == kMessages;
  };
  EXPECT_TRUE(this->eventually(all_there));
}

TYPED_TEST_P(LinkConformance, AReceivedSlotIsChangedAndPassedOn) {
  this->make(3);
  const Slot filled = this->at(0).pool().acquire();
  ASSERT_TRUE(filled);
  std::memcpy(filled.data, pattern(1, 1000).data(), 1000);
  ASSERT_EQ(this->at(0).link(1).send(filled, 1000, call(1)), Progress::done);

  Slot taken, last;
  ASSERT_EQ(this->settled([&] { return this->at(1).take(0, taken, 1000, call(1)); }), Progress::done);
  ASSERT_EQ(Bytes(taken.data, taken.data + 1000), pattern(1, 1000));
  std::memcpy(taken.data, pattern(2, 500).data(), 500);
  ASSERT_EQ(this->settled([&] { return this->at(1).link(2).send(taken, 1000, call(2)); }), Progress::done);

  ASSERT_EQ(this->settled([&] { return this->at(2).take(1, last, 1000, call(2)); }), Progress::done);
  EXPECT_EQ(Bytes(last.data, last.data + 500), pattern(2, 500));
  const Bytes rest = pattern(1, 1000);
  EXPECT_EQ(Bytes(last.data + 500, last.data + 1000), Bytes(rest.begin() + 500, rest.end()));
  this->at(2).pool().release(last);
  for (int rank = 0; rank < 3; ++rank) EXPECT_TRUE(this->all_slots_home(rank)) << rank;
}

TYPED_TEST_P(LinkConformance, OneSlotForSeveralReceivers) {
  this->make(4);
  const Slot slot = this->at(0).pool().acquire();
  std::memcpy(slot.data, pattern(3, 64).data(), 64);
  this->at(0).pool().add_holders(slot, 3);  // three receivers and this rank, which reads it too
  for (int to = 1; to < 4; ++to)
    ASSERT_EQ(this->settled([&] { return this->at(0).link(to).send(slot, 64, call(9)); }), Progress::done);
  for (int at = 1; at < 4; ++at) {
    Slot taken;
    ASSERT_EQ(this->settled([&] { return this->at(at).take(0, taken, 64, call(9)); }), Progress::done);
    EXPECT_EQ(Bytes(taken.data, taken.data + 64), pattern(3, 64));
    this->at(at).pool().release(taken);
    EXPECT_LT(this->at(0).pool().available(this->at(0).pool().slots()), this->at(0).pool().slots());
  }
  EXPECT_EQ(Bytes(slot.data, slot.data + 64), pattern(3, 64));
  this->at(0).pool().release(slot);
  for (int rank = 0; rank < 4; ++rank) EXPECT_TRUE(this->all_slots_home(rank)) << rank;
}

TYPED_TEST_P(LinkConformance, AnEmptyPoolGivesNothingUntilASlotIsReturned) {
  this->make(2, 4);
  SlotPool& pool = this->at(0).pool();
  ASSERT_EQ(pool.slots(), 4u);
  std::vector<Slot> held;
  while (const Slot slot = pool.acquire()) held.push_back(slot);
  ASSERT_EQ(held.size(), 4u);
  EXPECT_EQ(pool.available(1), 0u);
  pool.release(held.back());
  const Slot again = pool.acquire();
  EXPECT_EQ(again.data, held.back().data);
  EXPECT_FALSE(pool.acquire());
  for (const Slot slot : held) pool.release(slot);
  EXPECT_TRUE(this->all_slots_home(0));
}

TYPED_TEST_P(LinkConformance, SentSlotsComeHome) {
  this->make(2, 3);
  SlotPool& pool = this->at(0).pool();
  for (uint32_t i = 0; i < 300; ++i) {
    Slot slot, taken;
    ASSERT_TRUE(this->eventually([&] { return static_cast<bool>(slot = pool.acquire()); })) << i;
    std::memcpy(slot.data, pattern(i, 4096).data(), 4096);
    ASSERT_EQ(this->settled([&] { return this->at(0).link(1).send(slot, 4096, call(i)); }), Progress::done);
    ASSERT_EQ(this->settled([&] { return this->at(1).take(0, taken, 4096, call(i)); }), Progress::done);
    ASSERT_EQ(Bytes(taken.data, taken.data + 4096), pattern(i, 4096)) << i;
    this->at(1).pool().release(taken);
  }
  EXPECT_TRUE(this->all_slots_home(0));
  EXPECT_TRUE(this->all_slots_home(1));
}

TYPED_TEST_P(LinkConformance, PiecesAreGatheredAndScattered) {
  this->make(2);
  if (this->form() != LinkForm::bytes) GTEST_SKIP() << "not a stream";
  constexpr size_t kBytes = 1'000'003;  // more than a socket takes at once
  Bytes source = pattern(5, kBytes), target(kBytes);
  const auto cut = [](Bytes& bytes, size_t pieces) {
    std::vector<Piece> parts;
    size_t from = 0;
    for (size_t i = 0; i < pieces; ++i) {  // lengths 1, 2, 3 … and the rest
      const size_t length = i + 1 < pieces ? i + 1 : bytes.size() - from;
      parts.push_back({bytes.data() + from, length});
      from += length;
    }
    return parts;
  };
  uint32_t number = 0;
  for (const size_t send_pieces : {size_t{1}, size_t{5}, kMaxPieces})
    for (const size_t receive_pieces : {size_t{1}, size_t{7}, kMaxPieces}) {
      uint64_t ticket = 0;
      ASSERT_EQ(this->settled([&] { return this->at(0).bytes(1).send(cut(source, send_pieces), call(number), ticket); }),
                Progress::done);
      std::fill(target.begin(), target.end(), std::byte{0});
      ASSERT_EQ(this->settled([&] { return this->at(1).bytes(0).receive(cut(target, receive_pieces), call(number)); }),
                Progress::done);
      ASSERT_EQ(target, source);
      EXPECT_TRUE(this->eventually([&] { return this->at(0).link(1).sent(ticket); }));
      ++number;
    }
}

TYPED_TEST_P(LinkConformance, ATicketCoversAllMessagesBeforeIt) {
  this->make(2);
  if (this->form() != LinkForm::bytes) GTEST_SKIP() << "not a stream";
  constexpr uint32_t kMessages = test::fewer(12u, 5u);
  ByteLink& link = this->at(0).bytes(1);
  Bytes source = pattern(6, 3'000'000);
  const Piece piece{source.data(), source.size()};
  std::vector<uint64_t> tickets(kMessages);
  for (uint32_t i = 0; i < kMessages; ++i)
    ASSERT_EQ(this->settled([&] { return link.send(Pieces(&piece, 1), call(i), tickets[i]); }), Progress::done);
  EXPECT_TRUE(link.sent(0));
  EXPECT_FALSE(link.sent(tickets.back()));  // 15 MB are in no socket
  for (uint32_t i = 0; i < kMessages; ++i) {
    this->expect_message(1, 0, source, call(i));
    for (uint32_t later = i + 1; later < kMessages; ++later)
      EXPECT_LE(link.sent(tickets[later]), link.sent(tickets[i])) << i << ' ' << later;
  }
  EXPECT_TRUE(this->eventually([&] { return link.sent(tickets.back()); }));
  for (const uint64_t ticket : tickets) EXPECT_TRUE(link.sent(ticket));
}

TYPED_TEST_P(LinkConformance, PeekingTellsTheNextMessage) {
  this->make(2);
  Signature next;
  Link& link = this->at(1).link(0);
  EXPECT_EQ(link.peek(next), Progress::busy);
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4000}}) {
    const Bytes sent = pattern(bytes, bytes);
    ASSERT_EQ(this->send(0, 1, sent, call(11)), Progress::done);
    ASSERT_EQ(this->send(0, 1, Bytes(3), call(12)), Progress::done);
    for (int again = 0; again < 2; ++again) {
      ASSERT_EQ(this->settled([&] { return link.peek(next); }), Progress::done);
      EXPECT_EQ(next, call(11));
    }
    this->expect_message(1, 0, sent, call(11));
    ASSERT_EQ(this->settled([&] { return link.peek(next); }), Progress::done);
    EXPECT_EQ(next, call(12));
    this->expect_message(1, 0, Bytes(3), call(12));
    EXPECT_EQ(link.peek(next), Progress::busy);
  }
}

TYPED_TEST_P(LinkConformance, AnotherCallIsAMismatch) {
  this->make(2);
  Bytes got(100);
  ASSERT_EQ(this->send(0, 1, pattern(1, 100), call(1)), Progress::done);
  this->expect_message(1, 0, pattern(1, 100), call(1));
  ASSERT_EQ(this->send(0, 1, pattern(2, 100), call(2)), Progress::done);
  ASSERT_EQ(this->settled([&] { return this->at(1).receive(0, got, call(3)); }), Progress::mismatch);
  EXPECT_EQ(this->at(1).link(0).offender(), call(2));
}

TYPED_TEST_P(LinkConformance, AnotherLengthIsAMismatch) {
  for (const size_t expected : {1u, 99u, 101u, 4096u}) {
    this->make(2);
    Bytes got(expected);
    ASSERT_EQ(this->send(0, 1, pattern(1, 100), call(1)), Progress::done);
    ASSERT_EQ(this->settled([&] { return this->at(1).receive(0, got, call(1)); }), Progress::mismatch) << expected;
    EXPECT_EQ(this->at(1).link(0).offender(), call(1));
  }
}

TYPED_TEST_P(LinkConformance, WhatWasSentBeforeALossArrives) {
  if constexpr (TypeParam::kSeesLoss) {
    for (const int victim : {0, 1}) {
      this->make(2);
      const int survivor = 1 - victim;
      const Bytes bytes = pattern(1, 64);
      ASSERT_EQ(this->send(survivor, victim, bytes, call(1)), Progress::done);
      this->expect_message(victim, survivor, bytes, call(1));
      for (uint32_t i = 1; i <= 3; ++i) ASSERT_EQ(this->send(victim, survivor, pattern(i, 64), call(i)), Progress::done);
      ASSERT_TRUE(this->eventually([&] { return this->at(victim).all_sent(); }));
      this->kill(victim);
      for (uint32_t i = 1; i <= 3; ++i) this->expect_message(survivor, victim, pattern(i, 64), call(i));
      EXPECT_TRUE(this->at(survivor).progress().ok());  // no loss until somebody asks for more

      Bytes more(64);
      ASSERT_EQ(this->settled([&] { return this->at(survivor).receive(victim, more, call(4)); }), Progress::lost);
      const Status error = this->at(survivor).link(victim).error();
      EXPECT_EQ(error.code(), Code::peer_lost);
      EXPECT_NE(error.message().find("rank " + std::to_string(victim)), std::string::npos) << error.message();
      EXPECT_EQ(this->at(survivor).receive(victim, more, call(4)), Progress::lost);
      EXPECT_EQ(this->at(survivor).send(victim, more, call(4)), Progress::lost);
    }
  } else {
    GTEST_SKIP() << "such links do not see losses";
  }
}

TYPED_TEST_P(LinkConformance, SlotsOfALostLinkComeHome) {
  if constexpr (TypeParam::kSeesLoss) {
    constexpr size_t kSlot = 65536;
    this->make(2, 200, kSlot);  // more than sockets hold
    ASSERT_EQ(this->send(0, 1, pattern(1, 64), call(1)), Progress::done);
    this->expect_message(1, 0, pattern(1, 64), call(1));
    Link& link = this->at(0).link(1);
    const auto send_slot = [&] {
      const Slot slot = this->at(0).pool().acquire();
      if (!slot) return Progress::busy;
      const Progress progress = link.send(slot, kSlot, call(2));
      if (progress != Progress::done) this->at(0).pool().release(slot);
      return progress;
    };
    while (send_slot() == Progress::done) {
    }
    EXPECT_LT(this->at(0).pool().available(this->at(0).pool().slots()), this->at(0).pool().slots());
    this->kill(1);
    EXPECT_EQ(this->settled([&] { return send_slot() == Progress::lost ? Progress::lost : Progress::busy; }), Progress::lost);
    EXPECT_TRUE(this->all_slots_home(0));
  } else {
    GTEST_SKIP() << "such links do not see losses";
  }
}

TYPED_TEST_P(LinkConformance, ThreadsInARing) {
  constexpr int kRanks = 4;
  constexpr uint32_t kMessages = 300;
  this->make(kRanks);
  const auto length = [](uint32_t i) { return 1 + (i * 131u) % 4096u; };
  const auto run = [&](int rank) {
    Post& post = this->at(rank);
    const int next = (rank + 1) % kRanks, previous = (rank + kRanks - 1) % kRanks;
    uint32_t sent = 0, received = 0;
    Bytes got(length(0));
    const auto step = [&] {
      if (sent < kMessages &&
          post.send(next, pattern(sent + static_cast<uint64_t>(rank), length(sent)), call(sent)) == Progress::done)
        ++sent;
      if (received < kMessages && post.receive(previous, got, call(received)) == Progress::done) {
        EXPECT_EQ(got, pattern(received + static_cast<uint64_t>(previous), length(received))) << rank << ' ' << received;
        got.assign(length(++received), std::byte{0});
      }
      return sent == kMessages && received == kMessages && post.all_sent() ? Progress::done : Progress::busy;
    };
    EXPECT_EQ(settle(step, [&] { EXPECT_TRUE(post.progress().ok()); }), Progress::done) << rank;
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < kRanks; ++rank) threads.emplace_back(run, rank);
  for (std::thread& thread : threads) thread.join();
}

REGISTER_TYPED_TEST_SUITE_P(LinkConformance, AlwaysTheSameLink, NothingArrivesBeforeItIsSent, EitherSideMaySpeakFirst,
                            EverySizeFromOneByteToAWholeSlot, MessagesArriveInOrder, AFullLinkIsBusyUntilTheReceiverTakes,
                            BothDirectionsAtOnce, AReceivedSlotIsChangedAndPassedOn, OneSlotForSeveralReceivers,
                            AnEmptyPoolGivesNothingUntilASlotIsReturned, SentSlotsComeHome, PiecesAreGatheredAndScattered,
                            ATicketCoversAllMessagesBeforeIt, PeekingTellsTheNextMessage, AnotherCallIsAMismatch,
                            AnotherLengthIsAMismatch, WhatWasSentBeforeALossArrives, SlotsOfALostLinkComeHome, ThreadsInARing);

}  // namespace tutti

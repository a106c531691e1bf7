// Messages with tags over links of every form that are as unhelpful as they may be, and messages that no rank sends.

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <random>

#include "engine_world.h"

namespace tutti::test {
namespace {

using Numbers = std::vector<uint32_t>;

Signature message_of(size_t count, int tag) {
  Signature signature;
  signature.collective = static_cast<uint8_t>(Collective::point_to_point);
  signature.data_type = static_cast<uint8_t>(DataType::uint32);
  signature.count = count;
  signature.root = tag;
  signature.context = EngineWorld::kContext;
  return signature;
}

Numbers numbers_of(int from, int tag, size_t count) {
  Numbers numbers(count);
  std::iota(numbers.begin(), numbers.end(), static_cast<uint32_t>(from * 1'000'000 + tag * 100'000));
  return numbers;
}

std::shared_ptr<Operation> send_op(Numbers& numbers, int to, int tag, LinkTable& table) {
  auto* const data = reinterpret_cast<std::byte*>(numbers.data());
  const Signature message = message_of(numbers.size(), tag);
  if (to == table.matching->rank())
    return std::make_shared<OwnMessage>(message, data, numbers.size() * sizeof(uint32_t), true, to, table);
  return EngineWorld::transfer(true, to, data, message, table);
}

std::shared_ptr<Operation> receive_op(Numbers& numbers, int from, int tag, LinkTable& table, TellReceived tell = {}) {
  return std::make_shared<ReceiveOperation>(message_of(numbers.size(), tag), from, reinterpret_cast<std::byte*>(numbers.data()),
                                            std::move(tell), table);
}

const std::vector<Wiring> kEveryWiring = {Wiring::slots, Wiring::streams, Wiring::mixed, Wiring::puts, Wiring::all};
const memory::ArenaShape kThreeRanks{.ranks = 3, .slots = 8, .slot_bytes = 256};

// What fits into no link or pool, both ways at once, with the receive started after the send.
TEST(Matching, ExchangesOverEveryForm) {
  for (const Wiring wiring : kEveryWiring)
    for (const size_t count : {size_t{0}, size_t{1}, size_t{64}, size_t{65}, size_t{20'000}}) {
      EngineWorld world(Team(3), wiring, kThreeRanks, 3, EngineWorld::Traffic::messages);
      std::deque<Numbers> sent, got(3, Numbers(count));
      for (int rank = 0; rank < 3; ++rank) sent.push_back(numbers_of(rank, 1, count));
      world.start([&](int rank, LinkTable& table) { return send_op(sent[static_cast<size_t>(rank)], (rank + 1) % 3, 1, table); });
      world.start([&](int rank, LinkTable& table) { return receive_op(got[static_cast<size_t>(rank)], (rank + 2) % 3, 1, table); });
      const Status status = world.finish();
      ASSERT_TRUE(status.ok()) << static_cast<int>(wiring) << ", " << count << ": " << status.message();
      for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(got[static_cast<size_t>(rank)], numbers_of((rank + 2) % 3, 1, count));
    }
}

// Two ranks exchange, so that a send and a receive share the slots for one peer.
TEST(Matching, TwoRanksExchangeOverEveryForm) {
  for (const Wiring wiring : kEveryWiring) {
    EngineWorld world(Team(2), wiring, {.ranks = 2, .slots = 4, .slot_bytes = 256}, 5, EngineWorld::Traffic::messages);
    std::deque<Numbers> sent = {numbers_of(0, 1, 20'000), numbers_of(1, 1, 20'000)}, got(2, Numbers(20'000));
    world.start([&](int rank, LinkTable& table) { return send_op(sent[static_cast<size_t>(rank)], 1 - rank, 1, table); });
    world.start([&](int rank, LinkTable& table) { return receive_op(got[static_cast<size_t>(rank)], 1 - rank, 1, table); });
    const Status status = world.finish();
    ASSERT_TRUE(status.ok()) << static_cast<int>(wiring) << ": " << status.message();
    for (size_t rank = 0; rank < 2; ++rank) EXPECT_EQ(got[rank], sent[1 - rank]);
  }
}

// All ranks to all, in random orders of tags; what was sent first of a source and tag is received first.
TEST(Matching, RandomTrafficOverEveryForm) {
  for (const Wiring wiring : kEveryWiring)
    for (uint32_t seed = 1; seed <= 6; ++seed) {
      EngineWorld world(Team(3), wiring, kThreeRanks, seed, EngineWorld::Traffic::messages);
      struct Item {
        int peer, tag;
        Numbers numbers, buffer;
        Received got;
      };
      std::deque<Item> sends[3], receives[3];
      std::minstd_rand random(seed);
      for (int from = 0; from < 3; ++from)
        for (int to = 0; to < 3; ++to)
          for (int i = 0; i < 5; ++i) {
            const int tag = static_cast<int>(random() % 3);
            const size_t count = random() % 4 == 0 ? random() % 3'000 : random() % 60;
            Numbers numbers = numbers_of(from, tag, count);
            if (count > 0) numbers[0] += static_cast<uint32_t>(i);
            sends[from].push_back({to, tag, numbers, {}, {}});
            receives[to].push_back({from, tag, numbers, Numbers(count + random() % 9), {}});
          }
      for (auto& mine : receives)
        std::stable_sort(mine.begin(), mine.end(), [seed](const Item& a, const Item& b) {
          const auto key = [seed](const Item& item) { return static_cast<uint32_t>(item.peer * 3 + item.tag) * 7919 * seed % 31; };
          return key(a) < key(b);
        });
      size_t next_send[3] = {}, next_receive[3] = {};
      for (int left = 2 * 3 * 15; left > 0;) {
        const auto rank = static_cast<int>(random() % 3);
        size_t& s = next_send[rank];
        size_t& r = next_receive[rank];
        if (random() % 2 == 0 ? s < 15 : r == 15 && s < 15) {
          Item& item = sends[rank][s++];
          world.start_at(rank, [&](int, LinkTable& table) { return send_op(item.numbers, item.peer, item.tag, table); });
        } else if (r < 15) {
          Item& item = receives[rank][r++];
          world.start_at(rank, [&](int, LinkTable& table) {
            return receive_op(item.buffer, item.peer, item.tag, table, [&item](const Received& got) { item.got = got; });
          });
        } else {
          continue;
        }
        --left;
        ASSERT_TRUE(world.advance(3).ok());
      }
      const Status status = world.finish();
      ASSERT_TRUE(status.ok()) << status.message();
      for (auto& mine : receives)
        for (Item& item : mine) {
          EXPECT_EQ(item.got.source, item.peer);
          EXPECT_EQ(item.got.tag, item.tag);
          ASSERT_EQ(item.got.count, item.numbers.size());
          item.buffer.resize(item.got.count);
          EXPECT_EQ(item.buffer, item.numbers);
        }
    }
}

TEST(Matching, WhatNoRankSendsIsReported) {
  const auto failure_of = [](const auto& change) {
    EngineWorld world(Team(2), Wiring::slots, {.ranks = 2, .slots = 4, .slot_bytes = 256}, 1);
    Numbers numbers(8);
    world.start_at(0, [&](int, LinkTable& table) { return receive_op(numbers, 1, 3, table); });
    Signature message = message_of(0, 3);
    change(message);
    EXPECT_EQ(world.link_table(1).peer(0, LinkUse::messages).link->send({}, 0, message), Progress::done);
    return world.finish();
  };
  const auto expect_refused = [](const Status& status, const std::string& words) {
    EXPECT_EQ(status.code(), Code::mismatch);
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  };
  expect_refused(failure_of([](Signature& m) { m.collective = 0; }), "what cannot be read");
  expect_refused(failure_of([](Signature& m) { m.collective = 200; }), "what cannot be read");
  expect_refused(failure_of([](Signature& m) { m.data_type = 77; }), "what cannot be read");
  expect_refused(failure_of([](Signature& m) { m.context = 6; }), "what cannot be read");
  expect_refused(failure_of([](Signature& m) { m.root = -1; }), "what cannot be read");
  expect_refused(failure_of([](Signature& m) { m.count = uint64_t{1} << 62; }), "what cannot be read");
  expect_refused(failure_of([](Signature& m) { m.count = 9; }), "of 9 uint32, tag 3");
  expect_refused(failure_of([](Signature& m) { m.data_type = static_cast<uint8_t>(DataType::float32); }), "float32");
  EXPECT_TRUE(failure_of([](Signature&) {}).ok());
}

TEST(Matching, ALostPeerIsReported) {
  EngineWorld world(Team(2), Wiring::streams, {.ranks = 2, .slots = 4, .slot_bytes = 256}, 1);
  Numbers numbers(8);
  world.start_at(0, [&](int, LinkTable& table) { return receive_op(numbers, 1, 3, table); });
  world.cut(1, 0);
  Status status;
  while (status.ok()) status = world.advance(1000);  // the engine leaves others a moment to say why
  EXPECT_EQ(status.code(), Code::peer_lost) << status.message();
}

TEST(Matching, WithdrawnReceivesTakeNothing) {
  EngineWorld world(Team(2), Wiring::slots, {.ranks = 2, .slots = 8, .slot_bytes = 256}, 1);
  LinkTable& table = world.link_table(0);
  Numbers first(8), second(8), sent = numbers_of(1, 2, 8);
  auto withdrawn = receive_op(first, 1, 2, table);
  withdrawn->enter();
  EXPECT_TRUE(withdrawn->withdraw());
  world.start_at(0, [&](int, LinkTable& links) { return receive_op(second, kAny, 2, links); });
  world.start_at(1, [&](int, LinkTable& links) { return send_op(sent, 0, 2, links); });
  const Status status = world.finish();
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(first, Numbers(8));
  EXPECT_EQ(second, sent);
}

}  // namespace
}  // namespace tutti::test

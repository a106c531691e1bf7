// What a bootstrap fails of: every rank hears the first cause, at once, and the same.
#include "rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "clock.h"
#include "rendezvous_fixture.h"

namespace tutti {
namespace {

using testing::HasSubstr;

TEST(FirstCause, OfARankThatCannotGoOnIsHeardByAllWithoutAnExchange) {
  const Hall hall = open_hall(server_options(3));
  Clients clients = all_join(hall, 3);
  EXPECT_TRUE(clients[0]->heard().ok());
  const Status why(Code::out_of_memory, "no memory for 4096 bytes"), first = clients[1]->fail(why);
  EXPECT_EQ(first.code(), Code::out_of_memory);
  EXPECT_EQ(first.message(), "rank 1 (" + this_process() + "): no memory for 4096 bytes");
  for (const size_t rank : {0u, 2u}) {
    const Status heard = await_word(*clients[rank]);
    EXPECT_EQ(heard.code(), Code::out_of_memory);
    EXPECT_EQ(heard.message(), first.message());
    EXPECT_EQ(clients[rank]->watched(), -1);
  }
  EXPECT_EQ(clients[2]->fail(Status(Code::timeout, "nobody came")).message(), first.message());
  EXPECT_EQ(clients[0]->exchange("x").status().message(), first.message());
}

TEST(FirstCause, IsNotOverruledByALaterOne) {
  const Hall hall = open_hall(server_options(2));
  Clients clients = all_join(hall, 2);
  const Status dead(Code::peer_lost, "rank 7 (host b, pid 4711) died");
  EXPECT_EQ(clients[0]->fail(dead).message(), dead.message());
  EXPECT_EQ(clients[1]->fail(Status(Code::system, "later")).message(), dead.message());
}

TEST(FirstCause, ARankThatIsLostIsHeardOfAtOnce) {
  const Hall hall = open_hall(server_options(3));
  Clients clients = all_join(hall, 3);
  clients[2].reset();  // as the kernel does for a process that is killed
  for (const size_t rank : {0u, 1u}) {
    const Status heard = await_word(*clients[rank]);
    EXPECT_EQ(heard.code(), Code::peer_lost);
    EXPECT_THAT(heard.message(), HasSubstr("rank 2 (" + this_process() + ") left during the bootstrap"));
  }
}

TEST(FirstCause, ARankThatIsDoneIsNotLost) {
  const Hall hall = open_hall(server_options(3));
  Clients clients = all_join(hall, 3);
  clients[2]->leave();
  clients[2].reset();
  const Status why(Code::system, "no space");
  EXPECT_EQ(clients[1]->fail(why).message(), "rank 1 (" + this_process() + "): no space");  // and nothing before
}

TEST(FirstCause, TheServersEndIsNoLossOnceRankZeroIsDone) {
  Hall hall = open_hall(server_options(2));
  Clients clients = all_join(hall, 2);
  clients[0]->leave();
  hall.server.reset();
  EXPECT_TRUE(await_word(*clients[1]).ok());
  EXPECT_EQ(clients[1]->watched(), -1);
  EXPECT_EQ(clients[1]->fail(Status(Code::system, "mine")).message(), "mine");
  EXPECT_THAT(clients[1]->exchange("x").status().message(), HasSubstr("mine"));
}

TEST(FirstCause, OfRankZeroReachesRanksThatComeLate) {
  Hall hall = open_hall(server_options(3));
  hall.server->give_up(Status(Code::system, "Too many open files"));
  std::thread ending([&] { hall.server.reset(); });
  const auto results =
      outcomes(3, [&](int rank) { return rank == 0 ? Status() : join(hall.address, client_options(rank, 3)).status(); });
  ending.join();
  for (const size_t rank : {1u, 2u}) {
    EXPECT_EQ(results[rank].code(), Code::system);
    EXPECT_EQ(results[rank].message(), "rank 0 (" + this_process() + "): Too many open files");
  }
}

// The rendezvous waits for a minute, rank 1 only for a moment: rank 0 need not wait longer, and both get the verdict.
TEST(Rendezvous, TheEarliestDeadlineOfAnyRankIsThatOfTheBootstrap) {
  const Hall hall = open_hall(server_options(3));
  const auto results = outcomes(3, [&](int rank) {
    return rank == 2 ? Status() : join(hall.address, client_options(rank, 3, rank == 1 ? kShort : kLong)).status();
  });
  for (const size_t rank : {0u, 1u})
    EXPECT_THAT(results[rank].message(),
                HasSubstr("2 of 3 ranks came before the TUTTI_BOOTSTRAP_TIMEOUT of rank 1 (" + this_process() + "); missing: 2"));
}

TEST(Rendezvous, DeadlineIsThatOfTheWholeBootstrap) {
  RendezvousOptions options = server_options(2);
  options.deadline = now_ns() + 2 * kShort;
  const Hall hall = open_hall(options);
  Clients clients = all_join(hall, 2);
  const Status late = await_word(*clients[0]);
  EXPECT_THAT(late.message(), HasSubstr("the bootstrap of the communicator did not end within"));
  EXPECT_THAT(late.message(), HasSubstr("still at it: 0, 1"));
}

}  // namespace
}  // namespace tutti

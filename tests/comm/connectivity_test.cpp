// Which kind serves which pair, for ranks that say of themselves what the test wants.
#include "connectivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry.h"

namespace tutti {
namespace {

using testing::HasSubstr;

constexpr char kSecret[] = "00112233445566778899aabbccddeeff";

struct Job {
  // One rank more.  `kinds`: that it has cards of: "shm tcp".
  Job& rank(const std::string& host, const std::string& kinds, uint64_t user = 1000) {
    Introduction i;
    i.host_id = host;
    i.host = host;
    i.pid = 100 + ranks.size();
    i.user = user;
    if (kinds.find("shm") != std::string::npos) i.cards["shm"] = "socket-" + std::to_string(i.pid) + " " + kSecret;
    for (const char* name : {"memory", "tcp"})
      if (kinds.find(name) != std::string::npos) i.cards[name] = "";
    names.push_back("rank " + std::to_string(ranks.size()) + " (host " + host + ")");
    ranks.push_back(std::move(i));
    return *this;
  }
  Connectivity connectivity() const { return {transport_kinds(), ranks, names}; }
  std::string between(int a, int b) const {
    const int kind = connectivity().between(a, b);
    return kind < 0 ? "none" : std::string(transport_kinds()[static_cast<size_t>(kind)].name);
  }
  std::vector<Introduction> ranks;
  std::vector<std::string> names;
};

int number_of(std::string_view name) {
  for (size_t kind = 0; kind < transport_kinds().size(); ++kind)
    if (transport_kinds()[kind].name == name) return static_cast<int>(kind);
  return -1;
}

class ConnectivityTest : public testing::Test {
  void SetUp() override {
    for (const std::string_view name : {"memory", "shm", "tcp"})
      if (!transport_kinds()[static_cast<size_t>(number_of(name))].built()) GTEST_SKIP() << "this build has no " << name;
  }
};

TEST_F(ConnectivityTest, OneHostSharesMemoryAndNeedsNothingElse) {
  const Job job = Job().rank("a", "shm tcp").rank("a", "shm tcp").rank("a", "shm");
  EXPECT_TRUE(job.connectivity().check().ok());
  EXPECT_EQ(job.between(0, 2), "shm");
  EXPECT_TRUE(job.connectivity().share_memory(1, 2));
  EXPECT_FALSE(job.connectivity().needed(number_of("tcp")));
  EXPECT_EQ(job.connectivity().warning(), "");
}

TEST_F(ConnectivityTest, HostsUseTheTransportThatReachesEverywhere) {
  const Job job = Job().rank("a", "shm tcp").rank("b", "shm tcp").rank("a", "shm tcp").rank("c", "tcp");
  EXPECT_TRUE(job.connectivity().check().ok());
  EXPECT_EQ(job.between(0, 2), "shm");
  EXPECT_EQ(job.between(0, 1), "tcp");
  EXPECT_EQ(job.between(2, 3), "tcp");
  EXPECT_EQ(job.connectivity().sharing(1), -1);
  EXPECT_TRUE(job.connectivity().needed(number_of("tcp")));
}

TEST_F(ConnectivityTest, ThreadsOfOneProcessNeedOneKindOnly) {
  Job job = Job().rank("a", "memory").rank("a", "memory");
  job.ranks[1].pid = job.ranks[0].pid;
  EXPECT_TRUE(job.connectivity().check().ok());
  EXPECT_EQ(job.between(0, 1), "memory");
  job.ranks[1].pid += 1;
  EXPECT_FALSE(job.connectivity().check().ok());
}

TEST_F(ConnectivityTest, OneRankNeedsNoTransport) {
  const Job job = Job().rank("a", "");
  EXPECT_TRUE(job.connectivity().check().ok());
  EXPECT_FALSE(job.connectivity().needed(number_of("tcp")));
}

TEST_F(ConnectivityTest, TheRankThatIsNotReachedIsNamed) {
  const Job job = Job().rank("a", "shm tcp").rank("a", "shm").rank("b", "shm tcp");
  EXPECT_EQ(job.connectivity().check().message(),
            "the ranks are not all on one host, and rank 1 (host a) may not use tcp or ucx (TUTTI_TRANSPORT, or built without it)");
  EXPECT_EQ(job.between(1, 2), "none");
}

TEST_F(ConnectivityTest, OneHostWithoutAnyTransportInCommon) {
  const Job job = Job().rank("a", "shm").rank("a", "tcp");
  EXPECT_EQ(job.connectivity().check().message(),
            "the ranks may not all share memory, though on one host, and rank 0 (host a) may not use tcp or ucx (TUTTI_TRANSPORT, "
            "or built without it)");
}

TEST_F(ConnectivityTest, UsersShareNoMemory) {
  const Job other_user = Job().rank("a", "shm tcp", 0).rank("a", "shm tcp", 7);
  EXPECT_TRUE(other_user.connectivity().check().ok());
  EXPECT_EQ(other_user.between(0, 1), "tcp");
  EXPECT_EQ(other_user.connectivity().warning(),
            "rank 0 (host a) runs as user 0 and rank 1 (host a) as user 7: they share no memory and use tcp instead");
  Job without_tcp = Job().rank("a", "shm", 0).rank("a", "shm", 7);
  EXPECT_EQ(without_tcp.connectivity().check().message(),
            "rank 0 (host a) runs as user 0 and rank 1 (host a) as user 7, so they share no memory, and rank 0 (host a) may "
            "not use tcp or ucx (TUTTI_TRANSPORT, or built without it)");
  without_tcp.ranks[1].user = 0;
  without_tcp.ranks[1].user_namespace = "5";
  EXPECT_THAT(without_tcp.connectivity().check().message(), HasSubstr("as user 0 of another user namespace"));
}

// A card may hold anything.
TEST_F(ConnectivityTest, CardsThatCannotBeReadReachNobody) {
  for (const std::string& card : {std::string(), std::string("socket"), std::string("socket 00"), " " + std::string(kSecret),
                                  std::string(101, 'a') + " " + kSecret, "so/cket " + std::string(kSecret),
                                  "socket-1 " + std::string(32, 'x')}) {
    Job job = Job().rank("a", "shm tcp").rank("a", "shm tcp").rank("a", "shm tcp");
    job.ranks[1].cards["shm"] = card;
    EXPECT_TRUE(job.connectivity().check().ok());
    EXPECT_EQ(job.between(0, 1), "tcp") << card;
    EXPECT_EQ(job.between(0, 2), "shm") << card;
    EXPECT_EQ(job.connectivity().sharing(1), -1);
  }
}

// Nothing here looks at each pair.
TEST_F(ConnectivityTest, ManyRanks) {
  Job job;
  for (int rank = 0; rank < 20'000; ++rank) job.rank("host" + std::to_string(rank / 4), "shm tcp");
  const Connectivity connectivity = job.connectivity();
  EXPECT_TRUE(connectivity.check().ok());
  EXPECT_TRUE(connectivity.share_memory(19'996, 19'999));
  EXPECT_FALSE(connectivity.share_memory(19'995, 19'996));
}

}  // namespace
}  // namespace tutti

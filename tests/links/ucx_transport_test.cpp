// Behaviour of UCX links beyond the conformance suite: strangers, bad peers, deaths, windows, what is left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "post.h"
#include "ucx_world.h"

namespace tutti::ucx {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

class UcxTransportTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!UcxWorld::available()) GTEST_SKIP() << "libucp cannot be loaded: " << Ucx::load().status().message();
    world_ = std::make_unique<UcxWorld>(3, 8, 4096);
  }

  UcxLink& link(int rank, int peer) { return world_->transport(rank).link_to(peer); }
  Address address(int rank) { return *parse_address(world_->address(rank)); }

  template <class Ask>
  Progress settled(Ask ask) {
    return settle(ask, [this] {
      for (int rank = 0; rank < 3; ++rank)
        if (world_->lives(rank)) (void)world_->transport(rank).progress();
    });
  }
  template <class Condition>
  bool eventually(Condition condition) {
    return settled([&] { return condition() ? Progress::done : Progress::busy; }) == Progress::done;
  }
  Progress receive(int rank, int peer, Bytes& bytes, const Signature& expected) {
    const Piece piece{bytes.data(), bytes.size()};
    return settled([&] { return link(rank, peer).receive(Pieces(&piece, 1), expected); });
  }
  Progress send(int rank, int peer, Bytes& bytes, const Signature& signature) {
    const Piece piece{bytes.data(), bytes.size()};
    uint64_t ticket = 0;
    return settled([&] { return link(rank, peer).send(Pieces(&piece, 1), signature, ticket); });
  }
  std::string logged() {
    std::string text(4096, '\0');
    const ssize_t n = ::pread(world_->log(), text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
  }

  std::unique_ptr<UcxWorld> world_;
};

// A worker of the test's own that sends what it likes to one rank.
class Impostor {
 public:
  explicit Impostor(const Address& target) : target_(target), worker_(std::move(*UcxWorker::open(ignore, nullptr))) {
    endpoint_ = *worker_->connect(target_.worker, failed, nullptr);
  }
  ~Impostor() {
    ucs_status_ptr_t closing = worker_->hang_up(endpoint_);
    EXPECT_TRUE(settle(
                    [&] {
                      worker_->progress();
                      bool over = worker_->settle(closing) != UCS_INPROGRESS;
                      for (const auto& said : said_) over &= worker_->settle(said->operation) != UCS_INPROGRESS;
                      return over ? Progress::done : Progress::busy;
                    },
                    [] {}) == Progress::done);
  }

  // Of rank 0, and right but for what the test changes.
  Header header(uint32_t number, uint32_t sequence) const {
    Header made;
    made.number = number;
    made.secret = target_.secret;
    made.signature = call(sequence);
    return made;
  }
  void say(const Header& what, const Bytes& bytes) {
    said_.push_back(std::make_unique<Said>(Said{what, bytes, {}, nullptr}));
    Said& said = *said_.back();
    const Piece piece{said.bytes.data(), said.bytes.size()};
    said.operation = worker_->send(endpoint_, said.header, Pieces(&piece, 1), said.parts);
  }
  void progress() { worker_->progress(); }

 private:
  struct Said {
    Header header;
    Bytes bytes;
    std::vector<ucp_dt_iov_t> parts;
    ucs_status_ptr_t operation;
  };
  static ucs_status_t ignore(void*, const void*, size_t, void*, size_t, const ucp_am_recv_param_t*) { return UCS_OK; }
  static void failed(void*, ucp_ep_h, ucs_status_t) {}

  Address target_;
  std::vector<std::unique_ptr<Said>> said_;
  std::unique_ptr<UcxWorker> worker_;
  ucp_ep_h endpoint_ = nullptr;
};

TEST_F(UcxTransportTest, AddressesFitABootstrapBlob) {
  EXPECT_LE(world_->address(0).size(), 2 * kLongestWorkerAddress + 33);
  EXPECT_NE(address(0).worker, address(1).worker);
  EXPECT_NE(address(0).secret, address(1).secret);
}

TEST_F(UcxTransportTest, UcxTakesNoSignals) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers have handlers of their own";
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGHUP}) {
    struct sigaction now {};
    ASSERT_EQ(::sigaction(signal, nullptr, &now), 0);
    EXPECT_TRUE(now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN) << signal;  // nohup ignores SIGHUP
  }
}

TEST_F(UcxTransportTest, StrangersDisturbNobody) {
  Impostor stranger(address(1));
  Header wrong = stranger.header(0, 1);
  wrong.secret.bytes[0] ^= 1;
  stranger.say(wrong, Bytes(10));
  wrong = stranger.header(0, 1);
  wrong.magic = 0;
  stranger.say(wrong, Bytes(10));
  for (const uint16_t rank : {uint16_t{1}, uint16_t{3}}) {
    wrong = stranger.header(0, 1);
    wrong.rank = rank;
    stranger.say(wrong, Bytes(200'000));
  }
  ASSERT_TRUE(eventually([&] {
    stranger.progress();
    return !logged().empty();
  }));
  for (int i = 0; i < 1000; ++i) {
    stranger.progress();
    EXPECT_TRUE(world_->transport(1).progress().ok());
  }
  Bytes bytes = pattern(1, 1000), got(1000);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  EXPECT_EQ(got, bytes);
  EXPECT_THAT(logged(), HasSubstr("communicator test ignores a message by UCX: it does not know this rank's secret\n"));
  const std::string text = logged();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);  // of many
}

TEST_F(UcxTransportTest, MessagesAreReceivedInTheOrderOfTheirNumbers) {
  Impostor peer(address(1));
  for (const uint32_t number : {2u, 0u, 1u}) peer.say(peer.header(number, number), pattern(number, 100 + number));
  for (uint32_t number = 0; number < 3; ++number) {
    Bytes got(100 + number);
    const Piece piece{got.data(), got.size()};
    ASSERT_EQ(settled([&] {
                peer.progress();
                return link(1, 0).receive(Pieces(&piece, 1), call(number));
              }),
              Progress::done);
    EXPECT_EQ(got, pattern(number, 100 + number));
  }
}

TEST_F(UcxTransportTest, WhatNoLinkSendsIsALoss) {
  const auto is_lost_after = [&](auto change, int times = 1) {
    SetUp();
    Impostor peer(address(1));
    Header header = peer.header(0, 1);
    change(header);
    for (int i = 0; i < times; ++i) peer.say(header, Bytes(10));
    Bytes got(10);
    const Piece piece{got.data(), got.size()};
    const Progress progress = settled([&] {
      peer.progress();
      const Progress received = link(1, 0).receive(Pieces(&piece, 1), call(1));
      return received == Progress::done ? Progress::busy : received;
    });
    EXPECT_EQ(progress, Progress::lost);
    EXPECT_EQ(link(1, 0).error().message(), "rank 0 (host here, pid 1) sent bytes that belong to no message");
    EXPECT_EQ(link(1, 0).error().code(), Code::peer_lost);
  };
  is_lost_after([](Header& header) { header.number = kWindow; });
  is_lost_after([](Header& header) { header.number = UINT32_MAX; });
  is_lost_after([](Header& header) { header.received = 1; });  // nothing was sent
  is_lost_after([](Header& header) { header.received = 1000; });
  is_lost_after([](Header& header) { header.number = 1; }, 2);  // twice the same
}

TEST_F(UcxTransportTest, AnAnnouncedLengthIsCheckedBeforeItsBytesCome) {
  Bytes large(1'000'000), got(100);
  ASSERT_EQ(send(0, 1, large, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::mismatch);
  EXPECT_EQ(link(1, 0).error().code(), Code::mismatch);
  EXPECT_THAT(link(1, 0).error().message(), HasSubstr("rank 0 (host here, pid 1) sent 1000000 bytes of " + describe(call(1)) +
                                                      " where 100 bytes of " + describe(call(1)) + " were due"));
  EXPECT_EQ(receive(1, 0, got, call(1)), Progress::mismatch);
  EXPECT_EQ(send(1, 0, got, call(1)), Progress::mismatch);
  EXPECT_EQ(got, Bytes(100));
}

TEST_F(UcxTransportTest, TheWindowIsWhatAReceiverMayHaveToKeep) {
  Bytes bytes(4096);
  const Piece piece{bytes.data(), bytes.size()};
  uint64_t ticket = 0;
  uint32_t sent = 0;
  for (int tries = 0; tries < 1000; ++tries) {
    if (link(0, 1).send(Pieces(&piece, 1), call(sent), ticket) == Progress::done) ++sent;
    for (int rank = 0; rank < 3; ++rank) EXPECT_TRUE(world_->transport(rank).progress().ok());
  }
  EXPECT_EQ(sent, kWindow);
  Bytes got(4096);
  for (uint32_t i = 0; i < kWindow; ++i) ASSERT_EQ(receive(1, 0, got, call(i)), Progress::done);
  EXPECT_EQ(send(0, 1, bytes, call(kWindow)), Progress::done);
}

TEST_F(UcxTransportTest, ADeadRankIsALossWithUcxsWord) {
  Bytes bytes(10), got(10);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  world_->kill(1);
  EXPECT_EQ(receive(0, 1, got, call(2)), Progress::lost);
  EXPECT_EQ(link(0, 1).error().code(), Code::peer_lost);
  EXPECT_THAT(link(0, 1).error().message(), AllOf(HasSubstr("the UCX connection to rank 1 (host here, pid 1) broke: "),
                                                  AnyOf(HasSubstr("Connection reset"), HasSubstr("Endpoint timeout"))));
}

TEST_F(UcxTransportTest, ARankThatIsGoneCannotBeReached) {
  world_->kill(1);
  Bytes bytes(10);
  EXPECT_EQ(receive(0, 1, bytes, call(1)), Progress::lost);
  EXPECT_THAT(link(0, 1).error().message(), HasSubstr("rank 1 (host here, pid 1)"));
}

TEST_F(UcxTransportTest, ProgressTellsWhatCannotBeDelivered) {
  Bytes few(10), many(30'000'000), got(10);
  ASSERT_EQ(send(0, 1, few, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  ASSERT_EQ(send(0, 1, many, call(2)), Progress::done);
  EXPECT_TRUE(world_->transport(0).progress().ok());
  world_->kill(1);
  Status status;
  ASSERT_TRUE(eventually([&] { return !(status = world_->transport(0).progress()).ok(); }));
  EXPECT_EQ(status.code(), Code::peer_lost);
  EXPECT_FALSE(link(0, 1).sent(2));
  EXPECT_FALSE(world_->transport(0).progress().ok());  // and again
}

// The caller's memory is the caller's again once a transport was given up, whatever the peer still sends.
TEST_F(UcxTransportTest, AfterGivingUpNobodyWrites) {
  Bytes many = pattern(1, 30'000'000), got(many.size());
  const Piece piece{got.data(), got.size()};
  ASSERT_EQ(send(0, 1, many, call(1)), Progress::done);
  ASSERT_TRUE(eventually([&] {
    EXPECT_EQ(link(1, 0).receive(Pieces(&piece, 1), call(1)), Progress::busy);
    return got[0] != std::byte{} || got[1] != std::byte{};
  }));
  world_->transport(1).give_up();
  const Bytes then = got;
  for (int i = 0; i < 1000; ++i) {
    (void)world_->transport(0).progress();
    (void)world_->transport(1).progress();
  }
  EXPECT_EQ(got, then);
  EXPECT_TRUE(world_->transport(1).drained());
  EXPECT_TRUE(world_->transport(1).progress().ok());
  std::vector<pollfd> none;
  EXPECT_FALSE(world_->transport(1).awaited(none));
}

TEST_F(UcxTransportTest, WhoWaitsMaySleep) {
  Bytes bytes(10), got(10);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  const Piece piece{got.data(), got.size()};
  std::vector<pollfd> descriptors;
  ASSERT_TRUE(eventually([&] {  // once nothing of the connection's own is under way any more
    EXPECT_EQ(link(1, 0).receive(Pieces(&piece, 1), call(2)), Progress::busy);
    descriptors.clear();
    return world_->transport(1).awaited(descriptors) && ::poll(descriptors.data(), descriptors.size(), 0) == 0;
  }));
  ASSERT_EQ(descriptors.size(), 1u);
  ASSERT_EQ(send(0, 1, bytes, call(2)), Progress::done);
  EXPECT_EQ(::poll(descriptors.data(), 1, 10'000), 1);
  ASSERT_EQ(receive(1, 0, got, call(2)), Progress::done);
}

TEST_F(UcxTransportTest, BytesAndMemoryAreAccountedFor) {
  Bytes bytes(100), got(100);
  const size_t before = world_->transport(0).memory_bytes();
  EXPECT_EQ(world_->transport(0).sent_bytes(), 0u);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  EXPECT_EQ(world_->transport(0).sent_bytes(), 100u + sizeof(Header));
  EXPECT_EQ(world_->transport(1).sent_bytes(), 0u);
  EXPECT_GT(world_->transport(0).memory_bytes(), before);
}

TEST_F(UcxTransportTest, AChildOfForkHarmsNobody) {
  Bytes bytes = pattern(1, 100'000), got(bytes.size());
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    world_.reset();  // as if it were its own
    ::_exit(0);
  }
  int state = 0;
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  EXPECT_EQ(state, 0);
  for (uint32_t i = 2; i < 10; ++i) {
    ASSERT_EQ(send(1, 0, bytes, call(i)), Progress::done);
    ASSERT_EQ(receive(0, 1, got, call(i)), Progress::done);
    EXPECT_EQ(got, bytes);
  }
}

TEST_F(UcxTransportTest, NoDescriptorIsLeftBehind) {
  const auto descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  world_.reset();
  SetUp();
  world_.reset();
  const auto before = descriptors();
  SetUp();
  Bytes bytes(10), got(10);
  for (const int to : {1, 2}) {
    ASSERT_EQ(send(0, to, bytes, call(1)), Progress::done);
    ASSERT_EQ(receive(to, 0, got, call(1)), Progress::done);
  }
  EXPECT_GT(descriptors(), before);
  world_.reset();
  EXPECT_EQ(descriptors(), before);
}

TEST_F(UcxTransportTest, ALinkThatCannotBeSaysWhy) {
  UcxOptions options;
  options.size = 2;
  options.pool = &world_->pool(0);
  const auto transport = UcxTransport::open(options);
  ASSERT_TRUE(transport.ok()) << transport.status().message();
  EXPECT_FALSE((*transport)->set_peers({"", "", ""}, {"a", "b", "c"}).ok());
  const Status bad = (*transport)->set_peers({"", "nonsense"}, {"rank 0", "rank 1"});
  EXPECT_EQ(bad.message(), "rank 1 published \"nonsense\" is no UCX address; expected hexadecimal digits/32 of them");
  ASSERT_TRUE((*transport)->set_peers({(*transport)->address(), ""}, {"rank 0", "rank 1"}).ok());

  const Bytes bytes(10);
  std::vector<Piece> pieces(1, Piece{const_cast<std::byte*>(bytes.data()), bytes.size()});
  uint64_t ticket = 0;
  EXPECT_EQ((*transport)->link_to(1).send(pieces, call(1), ticket), Progress::lost);
  EXPECT_EQ((*transport)->link_to(1).error().message(), "rank 1 published no UCX address");
  EXPECT_EQ((*transport)->link_to(0).receive(pieces, call(1)), Progress::lost);
  EXPECT_EQ((*transport)->link_to(0).error().code(), Code::internal);

  pieces.resize(kMaxPieces + 1, pieces[0]);
  EXPECT_EQ(link(0, 1).send(pieces, call(1), ticket), Progress::lost);
  EXPECT_EQ(link(0, 1).error().code(), Code::internal);
}

TEST_F(UcxTransportTest, ImpossibleOptionsAreRefused) {
  UcxOptions good;
  good.pool = &world_->pool(0);
  EXPECT_TRUE(UcxTransport::open(good).ok());
  const auto refused = [&](auto change) {
    UcxOptions options = good;
    change(options);
    return !UcxTransport::open(options).ok();
  };
  EXPECT_TRUE(refused([](UcxOptions& options) { options.pool = nullptr; }));
  EXPECT_TRUE(refused([](UcxOptions& options) { options.rank = 1; }));
  EXPECT_TRUE(refused([](UcxOptions& options) { options.size = static_cast<int>(kMostRanks) + 1; }));
}

TEST_F(UcxTransportTest, WithoutANetworkThereIsASentence) {
  world_.reset();
  ::setenv("UCX_TLS", "rc", 1);
  ::setenv("UCX_NET_DEVICES", "none:1", 1);
  memory::ArenaShape shape{1, 8, 4096};
  HeapArena arena(shape);
  memory::ArenaPool pool(arena.arena(), 0);
  UcxOptions options;
  options.pool = &pool;
  const auto transport = UcxTransport::open(options);
  ASSERT_FALSE(transport.ok());
  EXPECT_EQ(transport.status().code(), Code::system);
  EXPECT_THAT(transport.status().message(), AllOf(HasSubstr("UCX cannot "), HasSubstr("UCX_LOG_LEVEL=info tells more")));
}

}  // namespace
}  // namespace tutti::ucx

#include "listener.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>

#include "net_address.h"
#include "sanitized.h"

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kForever = 60 * kSecond;
constexpr size_t kHello = 5;

// A blocking connection from outside.
class Caller {
 public:
  explicit Caller(const SocketAddress& to) : fd_(::socket(to.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(::connect(fd_.get(), to.data(), to.length()), 0);
  }
  void say(const std::string& bytes) {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void leave() { fd_.reset(); }
  bool was_refused() const {
    char byte = 0;
    const ssize_t n = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }
  std::string hear() {  // until the other side closes
    std::string heard;
    char chunk[256];
    for (ssize_t n; (n = ::recv(fd_.get(), chunk, sizeof chunk, 0)) > 0;) heard.append(chunk, static_cast<size_t>(n));
    return heard;
  }

 private:
  OwnedFd fd_;
};

// Admits whoever says "hello", refuses whoever begins otherwise; "later" gets a farewell.
class ListenerTest : public testing::Test, protected Gatekeeper {
 protected:
  void listen(Listener::Options options = {}) {
    const SocketAddress address = *SocketAddress::random_unix();
    std::vector<OwnedFd> sockets;
    sockets.push_back(std::move(*listen_on(address, 128)));
    options.name = "test";
    options.longest_hello = kHello;
    options.log = Log(LogLevel::warn, "tutti", log_.get());
    listener_ = Listener(std::move(sockets), std::move(options));
    address_ = address;
  }
  Verdict judge(PendingConnection& connection) override {
    ++judged_;
    if (connection.said == "later") return Verdict::refused("", "come later");
    if (!std::string_view("hello").starts_with(connection.said) && !std::string_view("later").starts_with(connection.said))
      return Verdict::refused("it is no friend");
    if (connection.said != "hello") return {};
    admitted_.push_back(std::move(connection.fd));
    if (on_admission_) on_admission_();
    return Verdict::admitted();
  }
  void starved(int error) override { starved_ = error; }

  void serve() { EXPECT_TRUE(listener_.serve(*this).ok()); }
  std::string logged() const {
    std::string text(100'000, 0);
    text.resize(static_cast<size_t>(::pread(log_.get(), text.data(), text.size(), 0)));
    return text;
  }

  OwnedFd log_{::memfd_create("log", MFD_CLOEXEC)};
  Listener listener_;
  SocketAddress address_;
  std::vector<OwnedFd> admitted_;
  std::function<void()> on_admission_;
  int judged_ = 0, starved_ = 0;
};

TEST_F(ListenerTest, AdmitsByTheFirstBytesAndReadsNothingBehindThem) {
  listen();
  Caller caller(address_);
  for (const char c : std::string("hell")) {
    caller.say(std::string(1, c));
    serve();
    EXPECT_TRUE(admitted_.empty());
  }
  caller.say("o and more");
  serve();
  ASSERT_EQ(admitted_.size(), 1u);
  EXPECT_TRUE(listener_.empty());
  char rest[16];
  EXPECT_EQ(::recv(admitted_[0].get(), rest, sizeof rest, 0), 9);
  EXPECT_EQ(judged_, 5);
  EXPECT_EQ(logged(), "");
}

TEST_F(ListenerTest, AHelloThatCameWithTheConnectionIsNeverPending) {
  Listener::Options options;
  options.most_pending = 1;
  listen(options);
  std::vector<Caller> callers;
  for (int i = 0; i < 10; ++i) {
    callers.emplace_back(address_);
    callers.back().say("hello");
  }
  serve();
  EXPECT_EQ(admitted_.size(), 10u);
}

TEST_F(ListenerTest, SaysWhomItRefusesAndWhy) {
  listen();
  Caller noise(address_), half(address_);
  noise.say("hex");
  half.say("hel");
  half.leave();
  serve();
  EXPECT_TRUE(noise.was_refused());
  EXPECT_THAT(logged(), HasSubstr("test refused a connection from this host to " + address_.to_string() + ": it is no friend"));
  EXPECT_THAT(logged(), HasSubstr("it left in the middle of its first message"));
  EXPECT_TRUE(listener_.empty());
}

TEST_F(ListenerTest, WhoLeavesWithoutAWordIsNotWorthALine) {
  listen();
  Caller(address_).leave();
  serve();
  serve();
  EXPECT_TRUE(listener_.empty());
  EXPECT_EQ(logged(), "");
}

TEST_F(ListenerTest, SilenceIsBoundedInTime) {
  Listener::Options options;
  options.patience_ns = 20 * kMillisecond;
  listen(options);
  Caller silent(address_);
  serve();
  EXPECT_LE(listener_.next_deadline(now_ns()), now_ns() + options.patience_ns);
  pause_for(options.patience_ns);
  serve();
  EXPECT_TRUE(silent.was_refused());
  EXPECT_THAT(logged(), HasSubstr("it did not say who it is in time"));
  EXPECT_EQ(listener_.next_deadline(now_ns()), UINT64_MAX);
}

TEST_F(ListenerTest, AmongTooManyTheOldestLeavesAfterALastLook) {
  Listener::Options options;
  options.most_pending = 3;
  options.patience_ns = kForever;
  listen(options);
  std::vector<Caller> silent;
  for (int i = 0; i < 3; ++i) silent.emplace_back(address_);
  serve();
  silent[0].say("hello");
  for (int i = 0; i < 2; ++i) silent.emplace_back(address_);
  serve();
  EXPECT_EQ(admitted_.size(), 1u);
  EXPECT_TRUE(silent[1].was_refused());
  for (const size_t still : {2u, 3u, 4u}) EXPECT_FALSE(silent[still].was_refused()) << still;
  EXPECT_THAT(logged(), HasSubstr("others came before it said who it is"));
}

TEST_F(ListenerTest, AFloodFillsNoLog) {
  listen();
  for (int i = 0; i < 30; ++i) Caller(address_).say("noise");
  serve();
  const std::string text = logged();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 16);
  EXPECT_THAT(text, HasSubstr("(further refusals are not logged)"));
}

TEST_F(ListenerTest, GreetsAndTakesLeave) {
  Listener::Options options;
  options.greeting = "welcome, ";
  listen(options);
  Caller caller(address_);
  caller.say("later and bytes that nobody reads");
  serve();
  EXPECT_EQ(caller.hear(), "welcome, come later");
  EXPECT_FALSE(listener_.empty());  // until the caller has gone
  caller.leave();
  serve();
  EXPECT_TRUE(listener_.empty());
  EXPECT_EQ(logged(), "");
}

TEST_F(ListenerTest, ClosesWhileItJudgesButKeepsFarewells) {
  listen();
  Caller refused(address_), silent(address_), caller(address_), late(address_);
  refused.say("later");
  caller.say("hello");
  on_admission_ = [this] { listener_.close(); };
  serve();
  EXPECT_EQ(admitted_.size(), 1u);
  EXPECT_TRUE(silent.was_refused());
  EXPECT_TRUE(late.was_refused());
  EXPECT_EQ(refused.hear(), "come later");
  EXPECT_FALSE(listener_.empty());
  refused.leave();
  serve();
  EXPECT_TRUE(listener_.empty());
}

TEST_F(ListenerTest, ServesWhatPollFoundReady) {
  listen();
  Caller silent(address_), caller(address_);
  const auto serve_ready = [this] {
    std::vector<pollfd> set;
    listener_.watch(set, now_ns());
    EXPECT_GT(::poll(set.data(), set.size(), 60'000), 0);
    EXPECT_TRUE(listener_.serve(*this, set).ok());
    return set.size();
  };
  EXPECT_EQ(serve_ready(), 1u);
  caller.say("hello");
  EXPECT_EQ(serve_ready(), 3u);
  EXPECT_EQ(admitted_.size(), 1u);
  std::vector<pollfd> set;
  listener_.watch(set, now_ns());
  EXPECT_EQ(set.size(), 2u);  // the socket, and who is silent
}

// All descriptors but those that are open are taken, until the end of its life.
class NoDescriptorLeft {
 public:
  NoDescriptorLeft() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit low{std::min<rlim_t>(before_.rlim_cur, 256), before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    do all_.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    while (all_.back());
  }
  NoDescriptorLeft(const NoDescriptorLeft&) = delete;
  ~NoDescriptorLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
  std::vector<OwnedFd> all_;
};

class Shortage : public ListenerTest {
 protected:
  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "UndefinedBehaviorSanitizer needs descriptors itself";
  }
};

TEST_F(Shortage, TheReserveHearsWhoComesAndOthersWait) {
  listen();
  Caller first(address_), second(address_);
  first.say("hello");
  second.say("hello");
  {
    const NoDescriptorLeft limit;
    serve();
    EXPECT_EQ(starved_, EMFILE);
    EXPECT_EQ(admitted_.size(), 1u);
    std::vector<pollfd> set;
    listener_.watch(set, now_ns());
    EXPECT_EQ(set[0].fd, -1);  // for a moment
    EXPECT_NE(listener_.next_deadline(now_ns()), UINT64_MAX);
  }
  serve();
  EXPECT_EQ(admitted_.size(), 2u);
}

TEST_F(Shortage, SilentConnectionsAreGivenUpForAnother) {
  Listener::Options options;
  options.patience_ns = kForever;
  listen(options);
  Caller silent(address_);
  serve();
  Caller caller(address_);
  caller.say("hello");
  const NoDescriptorLeft limit;
  serve();
  EXPECT_EQ(starved_, 0);
  EXPECT_EQ(admitted_.size(), 1u);
  EXPECT_TRUE(silent.was_refused());
}

TEST_F(Shortage, YoungOnesAreNotGivenUp) {
  Listener::Options options;
  options.patience_ns = options.grace_ns = kForever;
  listen(options);
  Caller silent(address_);
  serve();
  Caller caller(address_);
  caller.say("hello");
  {
    const NoDescriptorLeft limit;
    serve();
    EXPECT_TRUE(admitted_.empty());
    EXPECT_FALSE(silent.was_refused());
  }
  serve();
  EXPECT_EQ(admitted_.size(), 1u);
}

}  // namespace
}  // namespace tutti

// join_job(): by every kind of store, and the sentences when the settings cannot work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>

#include "join_job.h"
#include "bootstrap_fixture.h"

namespace tutti {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

JoinOptions options_for(int rank, int size) {
  JoinOptions options;
  options.rank = rank;
  options.size = size;
  options.timeout_ns = kLong;
  options.log = kSilent;
  return options;
}

// Ranks of one host that share a secret come by a unix socket, which has no address.
bool by_unix(const JoinOptions& options) {
  return options.callbacks || options.unique_id || options.store.starts_with("file:") || options.setting_store.starts_with("file:");
}

// All ranks meet and exchange their numbers.
void expect_bootstrap(int size, const std::function<void(JoinOptions&)>& fill) {
  std::vector<std::string> numbers;
  for (int rank = 0; rank < size; ++rank) numbers.push_back(std::to_string(rank));
  as_ranks(size, [&](int rank) {
    JoinOptions options = options_for(rank, size);
    fill(options);
    const auto bootstrap = join_job(options);
    ASSERT_TRUE(bootstrap.ok()) << bootstrap.status().message();
    EXPECT_EQ(bootstrap->membership.rank, rank);
    EXPECT_EQ(bootstrap->membership.size, size);
    EXPECT_EQ(bootstrap->membership.local_address.empty(), size == 1 || by_unix(options));
    const auto got = bootstrap->bootstrap->exchange(std::to_string(rank));
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ(*got, numbers);
  });
}

class TemporaryFolder {
 public:
  TemporaryFolder() : path_("/tmp/tutti-meet-XXXXXX") { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  // Fails, and is seen by the tests that look, if something was left in it.
  ~TemporaryFolder() { ::rmdir(path_.c_str()); }
  std::string file() const { return path_ + "/meet"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

TEST(Meet, AloneNeedsNoStore) {
  expect_bootstrap(1, [](JoinOptions&) {});
}

TEST(Meet, ByNumericAddressAndPort) {
  const std::string store = loopback(free_port()).to_string();
  for (int i = 0; i < 3; ++i) expect_bootstrap(4, [&](JoinOptions& options) { options.store = store; });
}

TEST(Meet, ByHostName) {
  const std::string store = "localhost:" + std::to_string(free_port());
  expect_bootstrap(3, [&](JoinOptions& options) { options.store = store; });
}

TEST(Meet, ByIPv6Address) {
  const auto probe = listen_on(*SocketAddress::parse("::1"), 1);
  if (!probe.ok()) GTEST_SKIP() << "this host has no ::1";
  const std::string store = local_address_of(probe->get())->to_string();
  const_cast<OwnedFd&>(*probe).reset();
  expect_bootstrap(3, [&](JoinOptions& options) { options.store = store; });
}

TEST(Meet, ByFileWhichIsGoneAfterwards) {
  const TemporaryFolder folder;
  for (int i = 0; i < 3; ++i) expect_bootstrap(4, [&](JoinOptions& options) { options.setting_store = "file:" + folder.file(); });
  EXPECT_FALSE(exists(folder.file()));
}

TEST(Meet, StaleFilesDoNotMatter) {
  const TemporaryFolder folder;
  const std::string secret(32, '7');
  const std::string dead = "tutti1;" + secret + ";" + loopback(free_port()).to_string();
  const auto other_rendezvous = make_unique_id("", kShort, kSilent);  // as at a port that another job was given since
  ASSERT_TRUE(other_rendezvous.ok());
  const std::string taken_over = std::string(*other_rendezvous).replace(7, secret.size(), secret);
  for (const std::string& text : {std::string("rubbish"), std::string(), dead, taken_over}) {
    std::ofstream(folder.file()) << text;
    expect_bootstrap(3, [&](JoinOptions& options) { options.store = "file:" + folder.file(); });
    EXPECT_FALSE(exists(folder.file()));
  }
}

TEST(Meet, FileIsRemovedWhenTheRendezvousFails) {
  const TemporaryFolder folder;
  JoinOptions options = options_for(0, 2);
  options.store = "file:" + folder.file();
  options.timeout_ns = kShort;
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("1 of 2 ranks came within 300 ms; missing: 1"));
  EXPECT_FALSE(exists(folder.file()));
}

// As another user, where the test may be one.
class OtherUser {
 public:
  OtherUser() { EXPECT_EQ(::seteuid(kNobody), 0); }
  OtherUser(const OtherUser&) = delete;
  ~OtherUser() { EXPECT_EQ(::seteuid(0), 0); }
  static constexpr uid_t kNobody = 65534;
};

// Alice's file says where Bob is to go.
TEST(Meet, AFileOfAnotherUserIsNotBelieved) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be two users";
  const TemporaryFolder folder;
  std::ofstream(folder.file()) << "tutti1;" + std::string(32, '7') + ";" + loopback(free_port()).to_string();
  JoinOptions reader = options_for(1, 2), writer = options_for(0, 2);
  reader.store = writer.store = "file:" + folder.file();
  reader.timeout_ns = kShort;
  const std::string sentence = "the rendezvous file " + folder.file() + " belongs to user 0, but this rank runs as user 65534";
  ::chmod(folder.path().c_str(), 0777);  // rank 0 may replace it, so there may be a rendezvous later
  {
    const OtherUser other;
    EXPECT_THAT(join_job(reader).status().message(), AllOf(HasSubstr("within 300 ms"), HasSubstr(sentence)));
  }
  ::chmod(folder.path().c_str(), 01777);  // as /tmp
  reader.timeout_ns = kLong;
  {
    const OtherUser other;
    const Status refused = join_job(reader).status();
    EXPECT_EQ(refused.code(), Code::invalid_argument);
    EXPECT_THAT(refused.message(), HasSubstr(sentence));
    EXPECT_THAT(join_job(writer).status().message(), HasSubstr("it belongs to user 0, and in a directory with the sticky bit"));
  }
  ::unlink(folder.file().c_str());
}

TEST(Meet, OnlyARegularFileThatNobodyElseMayWriteIsBelieved) {
  const TemporaryFolder folder;
  JoinOptions options = options_for(1, 2);
  options.store = "file:" + folder.file();
  options.timeout_ns = kShort;
  const std::string text = "tutti1;" + std::string(32, '7') + ";" + loopback(free_port()).to_string();
  std::ofstream(folder.file()) << text;
  ::chmod(folder.file().c_str(), 0666);
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("may be written by other users"));
  ::chmod(folder.file().c_str(), 0600);
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("Connection refused"));  // now it is
  const std::string target = folder.path() + "/target";
  ::rename(folder.file().c_str(), target.c_str());
  ASSERT_EQ(::symlink(target.c_str(), folder.file().c_str()), 0);
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("is a symbolic link"));
  expect_bootstrap(2, [&](JoinOptions& both) { both.store = options.store; });  // rank 0 replaces the link
  std::ifstream left(target);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(left), {}), text);  // and wrote nothing through it
  ::unlink(target.c_str());
  ASSERT_EQ(::mkfifo(folder.file().c_str(), 0600), 0);
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("is no regular file"));
  ::unlink(folder.file().c_str());
}

TEST(Meet, FolderOfTheFileMustExist) {
  JoinOptions options = options_for(0, 2);
  options.store = "file:/no/such/folder/meet";
  const Status status = join_job(options).status();
  EXPECT_EQ(status.code(), Code::system);
  EXPECT_THAT(status.message(), HasSubstr("/no/such/folder/meet"));
}

// A store as a caller may have one.
class Dictionary {
 public:
  StoreCallbacks callbacks() {
    return {[this](const std::string& key, const std::string& value) {
              const std::lock_guard lock(mutex_);
              values_[key] = value;
              changed_.notify_all();
              return true;
            },
            [this](const std::string& key, int timeout_ms) -> std::optional<std::string> {
              std::unique_lock lock(mutex_);
              if (!changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return values_.count(key) != 0; }))
                return std::nullopt;
              return values_[key];
            }};
  }
  std::map<std::string, std::string> values() const { return values_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
};

TEST(Meet, ByCallbacksAgainAndAgainUnderTheSameName) {
  Dictionary dictionary;
  for (int i = 0; i < 3; ++i) expect_bootstrap(4, [&](JoinOptions& options) { options.callbacks = dictionary.callbacks(); });
  ASSERT_EQ(dictionary.values().size(), 1u);
  EXPECT_EQ(dictionary.values().begin()->first, "tutti/world/root");
  EXPECT_LE(dictionary.values().begin()->second.size(), 512u);
}

TEST(Meet, StoreThatRefuses) {
  JoinOptions options = options_for(0, 2);
  options.callbacks = StoreCallbacks{[](const std::string&, const std::string&) { return false; },
                                     [](const std::string&, int) { return std::optional<std::string>(); }};
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("refused to set tutti/world/root"));
}

TEST(Meet, ByUniqueId) {
  for (const int size : {1, 2, 5}) {
    const auto id = make_unique_id("", kLong, kSilent);
    ASSERT_TRUE(id.ok()) << id.status().message();
    EXPECT_LE(id->size(), 127u);
    as_ranks(size, [&](int rank) {
      JoinOptions options = options_for(rank, size);
      options.unique_id = *id;
      const auto bootstrap = join_job(options);
      ASSERT_TRUE(bootstrap.ok()) << bootstrap.status().message();
      const auto got = bootstrap->bootstrap->exchange("x");
      ASSERT_TRUE(got.ok());
      EXPECT_EQ(got->size(), static_cast<size_t>(size));
    });
  }
}

TEST(Meet, UniqueIdTellsMissingRanks) {
  const auto id = make_unique_id("", kShort, kSilent);
  ASSERT_TRUE(id.ok());
  JoinOptions options = options_for(1, 3);
  options.unique_id = *id;
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("1 of 3 ranks came within 300 ms; missing: 0, 2"));
}

TEST(Meet, UniqueIdThatIsNone) {
  JoinOptions options = options_for(0, 2);
  options.unique_id = std::string(20, 'x');
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("was not made by tutti_get_unique_id"));
}

TEST(Meet, UniqueIdServesOnce) {
  const auto id = make_unique_id("", kLong, kSilent);
  ASSERT_TRUE(id.ok());
  for (int time = 0; time < 2; ++time)
    as_ranks(2, [&](int rank) {
      JoinOptions options = options_for(rank, 2);
      options.unique_id = *id;
      const auto bootstrap = join_job(options);
      EXPECT_EQ(bootstrap.ok(), time == 0);
      if (time == 0) return;
      EXPECT_EQ(bootstrap.status().code(), Code::invalid_argument);
      EXPECT_THAT(bootstrap.status().message(), HasSubstr("this unique id has been used"));
    });
}

// As another process sees it.
TEST(Meet, UniqueIdWhoseAddressesRefuseIsOver) {
  JoinOptions options = options_for(1, 2);
  options.unique_id = "tutti1;" + std::string(32, '7') + ";unix:tutti-nobody-there;" + loopback(free_port()).to_string();
  const Status status = join_job(options).status();
  EXPECT_EQ(status.code(), Code::unreachable);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("Connection refused"), HasSubstr("the unique id has been used already, or the process "
                                                               "that made it has ended")));
}

TEST(Meet, UniqueIdOfEachRankIsNamedAsTheMistake) {
  as_ranks(2, [&](int rank) {
    const auto id = make_unique_id("", kShort, kSilent);
    ASSERT_TRUE(id.ok());
    JoinOptions options = options_for(rank, 2);
    options.unique_id = *id;
    EXPECT_THAT(
        join_job(options).status().message(),
        AllOf(HasSubstr("1 of 2 ranks came"), HasSubstr("was the unique id made by one rank and handed to all the others?")));
  });
}

TEST(Meet, UniqueIdOfAJobOfAnotherSize) {
  const auto id = make_unique_id("", kShort, kSilent);
  ASSERT_TRUE(id.ok());
  std::vector<Status> results(2);
  as_ranks(2, [&](int rank) {
    JoinOptions options = options_for(rank, 2 + rank);
    options.unique_id = *id;
    results[static_cast<size_t>(rank)] = join_job(options).status();
  });
  for (const Status& status : results) EXPECT_THAT(status.message(), AllOf(HasSubstr("unique id"), HasSubstr("but rank ")));
}

TEST(Meet, TakenPort) {
  const auto taken = listen_on(loopback(), 1);
  JoinOptions options = options_for(0, 2);
  options.store = local_address_of(taken->get())->to_string();
  options.timeout_ns = kShort;
  const Status status = join_job(options).status();
  EXPECT_EQ(status.code(), Code::system);
  EXPECT_THAT(status.message(), HasSubstr("cannot open the rendezvous at " + options.store + " (another job may be using it)"));
  EXPECT_THAT(status.message(), Not(HasSubstr("MASTER_PORT")));
}

// The end of an earlier job, or this one before a restart.
TEST(Meet, APortThatBecomesFreeIsWaitedFor) {
  auto taken = listen_on(loopback(), 1);
  const std::string store = local_address_of(taken->get())->to_string();
  std::thread holder([&] {
    ::usleep(300'000);
    taken->reset();
  });
  expect_bootstrap(2, [&](JoinOptions& options) { options.store = store; });
  holder.join();
}

TEST(Meet, TheSentenceOfATakenPortSaysWhichOneItIs) {
  const auto taken = listen_on(loopback(), 1);
  const uint16_t port = local_address_of(taken->get())->port();
  JoinOptions options;
  options.environment = {
      {"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", std::to_string(port - 1)}};
  options.timeout_ns = kShort;
  options.log = kSilent;
  EXPECT_THAT(join_job(options).status().message(), AllOf(HasSubstr(":" + std::to_string(port) + " (MASTER_PORT + 1)"),
                                                      HasSubstr("set TUTTI_STORE=host:port on all ranks")));
}

// It may become known: until the bootstrap timeout.
TEST(Meet, UnknownHost) {
  JoinOptions options = options_for(1, 2);
  options.timeout_ns = kShort;
  options.store = "no-such-host.invalid:4242";
  const Status status = join_job(options).status();
  EXPECT_EQ(status.code(), Code::unreachable);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("no rendezvous at no-such-host.invalid:4242 within 300 ms"),
                    AnyOf(HasSubstr("host \"no-such-host.invalid\" is not known here"), HasSubstr("has not answered"))));
}

TEST(Meet, AddressOfAnotherHost) {
  JoinOptions options = options_for(0, 2);
  options.store = "203.0.113.77:4242";  // a network for documentation
  EXPECT_THAT(join_job(options).status().message(), HasSubstr("no interface of this host has this address"));
}

TEST(Meet, StoreWithoutPort) {
  JoinOptions options = options_for(0, 2);
  options.store = "localhost";
  EXPECT_EQ(join_job(options).status().code(), Code::invalid_argument);
}

TEST(Meet, AFileThatMayNotBeWrittenIsASentenceAndNoSignal) {
  const TemporaryFolder folder;
  JoinOptions options = options_for(0, 2);
  options.store = "file:" + folder.file();
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit none{0, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &none);
  const auto bootstrap = join_job(options);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(bootstrap.ok());
  EXPECT_THAT(bootstrap.status().message(), HasSubstr("raise the limit (ulimit -f unlimited)"));
}

// While ranks are missing, whoever waits asks whether it is still worth it.
TEST(Meet, ThatIsCalledOff) {
  const auto id = make_unique_id("", kLong, kSilent);
  ASSERT_TRUE(id.ok()) << id.status().message();
  JoinOptions options = options_for(0, 2);
  options.unique_id = *id;
  int asked = 0;
  options.called_off = [&] { return ++asked < 3 ? Status() : Status(Code::peer_lost, "rank 1 died meanwhile"); };
  const auto bootstrap = join_job(options);
  ASSERT_FALSE(bootstrap.ok());
  EXPECT_EQ(bootstrap.status().code(), Code::peer_lost);
  EXPECT_EQ(bootstrap.status().message(), "rank 1 died meanwhile");
}

}  // namespace
}  // namespace tutti

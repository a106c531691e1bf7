// Creations that cannot succeed end with a sentence; strangers at the sockets harm nobody; shortage of memory is an
// error.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <tutti/tutti.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "process_world.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

std::vector<std::string> failure_program(const std::string& scenario, const std::string& argument = "") {
  return {program_from("API_TEST_FAILURE_PROGRAM"), scenario, argument};
}

// A listening socket on 127.0.0.1.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(fd_, 8), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port_ = ntohs(address.sin_port);
  }
  Listener(const Listener&) = delete;
  ~Listener() { close(fd_); }
  std::string port() const { return std::to_string(port_); }

 private:
  int fd_;
  uint16_t port_ = 0;
};

std::string free_port() { return Listener().port(); }

void expect_refused(const Ending& ending, const std::string& status_line, const std::string& hint) {
  EXPECT_FALSE(ending.timed_out);
  EXPECT_EQ(ending.exit_code, 0) << "signal " << ending.signal;
  EXPECT_THAT(ending.output, AllOf(HasSubstr(status_line), HasSubstr(hint), HasSubstr("CLEAN")));
}

const std::string kUnreachable = "RESULT " + std::to_string(TUTTI_UNREACHABLE);

// ---- rendezvous ----

TEST(Bootstrap, NobodyAtTheRendezvousPoint) {
  const std::string store = "127.0.0.1:" + free_port();
  ProcessWorld world(1, failure_program("create"),
                     {{"TUTTI_STORE", store}, {"TUTTI_RANK", "1"}, {"TUTTI_SIZE", "2"}, {"TUTTI_BOOTSTRAP_TIMEOUT", "500ms"}});
  expect_refused(world.wait(20)[0], kUnreachable, store);
}

TEST(Bootstrap, ARankIsMissing) {
  const std::string tcp = "127.0.0.1:" + free_port();
  const std::filesystem::path folder = new_folder();
  for (const std::string& store : {tcp, "file:" + (folder / "store").string()}) {
    ProcessWorld world(2, failure_program("create"),
                       {{"TUTTI_STORE", store}, {"TUTTI_SIZE", "3"}, {"TUTTI_BOOTSTRAP_TIMEOUT", "1s"}});
    const std::vector<Ending> endings = world.wait(20);
    for (const Ending& ending : endings) expect_refused(ending, kUnreachable, "missing: 2");
  }
  std::filesystem::remove_all(folder);
}

TEST(Bootstrap, RendezvousOverIpVersion6) {
  if (access("/proc/net/if_inet6", R_OK) != 0) GTEST_SKIP() << "no IPv6 here";
  ProcessWorld world(3, failure_program("create"), {{"TUTTI_STORE", "[::1]:" + free_port()}, {"TUTTI_TRANSPORT", "tcp"}});
  for (const Ending& ending : world.wait(20)) {
    EXPECT_THAT(ending.output, AllOf(HasSubstr("CLEAN"), testing::Not(HasSubstr("RESULT"))));
  }
}

TEST(Bootstrap, ThePortIsTaken) {
  const Listener taken;
  ProcessWorld world(2, failure_program("create"),
                     {{"TUTTI_STORE", "127.0.0.1:" + taken.port()}, {"TUTTI_BOOTSTRAP_TIMEOUT", "1s"}});
  for (const Ending& ending : world.wait(20)) {
    EXPECT_FALSE(ending.timed_out);
    EXPECT_THAT(ending.output, AllOf(HasSubstr("RESULT "), HasSubstr(taken.port()), HasSubstr("CLEAN")));
  }
}

TEST(Bootstrap, AFolderThatDoesNotExist) {
  ProcessWorld world(2, failure_program("create"),
                     {{"TUTTI_STORE", "file:/no/such/folder/store"}, {"TUTTI_BOOTSTRAP_TIMEOUT", "1s"}});
  for (const Ending& ending : world.wait(20)) {
    EXPECT_THAT(ending.output, AllOf(HasSubstr("RESULT "), HasSubstr("/no/such/folder"), HasSubstr("CLEAN")));
  }
}

TEST(Bootstrap, ACongestionControlThatTheKernelLacks) {
  ProcessWorld world(2, failure_program("create"),
                     {{"TUTTI_TRANSPORT", "tcp"}, {"TUTTI_TCP_CONGESTION", "pigeon"}, {"TUTTI_BOOTSTRAP_TIMEOUT", "5s"}});
  for (const Ending& ending : world.wait(20)) {
    EXPECT_THAT(ending.output,
                AllOf(HasSubstr("TUTTI_TCP_CONGESTION: this kernel has no TCP congestion control \"pigeon\""), HasSubstr("CLEAN")));
  }
}

TEST(Bootstrap, MisspeltSettingsSuggestTheNearest) {
  ProcessWorld value(1, failure_program("create"), {{"TUTTI_ALGORITHM", "rnig"}});
  EXPECT_THAT(value.wait(20)[0].output, AllOf(HasSubstr("TUTTI_ALGORITHM"), HasSubstr("ring")));
  ProcessWorld name(1, failure_program("create"), {{"TUTTI_ALGORITM", "ring"}});
  EXPECT_THAT(name.wait(20)[0].output, HasSubstr("TUTTI_ALGORITHM"));
}

// One rank of each host warns for all that are set alike; one that is set otherwise warns of that itself.
TEST(Bootstrap, AWarningIsLoggedOnceOnEachHost) {
  const auto warnings = [](ProcessWorld& world, const std::string& name) {
    std::vector<int> ranks;
    const std::vector<Ending> endings = world.wait(30);
    for (size_t rank = 0; rank < endings.size(); ++rank) {
      EXPECT_EQ(endings[rank].exit_code, 0) << endings[rank].output;
      if (endings[rank].output.find(name) != std::string::npos) ranks.push_back(static_cast<int>(rank));
    }
    return ranks;
  };
  const auto create = failure_program("create");
  ProcessWorld one(4, create, {{"TUTTI_STROE", "x"}}, "shm");
  EXPECT_THAT(warnings(one, "TUTTI_STROE"), testing::ElementsAre(0));
  ProcessWorld two(4, create, {{"TUTTI_STROE", "x"}}, "mixed");  // ranks of equal parity share a host
  EXPECT_THAT(warnings(two, "TUTTI_STROE"), testing::ElementsAre(0, 1));
  const std::string store = "file:" + (new_folder() / "store").string();
  const auto as_rank = [&](int rank, const std::string& setting) {
    std::vector<std::string> command{"/usr/bin/env", "TUTTI_RANK=" + std::to_string(rank), "TUTTI_SIZE=3", setting};
    command.insert(command.end(), create.begin(), create.end());
    return command;
  };
  ProcessWorld last({as_rank(0, "A=b"), as_rank(1, "TUTTI_LANES=3"), as_rank(2, "TUTTI_LANES=3")}, {{"TUTTI_STORE", store}});
  EXPECT_THAT(warnings(last, "TUTTI_LANES"), testing::ElementsAre(1));
}

TEST(Bootstrap, ARankThatDiesBeforeTheRendezvous) {
  ProcessWorld world(2, failure_program("create"), {{"TUTTI_SIZE", "3"}, {"TUTTI_BOOTSTRAP_TIMEOUT", "1s"}});
  world.rank(1).signal(SIGKILL);
  expect_refused(world.rank(0).wait(20), kUnreachable, "rank");
}

// ---- strangers ----

std::set<std::string> socket_inodes(pid_t pid) {
  std::set<std::string> inodes;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), ignored);
    if (target.starts_with("socket:[")) inodes.insert(target.substr(8, target.size() - 9));
  }
  return inodes;
}

struct Addressee {
  sockaddr_storage address{};
  socklen_t length = 0;
};

// "0100007F:1F90", or with four such words in the address, as the kernel prints sockets; any address becomes loopback.
Addressee tcp_addressee(const std::string& text) {
  const size_t colon = text.find(':');
  uint32_t words[4] = {};
  const size_t n = colon / 8;
  bool any = true;
  for (size_t i = 0; i < n; ++i) {
    words[i] = static_cast<uint32_t>(std::stoul(text.substr(8 * i, 8), nullptr, 16));
    any = any && words[i] == 0;
  }
  const auto port = static_cast<uint16_t>(std::stoul(text.substr(colon + 1), nullptr, 16));
  Addressee result;
  if (n == 1) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = any ? htonl(INADDR_LOOPBACK) : words[0];
    result.length = sizeof address;
    std::memcpy(&result.address, &address, sizeof address);
  } else {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    std::memcpy(&address.sin6_addr, words, sizeof words);
    if (any) address.sin6_addr = in6addr_loopback;
    result.length = sizeof address;
    std::memcpy(&result.address, &address, sizeof address);
  }
  return result;
}

// Listening TCP sockets among `inodes`: fields of /proc/net/tcp are slot, local, remote, state, …, inode (the tenth).
void add_tcp(const char* table, const std::set<std::string>& inodes, std::vector<Addressee>& to) {
  std::ifstream file(table);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::vector<std::string> fields(10);
    for (std::string& field : fields) words >> field;
    if (fields[3] == "0A" && inodes.contains(fields[9])) to.push_back(tcp_addressee(fields[1]));
  }
}

// Listening abstract unix sockets: /proc/net/unix has slot, references, protocol, flags, type, state, inode, path.
void add_unix(const std::set<std::string>& inodes, std::vector<Addressee>& to) {
  std::ifstream file("/proc/net/unix");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::vector<std::string> fields(8);
    for (std::string& field : fields) words >> field;
    if (!inodes.contains(fields[6]) || fields[7].empty() || fields[7][0] != '@') continue;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy_n(fields[7].begin() + 1, std::min(fields[7].size() - 1, sizeof address.sun_path - 1), address.sun_path + 1);
    Addressee addressee;
    std::memcpy(&addressee.address, &address, sizeof address);
    addressee.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + fields[7].size());
    to.push_back(addressee);
  }
}

std::vector<Addressee> listening_sockets(pid_t pid) {
  const std::set<std::string> inodes = socket_inodes(pid);
  std::vector<Addressee> found;
  add_tcp("/proc/net/tcp", inodes, found);
  add_tcp("/proc/net/tcp6", inodes, found);
  add_unix(inodes, found);
  return found;
}

// Connects and sends `bytes`; some strangers stay connected without a word more.
class Stranger {
 public:
  Stranger(const Addressee& to, const std::string& bytes) {
    for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
      if (type == SOCK_SEQPACKET && to.address.ss_family != AF_UNIX) continue;
      fd_ = socket(to.address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (connect(fd_, reinterpret_cast<const sockaddr*>(&to.address), to.length) == 0 || errno == EINPROGRESS) break;
      close(fd_);
      fd_ = -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (fd_ >= 0) connected_ = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0 || bytes.empty();
  }
  Stranger(Stranger&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  Stranger& operator=(Stranger&&) = delete;
  ~Stranger() {
    if (fd_ >= 0) close(fd_);
  }
  bool connected() const { return connected_; }

 private:
  int fd_ = -1;
  bool connected_ = false;
};

std::string random_bytes(size_t n, std::mt19937& generator) {
  std::string bytes(n, '\0');
  for (char& byte : bytes) byte = static_cast<char>(generator());
  return bytes;
}

class Strangers : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Over, Strangers, testing::Values("shm", "tcp"), parameter_name);

TEST_P(Strangers, DoNotHarmARunningGroup) {
  const std::filesystem::path shared = new_folder();
  ProcessWorld world(3, failure_program("bothered"), {{"TUTTI_TIMEOUT", "20s"}, {"API_TEST_FOLDER", shared.string()}}, GetParam());
  ASSERT_TRUE(world.wait_for_output("looping"));
  std::mt19937 generator(4711);
  int connected = 0;
  std::vector<Stranger> lingering;
  for (int rank = 0; rank < 3; ++rank) {
    for (const Addressee& addressee : listening_sockets(world.rank(rank).pid())) {
      for (const size_t n : std::vector<size_t>{0, 1, 8, 64, 1'000, 50'000}) {
        Stranger stranger(addressee, random_bytes(n, generator));
        connected += stranger.connected() ? 1 : 0;
        if (n == 8 || n == 1'000) lingering.push_back(std::move(stranger));
      }
    }
  }
  const bool listens = GetParam() == std::string("tcp");  // ranks that share memory need not listen any more
  EXPECT_TRUE(connected > 0 || !listens);
  std::ofstream(shared / "enough").close();
  for (const Ending& ending : world.wait(30)) {
    EXPECT_EQ(ending.exit_code, 0);
    EXPECT_THAT(ending.output, AllOf(HasSubstr("UNHARMED"), HasSubstr("CLEAN")));
  }
  std::filesystem::remove_all(shared);
}

// At the rendezvous point, before the second rank comes.
TEST(Bootstrap, StrangersDoNotHarmTheRendezvous) {
  const std::string store = "127.0.0.1:" + free_port();
  ProcessWorld first(1, failure_program("create"),
                     {{"TUTTI_STORE", store}, {"TUTTI_SIZE", "2"}, {"TUTTI_BOOTSTRAP_TIMEOUT", "20s"}});
  std::vector<Addressee> found;
  for (int i = 0; i < 5'000 && found.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    found = listening_sockets(first.rank(0).pid());
  }
  ASSERT_FALSE(found.empty());
  std::mt19937 generator(42);
  std::vector<Stranger> lingering;
  for (const Addressee& addressee : found) {
    for (const size_t n : std::vector<size_t>{0, 3, 40, 5'000}) lingering.emplace_back(addressee, random_bytes(n, generator));
  }
  ProcessWorld second(1, failure_program("create"), {{"TUTTI_STORE", store}, {"TUTTI_RANK", "1"}, {"TUTTI_SIZE", "2"}});
  for (ProcessWorld* world : {&first, &second}) {
    const Ending ending = world->wait(30)[0];
    EXPECT_EQ(ending.exit_code, 0);
    EXPECT_THAT(ending.output, AllOf(HasSubstr("CLEAN"), testing::Not(HasSubstr("RESULT"))));
  }
}

// ---- memory ----

class Memory : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Over, Memory, testing::Values("shm", "tcp"), parameter_name);

// The limits grow from nothing over what creation needs: wherever it strikes, the rank says so and ends.
TEST_P(Memory, ShortageIsAnError) {
  for (const char* spare : {"100000", "2000000", "12000000", "40000000"}) {
    ProcessWorld world(2, failure_program("short_of_memory", spare), {{"TUTTI_BOOTSTRAP_TIMEOUT", "1s"}, {"TUTTI_TIMEOUT", "5s"}},
                       GetParam());
    for (const Ending& ending : world.wait(20)) {
      EXPECT_FALSE(ending.timed_out) << spare;
      EXPECT_EQ(ending.exit_code, 0) << spare << ", signal " << ending.signal << "\n" << ending.output;
      EXPECT_THAT(ending.output, AllOf(AnyOf(HasSubstr("RESULT "), HasSubstr("CREATED")), HasSubstr("CLEAN"))) << spare;
    }
  }
}

// ---- limits ----

// Ranks 0 and 1 of one host, of which the one in `argument` has less than it needs.  Nobody is killed or waits out the
// bound of the bootstrap.
std::vector<Ending> limited(const std::string& argument, const Variables& more = {}) {
  Variables variables{{"TUTTI_BOOTSTRAP_TIMEOUT", "8s"}, {"TUTTI_TIMEOUT", "10s"}};
  variables.insert(more.begin(), more.end());
  ProcessWorld world(2, failure_program("limited", argument), variables);
  std::vector<Ending> endings = world.wait(40);
  for (const Ending& ending : endings) {
    EXPECT_FALSE(ending.timed_out) << argument;
    EXPECT_EQ(ending.exit_code, 0) << argument << ", signal " << ending.signal << "\n" << ending.output;
  }
  return endings;
}

bool is_possible(const std::vector<Ending>& endings) {
  return std::none_of(endings.begin(), endings.end(),
                      [](const Ending& ending) { return ending.output.find("NOT POSSIBLE") != std::string::npos; });
}

void expect_created(const std::vector<Ending>& endings) {
  for (const Ending& ending : endings)
    EXPECT_THAT(ending.output, AllOf(HasSubstr("CREATED"), HasSubstr("ENDED"), testing::Not(HasSubstr("RESULT"))));
}

TEST(Limits, DifferentUsersUseTcp) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const std::vector<Ending> endings = limited("1user", {{"TUTTI_STORE", "127.0.0.1:" + free_port()}});
  expect_created(endings);
  EXPECT_THAT(endings[0].output, AllOf(HasSubstr("runs as user 0 and rank 1"), HasSubstr("as user 65534: they share no memory")));
}

TEST(Limits, DifferentUsersWithoutTcpAreToldAtOnce) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const auto begin = std::chrono::steady_clock::now();
  for (const Ending& ending :
       limited("1user", {{"TUTTI_STORE", "127.0.0.1:" + free_port()}, {"TUTTI_TRANSPORT", "memory,shm"}}))
    EXPECT_THAT(ending.output, AllOf(HasSubstr(kUnreachable), HasSubstr("runs as user 0"),
                                     HasSubstr("as user 65534, so they share no memory"), HasSubstr("TUTTI_TRANSPORT")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(7));
}

TEST(Limits, SmallFiles) {
  EXPECT_THAT(limited("0files")[0].output, AllOf(HasSubstr("RESULT"), HasSubstr("ulimit -f"), HasSubstr("at most 1 MiB")));
  expect_created(limited("0window"));
}

// Wherever they run out.
TEST(Limits, FewDescriptors) {
  for (const int limit : {11, 12, 13, 14, 15, 16}) {
    const Ending ending = limited("0descriptors " + std::to_string(limit))[0];
    EXPECT_THAT(ending.output, AnyOf(HasSubstr("CREATED"), AllOf(HasSubstr("Too many open files"), HasSubstr("ulimit -n"))))
        << limit;
  }
}

TEST(Limits, LittleAddressSpace) {
  EXPECT_THAT(limited("1space")[1].output, AllOf(HasSubstr("RESULT"), HasSubstr("ulimit -v")));
}

TEST(Limits, NoThreads) {
  const std::vector<Ending> endings = limited("1threads", {{"TUTTI_STORE", "127.0.0.1:" + free_port()}});
  if (!is_possible(endings)) GTEST_SKIP() << "only root can become a user with a limit of its own";
  EXPECT_THAT(endings[1].output, AllOf(HasSubstr("RESULT"), HasSubstr("starting a thread"), HasSubstr("ulimit -u, now 1")));
}

// All memory of a program may be locked: the window for memory of tutti_alloc, which is hundreds of GiB, does not
// become pages.
TEST(Limits, LockedMemory) {
  for (const char* rank : {"0locked", "1locked"}) {
    const std::vector<Ending> endings = limited(rank);
    if (!is_possible(endings)) GTEST_SKIP() << "this user may not lock that much";
    expect_created(endings);
  }
}

TEST(Limits, LittleLockableMemory) {
  const std::vector<Ending> endings = limited("1lockable", {{"TUTTI_STORE", "127.0.0.1:" + free_port()}});
  if (!is_possible(endings)) GTEST_SKIP() << "only root can become a user with a limit of its own";
  EXPECT_THAT(endings[1].output, AllOf(HasSubstr("RESULT"), HasSubstr("ulimit -l"), HasSubstr("mlockall")));
}

}  // namespace
}  // namespace tutti::test

// One rank of the failure tests:  failure_program SCENARIO [ARGUMENT].  What a call gave is written as a line "RESULT
// <status> <sentence>"; a rank that ends in order writes "CLEAN" once its communicators are gone without a trace.

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tutti/tutti.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "device_bytes.h"
#include "lent_memory.h"

namespace tutti::test {
namespace {

using Floats = std::vector<float>;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void say_result(tutti_status status, const tutti_comm* comm) {
  say("RESULT " + std::to_string(status) + " " + tutti_last_error(comm));
}

size_t entries(const char* folder) {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++n;
  return n;
}

// The system's resources that a process holds; a communicator must give all of it back.
struct Holdings {
  size_t fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  bool operator==(const Holdings&) const = default;
};

void wait_for_file(const std::string& path) {
  while (access(path.c_str(), F_OK) != 0) usleep(1000);
}

std::string in_test_folder(const char* name) { return std::string(std::getenv("API_TEST_FOLDER")) + "/" + name; }

// A rank of a scenario.
class Rank {
 public:
  explicit Rank(std::string argument) : argument_(std::move(argument)) {}

  bool create(const tutti_config* config = nullptr) {
    (void)DeviceBytes::wanted();  // so that the communicator knows of devices
    const tutti_status status = tutti_comm_create(&comm_, config);
    if (status != TUTTI_SUCCESS) say_result(status, nullptr);
    if (status == TUTTI_SUCCESS) rank_ = tutti_comm_rank(comm_), size_ = tutti_comm_size(comm_);
    return status == TUTTI_SUCCESS;
  }

  tutti_status all_reduce(size_t count = 1'000, const tutti_call_options* options = nullptr) {
    in_.assign(count, 1.0F);
    out_.assign(count, 0.0F);
    const tutti_status status = DeviceBytes::wanted() ? all_reduce_on_device(options) : all_reduce_on_host(options);
    if (status != TUTTI_SUCCESS) return status;
    for (const float value : out_) {
      if (value != static_cast<float>(size_)) say("WRONG DATA");
    }
    return status;
  }

  // Until something fails; says "looping" once all ranks are at it.
  tutti_status loop(size_t count) {
    for (int i = 0;; ++i) {
      const tutti_status status = all_reduce(count);
      if (status != TUTTI_SUCCESS) return status;
      if (i == 10) say("looping");
    }
  }

  // Says the result of the failed call, and whether later calls fail differently; they name the cause, not the call it
  // broke.
  void report(tutti_status status) {
    say_result(status, comm_);
    const std::string sentence = tutti_last_error(comm_);
    tutti_request* request = nullptr;
    for (const tutti_status again : {all_reduce(1), tutti_barrier(comm_, nullptr), tutti_barrier_start(comm_, nullptr, &request)}) {
      if (again != status || !sentence.starts_with(tutti_last_error(comm_))) say_result(again, comm_), say("DIFFERENT ERROR");
    }
  }

  void destroy() {
    tutti_comm_destroy(comm_);
    comm_ = nullptr;
    count_holdings();
  }

  tutti_status destroy_within(int timeout_ms) {
    const tutti_status status = tutti_comm_destroy_within(comm_, timeout_ms);
    comm_ = nullptr;
    return status;
  }

  void count_holdings() {
    if (DeviceBytes::wanted()) return say("CLEAN");  // the device's driver keeps threads and descriptors of its own
    // A joined thread may stay listed for a moment.
    Holdings now;
    for (int i = 0; i < 2'000 && !(now == before_); ++i) usleep(1000), now = Holdings();
    if (now == before_) return say("CLEAN");
    say("LEFT BEHIND: " + std::to_string(before_.fds) + " fds became " + std::to_string(now.fds) + ", " +
        std::to_string(before_.threads) + " threads " + std::to_string(now.threads));
  }

  int rank() const { return rank_; }
  int size() const { return size_; }
  tutti_comm* comm() const { return comm_; }
  const std::string& argument() const { return argument_; }
  size_t number() const { return std::strtoull(argument_.c_str(), nullptr, 10); }
  const Floats& output() const { return out_; }

 private:
  tutti_status all_reduce_on_host(const tutti_call_options* options) {
    return tutti_all_reduce(comm_, in_.data(), out_.data(), in_.size(), TUTTI_FLOAT32, TUTTI_SUM, options);
  }
  // With API_TEST_LENT=1 large ones from and into memory that peers read where it lies.
  tutti_status all_reduce_on_device(const tutti_call_options* options) {
    if (std::getenv("API_TEST_LENT") && in_.size() >= 100'000) {
      if (!lent_) lent_.emplace(comm_, in_);
      lent_->write(in_);
      const tutti_status status =
          tutti_all_reduce(comm_, lent_->data(), lent_->data(), in_.size(), TUTTI_FLOAT32, TUTTI_SUM, options);
      out_ = lent_->values();
      return status;
    }
    Bytes content(in_.size() * sizeof(float));
    std::memcpy(content.data(), in_.data(), content.size());
    const DeviceBytes memory(content);
    const tutti_status status =
        tutti_all_reduce(comm_, memory.data(), memory.data(), in_.size(), TUTTI_FLOAT32, TUTTI_SUM, options);
    content = memory.content();  // the device goes on whatever has happened
    std::memcpy(out_.data(), content.data(), content.size());
    return status;
  }

  std::string argument_;
  std::optional<LentFloats> lent_;
  Holdings before_;
  tutti_comm* comm_ = nullptr;
  int rank_ = -1, size_ = 0;
  Floats in_, out_;
};

// ---- scenarios ----

// All-reduces of ARGUMENT elements until something happens; the survivors then make a new communicator without the last
// rank.
void loop(Rank& rank) {
  if (!rank.create()) return;
  rank.report(rank.loop(rank.number()));
  rank.destroy();
}

void loop_and_start_anew(Rank& rank) {
  if (!rank.create()) return;
  rank.report(rank.loop(rank.number()));
  tutti_config config;
  tutti_config_init(&config);
  const std::string store = "file:" + in_test_folder("second-store");
  config.rank = rank.rank();
  config.size = rank.size() - 1;
  config.store = store.c_str();
  tutti_comm* second = nullptr;
  const tutti_status created = tutti_comm_create(&second, &config);  // while the dead one still exists
  if (created != TUTTI_SUCCESS) return say_result(created, nullptr);
  int32_t ones = 1;
  const tutti_status status = tutti_all_reduce(second, &ones, &ones, 1, TUTTI_INT32, TUTTI_SUM, nullptr);
  if (status != TUTTI_SUCCESS) say_result(status, second);
  if (ones == config.size) say("SECOND LIFE");
  tutti_comm_destroy(second);
  rank.destroy();
}

// As loop, with several requests in flight.
void loop_started(Rank& rank) {
  if (!rank.create()) return;
  constexpr size_t kInFlight = 4;
  const Floats in(rank.number(), 1.0F);
  std::vector<Floats> out(kInFlight, in);
  tutti_status status = TUTTI_SUCCESS;
  for (int i = 0; status == TUTTI_SUCCESS; ++i) {
    std::vector<tutti_request*> requests(kInFlight, nullptr);
    for (size_t k = 0; k < kInFlight && status == TUTTI_SUCCESS; ++k) {
      status =
          tutti_all_reduce_start(rank.comm(), in.data(), out[k].data(), in.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr, &requests[k]);
    }
    for (tutti_request* request : requests) {
      const tutti_status ended = tutti_wait(request);
      if (status == TUTTI_SUCCESS) status = ended;
    }
    if (i == 10) say("looping");
  }
  rank.report(status);
  rank.destroy();
}

// The last rank puts nothing on its stream, and is killed; the others wait for no call's end.
void on_a_stream(Rank& rank) {
  if (!rank.create()) return;
  if (rank.all_reduce() != TUTTI_SUCCESS) return say("the first call failed");
  const DeviceBytes memory(Bytes(rank.number() * sizeof(float)));
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.stream = memory.stream();
  if (rank.rank() == rank.size() - 1) {
    say("looping");
    for (;;) pause();
  }
  const tutti_status put =
      tutti_all_reduce(rank.comm(), memory.data(), memory.data(), rank.number(), TUTTI_FLOAT32, TUTTI_SUM, &options);
  if (put != TUTTI_SUCCESS) return say_result(put, rank.comm());
  say("looping");
  while (tutti_comm_status(rank.comm()) == TUTTI_SUCCESS) usleep(1000);
  rank.report(tutti_comm_status(rank.comm()));
  (void)memory.content();  // waits for the stream
  say("STREAM GOES ON");
  rank.destroy();
}

// Rank 1 stops itself, between calls or with one in flight, until the test continues it; then nothing may be written
// any more.
void stopped(Rank& rank) {
  if (!rank.create()) return;
  if (rank.all_reduce() != TUTTI_SUCCESS) return say("the first call failed");
  const Floats in(100'000, 1.0F);
  Floats out(in.size(), -1.0F);
  std::optional<DeviceBytes> on_device;  // in place
  Bytes content(in.size() * sizeof(float));
  std::memcpy(content.data(), in.data(), content.size());
  if (DeviceBytes::wanted()) on_device.emplace(content);
  const auto output = [&] {
    const auto bytes = std::as_bytes(std::span(out));
    return on_device ? on_device->content() : Bytes(bytes.begin(), bytes.end());
  };
  tutti_request* request = nullptr;
  const auto start = [&] {
    const void* const input = on_device ? static_cast<const void*>(on_device->data()) : in.data();
    void* const to = on_device ? static_cast<void*>(on_device->data()) : out.data();
    return tutti_all_reduce_start(rank.comm(), input, to, in.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request);
  };
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  if (tutti_comm_stats(rank.comm(), &stats) != TUTTI_SUCCESS) return say("no statistics");
  const bool stops = rank.rank() == 1;
  if (stops && rank.argument() == "between calls") raise(SIGSTOP);
  tutti_status status = TUTTI_SUCCESS;
  if (stops || rank.argument() == "between calls") {
    status = start();
  }
  if (stops && rank.argument() == "in a call") raise(SIGSTOP);  // the others have not begun
  if (!stops && rank.argument() == "in a call") {
    wait_for_file(in_test_folder("stopped"));
    status = start();
  }
  if (status == TUTTI_SUCCESS) status = tutti_wait(request);
  const Bytes then = output();
  rank.report(status);
  usleep(200'000);
  if (output() != then) say("WRITTEN AFTERWARDS");
  // Over streams alone it may read what was sent to it before it hears of the failure.
  const std::string transports = stats.transports;
  const bool shares_memory =
      !on_device && transports.find("tcp") == std::string::npos && transports.find("ucx") == std::string::npos;
  if (stops && shares_memory && rank.argument() == "between calls" && out != Floats(in.size(), -1.0F)) say("WRITTEN AFTER WAKING");
  rank.destroy();
}

// Rank 1 comes too late for a deadline given by the call.
void late(Rank& rank) {
  if (!rank.create()) return;
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.timeout_ms = 700;
  if (rank.all_reduce() != TUTTI_SUCCESS) return say("the first call failed");
  if (rank.rank() == 1) wait_for_file(in_test_folder("late"));
  rank.report(rank.all_reduce(rank.number(), &options));
  rank.destroy();
}

// Rank 1 makes another call than the others.
void mismatch(Rank& rank) {
  if (!rank.create()) return;
  const bool odd = rank.rank() == 1;
  const std::string& what = rank.argument();
  const size_t count = what == "count" && odd ? 1'001 : 1'000;
  const tutti_dtype dtype = what == "dtype" && odd ? TUTTI_INT32 : TUTTI_FLOAT32;
  const tutti_op op = what == "op" && odd ? TUTTI_MAX : TUTTI_SUM;
  const int root = what == "root" && odd ? 1 : 0;
  Floats in(count), out(count);
  tutti_status status = TUTTI_SUCCESS;
  if (what == "receiver" && odd) {
    status = tutti_broadcast(rank.comm(), in.data(), out.data(), count, dtype, 0, nullptr);
  } else if (what == "giver" && odd) {
    status = tutti_broadcast(rank.comm(), in.data(), out.data(), count, dtype, 1, nullptr);
  } else if (what == "root") {
    status = tutti_reduce(rank.comm(), in.data(), out.data(), count, dtype, op, root, nullptr);
  } else if (what == "barrier" && odd) {
    status = tutti_barrier(rank.comm(), nullptr);
  } else {
    status = tutti_all_reduce(rank.comm(), in.data(), out.data(), count, dtype, op, nullptr);
  }
  // A call that only gives may have returned before anyone looked at it.
  for (int i = 0; i < 5 && status == TUTTI_SUCCESS; ++i) status = rank.all_reduce(10);
  rank.report(status);
  rank.destroy();
}

// Rank 0 sends ARGUMENT elements where rank 1 expects 10.
void mismatched_messages(Rank& rank) {
  if (!rank.create()) return;
  Floats data(1'000);
  tutti_status status = rank.rank() == 0 ? tutti_send(rank.comm(), data.data(), rank.number(), TUTTI_FLOAT32, 1, 0, nullptr)
                                         : tutti_recv(rank.comm(), data.data(), 10, TUTTI_FLOAT32, 0, 0, nullptr);
  for (int i = 0; i < 5 && status == TUTTI_SUCCESS; ++i) status = rank.all_reduce(10);
  rank.report(status);
  rank.destroy();
}

// Rank 2 leaves early: by exit without destroy, or by destroy.
void leave(Rank& rank) {
  if (!rank.create()) return;
  tutti_status status = rank.all_reduce();
  if (rank.rank() == 2 && rank.argument() == "exit") std::exit(0);
  if (rank.rank() == 2) return rank.destroy();
  // That rank may be gone before the others have ended the first call.
  if (status == TUTTI_SUCCESS) status = rank.loop(1'000);
  rank.report(status);
  rank.destroy();
}

// Rank 1 aborts, between its calls or from another thread while it is in one.
void abort_call(Rank& rank) {
  if (!rank.create()) return;
  if (rank.rank() != 1) {
    rank.report(rank.loop(5'000));
    return rank.destroy();
  }
  std::atomic<bool> begun = false;
  std::thread aborter([&] {
    while (!begun) usleep(1000);
    const tutti_status status = tutti_comm_abort(rank.comm(), "the learning rate went up in smoke");
    if (status != TUTTI_SUCCESS) say("abort gave " + std::to_string(status));
  });
  if (rank.argument() == "between calls") {
    begun = true;
    aborter.join();
    rank.report(rank.loop(5'000));  // as the others: word of the abort may still be on its way
  } else {
    begun = true;
    rank.report(rank.loop(5'000));
    aborter.join();
  }
  rank.destroy();
}

// All-reduces for as long as the test bothers the ranks' sockets; the file "enough" ends it at rank 0, which tells the
// others.
void bothered(Rank& rank) {
  if (!rank.create()) return;
  say("ready");
  for (int i = 0;; ++i) {
    const tutti_status status = rank.all_reduce(3'000);
    if (status != TUTTI_SUCCESS) return rank.report(status), rank.destroy();
    if (i == 10) say("looping");
    int32_t enough = access(in_test_folder("enough").c_str(), F_OK) == 0 ? 1 : 0;
    if (tutti_broadcast(rank.comm(), &enough, &enough, 1, TUTTI_INT32, 0, nullptr) != TUTTI_SUCCESS) return say("broadcast failed");
    if (enough == 1) break;
  }
  say("UNHARMED");
  rank.destroy();
}

size_t address_space() {
  std::ifstream file("/proc/self/statm");
  size_t pages = 0;
  file >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Creation, a call and destruction with only ARGUMENT bytes of address space beyond what is in use already.
void short_of_memory(Rank& rank) {
  rlimit limit{address_space() + rank.number(), RLIM_INFINITY};
  setrlimit(RLIMIT_AS, &limit);
  if (rank.create()) {
    say("CREATED");
    const tutti_status status = rank.all_reduce(100);
    if (status != TUTTI_SUCCESS) say_result(status, rank.comm());
  }
  tutti_comm_destroy(rank.comm());
  limit.rlim_cur = RLIM_INFINITY;  // counting needs memory too
  setrlimit(RLIMIT_AS, &limit);
  rank.count_holdings();
}

// Creation and a call of which this rank, rank ARGUMENT's first digit, has less than it needs: the rest of ARGUMENT
// says of what.
void limited(Rank& rank) {
  const std::string what = rank.argument().substr(1);
  if (std::getenv("TUTTI_RANK")[0] == rank.argument()[0]) {
    bool done = true;
    const auto limit = [](auto resource, rlim_t value) {
      const rlimit both{value, value};
      return setrlimit(resource, &both) == 0;
    };
    const auto become_another_user = [] { return setgid(65534) == 0 && setuid(65534) == 0; };
    if (what == "user") done = become_another_user();
    if (what == "files") done = limit(RLIMIT_FSIZE, 1 << 20);
    if (what == "window") done = limit(RLIMIT_FSIZE, 1 << 30);
    if (what.starts_with("descriptors ")) done = limit(RLIMIT_NOFILE, std::strtoul(what.c_str() + 12, nullptr, 10));
    if (what == "space") done = limit(RLIMIT_AS, address_space() + 2'000'000);
    if (what == "threads") done = limit(RLIMIT_NPROC, 1) && become_another_user();
    if (what == "locked") done = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    if (what == "lockable") done = limit(RLIMIT_MEMLOCK, 1 << 20) && become_another_user() && mlockall(MCL_FUTURE) == 0;
    if (!done) return say("NOT POSSIBLE");
  }
  if (rank.create()) {
    say("CREATED");
    void* memory = nullptr;
    tutti_status status = rank.all_reduce(100);
    if (status == TUTTI_SUCCESS) status = tutti_alloc(rank.comm(), 1 << 20, &memory);
    if (status == TUTTI_SUCCESS) status = tutti_free(rank.comm(), memory);
    if (status != TUTTI_SUCCESS) say_result(status, rank.comm());
  }
  tutti_comm_destroy(rank.comm());
  say("ENDED");
}

// A child may not use what it inherited; the parent goes on.
void forked(Rank& rank) {
  if (!rank.create()) return;
  if (rank.all_reduce() != TUTTI_SUCCESS) return say("the first call failed");
  const pid_t child = fork();
  if (child == 0) {
    float x = 1;
    int wrong = 0;
    tutti_request* request = nullptr;
    wrong += tutti_all_reduce(rank.comm(), &x, &x, 1, TUTTI_FLOAT32, TUTTI_SUM, nullptr) != TUTTI_INVALID_ARGUMENT;
    wrong += std::strlen(tutti_last_error(rank.comm())) == 0;
    wrong += tutti_all_reduce_start(rank.comm(), &x, &x, 1, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request) != TUTTI_INVALID_ARGUMENT;
    wrong += tutti_send(rank.comm(), &x, 1, TUTTI_FLOAT32, 1 - rank.rank(), 0, nullptr) != TUTTI_INVALID_ARGUMENT;
    wrong += tutti_barrier(rank.comm(), nullptr) != TUTTI_INVALID_ARGUMENT;
    wrong += tutti_comm_destroy(rank.comm()) != TUTTI_INVALID_ARGUMENT;
    _exit(wrong);
  }
  int status = 0;
  waitpid(child, &status, 0);
  say("CHILD " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
  for (int i = 0; i < 20; ++i) {
    if (rank.all_reduce() != TUTTI_SUCCESS) return say_result(TUTTI_INTERNAL, rank.comm());
  }
  say("PARENT GOES ON");
  rank.destroy();
}

// Ends only when the test's folder is gone.
[[noreturn]] void outlive_the_rank() {
  for (int fd = 0; fd < 3; ++fd) close(fd);  // the test waits for the end of the output
  const char* const folder = std::getenv("API_TEST_FOLDER");
  for (int i = 0; i < 10'000 && access(folder, F_OK) == 0; ++i) usleep(10'000);
  _exit(0);
}

// "cloned": by the bare system call, past all handlers, so that it keeps copies of the rank's sockets.
void make_child(const std::string& how) {
  if (how == "spawned") {
    std::string program = "while [ -e \"$API_TEST_FOLDER\" ]; do sleep 0.1; done";
    const char* const arguments[] = {"sh", "-c", program.c_str(), nullptr};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    for (int fd = 0; fd < 3; ++fd) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    pid_t child = 0;
    if (posix_spawn(&child, "/bin/sh", &files, nullptr, const_cast<char* const*>(arguments), environ) != 0) say("no child");
    posix_spawn_file_actions_destroy(&files);
    return;
  }
  const auto child = how == "cloned" ? static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr)) : fork();
  if (child == 0) outlive_the_rank();
}

// Rank ARGUMENT's first digit has a child that lives on when the rank is dead, as a data loader's workers do.  The rest
// of ARGUMENT: how it is made.
void with_a_child(Rank& rank) {
  const bool is_parent = std::getenv("TUTTI_RANK")[0] == rank.argument()[0];
  const std::string how = rank.argument().substr(1);
  if (is_parent && how == "before") make_child("forked");
  if (!rank.create()) return;
  if (is_parent && how != "before" && how != "busy") make_child(how);
  // While other threads open and close descriptors.
  std::thread forking([&] {
    for (int i = 0; i < 20 && is_parent && how == "busy"; ++i) make_child("forked");
  });
  for (int i = 0; i < 5 && how == "busy"; ++i) {
    tutti_comm* part = nullptr;
    if (tutti_comm_split(rank.comm(), 0, 0, &part) != TUTTI_SUCCESS) say_result(TUTTI_INTERNAL, rank.comm());
    tutti_comm_destroy(part);
  }
  forking.join();
  const tutti_status status = rank.loop(10);
  rank.report(status);
  rank.destroy();
}

// Rank ARGUMENT's first digit leaves at once, and then ends or lives on; the others go on with each other for seconds,
// and then the last of them dies.
void leave_at_once(Rank& rank) {
  if (!rank.create()) return;
  const int leaver = rank.argument()[0] - '0';
  if (const tutti_status status = rank.all_reduce(); status != TUTTI_SUCCESS) return rank.report(status);
  if (rank.rank() == leaver) {
    say("LEFT " + std::to_string(rank.destroy_within(0)));
    if (rank.argument().ends_with("ends")) return;
    wait_for_file(in_test_folder("enough"));
    return rank.count_holdings();
  }
  std::vector<int> staying;
  for (int r = 0; r < rank.size(); ++r)
    if (r != leaver) staying.push_back(r);
  const size_t here = static_cast<size_t>(std::find(staying.begin(), staying.end(), rank.rank()) - staying.begin());
  const int next = staying[(here + 1) % staying.size()], previous = staying[(here + staying.size() - 1) % staying.size()];
  for (int round = 0; round < 250; ++round) {
    const int mine = rank.rank() + round;
    int theirs = -1;
    tutti_request* sending = nullptr;
    tutti_status status = tutti_send_start(rank.comm(), &mine, 1, TUTTI_INT32, next, 0, nullptr, &sending);
    if (status == TUTTI_SUCCESS) status = tutti_recv(rank.comm(), &theirs, 1, TUTTI_INT32, previous, 0, nullptr);
    if (status == TUTTI_SUCCESS) status = tutti_wait(sending);
    if (status != TUTTI_SUCCESS) return say("HARMED"), rank.report(status);
    if (theirs != previous + round) say("WRONG DATA");
    usleep(10'000);
  }
  say("STAYED");
  if (rank.rank() == staying.back()) wait_for_file(in_test_folder("nowhere"));
  int nothing = 0;
  rank.report(tutti_recv(rank.comm(), &nothing, 1, TUTTI_INT32, staying.back(), 0, nullptr));
  rank.destroy();
}

// All leave at once and end.
void all_leave_at_once(Rank& rank) {
  if (!rank.create()) return;
  if (const tutti_status status = rank.all_reduce(rank.number()); status != TUTTI_SUCCESS) return rank.report(status);
  say("LEFT " + std::to_string(rank.destroy_within(0)));
}

// Rank 1 comes to the call when the test allows it.
void suspended(Rank& rank) {
  if (!rank.create()) return;
  if (rank.all_reduce() != TUTTI_SUCCESS) return say("the first call failed");
  say("ready");
  if (rank.rank() == 1) wait_for_file(in_test_folder("resumed"));
  if (rank.all_reduce() != TUTTI_SUCCESS) return say_result(TUTTI_INTERNAL, rank.comm());
  say("GOES ON");
  rank.destroy();
}

void create_only(Rank& rank) {
  rank.create();
  rank.destroy();
}

int run(const std::string& scenario, const std::string& argument) {
  static const std::map<std::string, void (*)(Rank&)> kScenarios = {{"loop", loop},
                                                                    {"loop_and_start_anew", loop_and_start_anew},
                                                                    {"started", loop_started},
                                                                    {"on_a_stream", on_a_stream},
                                                                    {"stopped", stopped},
                                                                    {"late", late},
                                                                    {"mismatch", mismatch},
                                                                    {"messages", mismatched_messages},
                                                                    {"leave", leave},
                                                                    {"abort", abort_call},
                                                                    {"bothered", bothered},
                                                                    {"short_of_memory", short_of_memory},
                                                                    {"limited", limited},
                                                                    {"forked", forked},
                                                                    {"with_a_child", with_a_child},
                                                                    {"leave_at_once", leave_at_once},
                                                                    {"all_leave_at_once", all_leave_at_once},
                                                                    {"suspended", suspended},
                                                                    {"create", create_only}};
  const auto found = kScenarios.find(scenario);
  if (found == kScenarios.end()) return say("no scenario " + scenario), 2;
  Rank rank(argument);
  found->second(rank);
  return 0;
}

}  // namespace
}  // namespace tutti::test

int main(int argc, char** argv) { return tutti::test::run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : ""); }

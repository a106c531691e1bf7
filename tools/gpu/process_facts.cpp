#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "facts.h"
#include "owned_fd.h"

namespace tutti::gpu {
namespace {

using cuda::CUdeviceptr;

constexpr size_t kWords = 1 << 20;  // before the data

std::string hex_of(const cuda::CUipcMemHandle& handle) {
  std::string text;
  for (const unsigned char byte : handle.reserved) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    text += digits;
  }
  return text;
}

cuda::CUipcMemHandle handle_of(const std::string& text) {
  cuda::CUipcMemHandle handle{};
  if (text.size() != 2 * sizeof(handle.reserved)) throw std::runtime_error("the other process says: " + text);
  for (size_t i = 0; i < sizeof(handle.reserved); ++i)
    handle.reserved[i] = static_cast<unsigned char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return handle;
}

// Both processes run these on one memory; what they find is the report of one of them.
probes::Report ping(const Session& s, CUdeviceptr mine, CUdeviceptr theirs, uint32_t rounds, bool begins) {
  const cuda::Stream on = s.stream();
  const cuda::PinnedMemory report = s.pinned_memory(4096);
  const probes::Ping call{device_word(mine),
                          device_word(theirs),
                          static_cast<probes::Report*>(cuda::pointer_to(taken(report.device_address()))),
                          probes::kLongestWait,
                          rounds,
                          begins ? 1U : 0U};
  need(s.probe("probe_ping").launch(1, 32, &call, on.get()));
  s.finish(on.get());
  probes::Report found{};
  std::memcpy(&found, report.data(), sizeof(found));
  return found;
}

// Returns when a kernel has written the word.
void write_by_kernel(const Session& s, CUdeviceptr word, uint32_t value) {
  const cuda::Stream on = s.stream();
  const probes::Write call{device_word(word), value};
  need(s.probe("probe_write").launch(1, 32, &call, on.get()));
  s.finish(on.get());
}

void clear(const Session& s, CUdeviceptr words) {
  const cuda::Stream on = s.stream();
  need(cuda::fill(*s.context(), words, 0, 4096, on.get()));
  s.finish(on.get());
}

// The other process; it answers each line by a line.
class Peer {
 public:
  explicit Peer(const Session& s) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("there is no pipe");
    to_ = OwnedFd(in[1]);
    from_ = OwnedFd(out[0]);
    const std::string probes = probes_file();
    char* arguments[] = {const_cast<char*>("gpu_facts"), const_cast<char*>("peer"), const_cast<char*>(probes.c_str()), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    const int error = ::posix_spawn(&process_, "/proc/self/exe", &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    if (error != 0) throw std::runtime_error("no second process can be started");
    const uint64_t begin = now_ns();
    const std::string handle = line();
    started_ns_ = now_ns() - begin;
    const uint64_t opening = now_ns();
    memory_ = std::make_unique<cuda::OpenedMemory>(taken(cuda::OpenedMemory::open(s.context(), handle_of(handle))));
    opened_ns_ = now_ns() - opening;
  }
  Peer(const Peer&) = delete;
  ~Peer() {
    memory_.reset();
    to_.reset();  // it ends with its input
    if (process_ > 0) ::waitpid(process_, nullptr, 0);
  }

  // The file of probes, which main() was given.
  static std::string probes_file() {
    std::ifstream arguments("/proc/self/cmdline", std::ios::binary);
    std::string word;
    for (int i = 0; i < 3; ++i) std::getline(arguments, word, '\0');
    return word;
  }

  void ask(const std::string& what) const {
    const std::string text = what + "\n";
    if (::write(to_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("the other process ended");
  }
  std::string line() const {
    std::string text;
    char c = 0;
    while (::read(from_.get(), &c, 1) == 1 && c != '\n') text += c;
    return text;
  }
  // "ok 123 456": numbers
  std::vector<uint64_t> answer() const {
    const std::string text = line();
    std::istringstream words(text);
    std::string ok;
    words >> ok;
    if (ok != "ok") throw std::runtime_error("the other process says: " + text);
    std::vector<uint64_t> numbers;
    for (uint64_t number = 0; words >> number;) numbers.push_back(number);
    return numbers;
  }
  CUdeviceptr memory() const { return memory_->address(); }
  uint64_t started_ns() const { return started_ns_; }
  uint64_t opened_ns() const { return opened_ns_; }

 private:
  pid_t process_ = -1;
  OwnedFd to_, from_;
  std::unique_ptr<cuda::OpenedMemory> memory_;
  uint64_t started_ns_ = 0, opened_ns_ = 0;
};

void bandwidth(const Session& s, Findings& f, const Peer& peer) {
  const cuda::Stream on = s.stream();
  const CUdeviceptr data = peer.memory() + kWords;
  const size_t size = s.operand_bytes();
  const cuda::DeviceMemory own = s.device_memory(size);
  const double bytes = 2.0 * static_cast<double>(size);
  f.number("processes.copy_from_peer",
           bytes / s.device_ns(on, 9, [&] { need(cuda::copy(*s.context(), own.address(), data, size, on.get())); }), "GB/s",
           "bytes read and written");
  const cuda::Function add = s.probe("probe_add");
  const probes::Add read{device_word(data), device_word(own.address()), size / 4, 1};
  const probes::Add write{device_word(own.address()), device_word(data), size / 4, 1};
  f.number("processes.kernel_reads_peer", bytes / s.device_ns(on, 3, [&] { need(add.launch(1024, 512, &read, on.get())); }),
           "GB/s");
  f.number("processes.kernel_writes_peer", bytes / s.device_ns(on, 3, [&] { need(add.launch(1024, 512, &write, on.get())); }),
           "GB/s");
  const cuda::DeviceMemory second = s.device_memory(size);
  const probes::Add alone{device_word(own.address()), device_word(second.address()), size / 4, 1};
  f.number("processes.kernel_own_memory", bytes / s.device_ns(on, 3, [&] { need(add.launch(1024, 512, &alone, on.get())); }),
           "GB/s");
}

// A kernel of this process waits for a word that a kernel of the other writes.
void kernel_waits_for_kernel(const Session& s, Findings& f, const Peer& peer) {
  clear(s, peer.memory());
  const cuda::Stream on = s.stream();
  const cuda::PinnedMemory report = s.pinned_memory(4096);
  const CUdeviceptr at = taken(report.device_address());
  std::memset(report.data(), 0, 4096);
  const probes::Poll call{device_word(peer.memory()), device_word(at + 256), static_cast<probes::Report*>(cuda::pointer_to(at)),
                          1'500'000'000, 1};
  need(s.probe("probe_poll").launch(1, 32, &call, on.get()));
  ::usleep(2'000);  // it runs by then
  peer.ask("write 0 1");
  const uint64_t done_after = peer.answer().at(0);
  s.finish(on.get());
  probes::Report found{};
  std::memcpy(&found, report.data(), sizeof(found));
  f.text("processes.kernel_runs_beside_waiting_one",
         found.reached == 1 ? "yes" : "no: it was seen only after the waiting one gave up");
  f.number("processes.kernel_beside_waiting_one", static_cast<double>(done_after) / 1e3, "us",
           "launch until done in the other process");
  f.number("processes.waited", static_cast<double>(found.ns) / 1e3, "us");
}

void ping_pong(const Session& s, Findings& f, const Peer& peer) {
  double round_ns = 0;
  for (const uint32_t rounds : {10U, 200U, 10'000U}) {
    if (round_ns * rounds > 1.5e9) return;  // would not be done in two seconds
    clear(s, peer.memory());
    peer.ask("ping 256 0 " + std::to_string(rounds));
    const probes::Report found = ping(s, peer.memory(), peer.memory() + 256, rounds, true);
    (void)peer.answer();
    const std::string fact = "processes.hop_" + std::to_string(rounds);
    if (found.reached != 1) {
      f.text(fact, "not done in two seconds");
      return;
    }
    round_ns = static_cast<double>(found.ns) / (rounds - 1);
    f.number(fact, round_ns / 2, "ns", "kernel to kernel");
  }
}

void wait_values(const Session& s, Findings& f, const Peer& peer) {
  clear(s, peer.memory());
  const cuda::Stream on = s.stream();
  std::vector<double> all;
  for (uint32_t round = 1; round <= 25; ++round) {
    peer.ask("wait 0 256 " + std::to_string(round));  // its stream waits for word 0, then writes word 64
    ::usleep(2'000);
    const uint64_t begin = now_ns();
    need(cuda::write_word(*s.context(), peer.memory(), round, on.get()));
    need(cuda::wait_for_word(*s.context(), peer.memory() + 256, round, on.get()));
    s.finish(on.get());
    all.push_back(static_cast<double>(now_ns() - begin));
    (void)peer.answer();
  }
  f.number("processes.wait_value", Session::median(all), "ns", "write, other stream sees and writes, stream sees, host sees");
}

}  // namespace

void find_processes(const Session& s, Findings& f) {
  f.number("processes.mps_enabled", taken(s.context()->attribute(cuda::DeviceAttribute::mps_enabled)), "");
  const Peer peer(s);
  f.number("processes.peer_started", static_cast<double>(peer.started_ns()) / 1e6, "ms");
  f.number("processes.open_handle", static_cast<double>(peer.opened_ns()) / 1e3, "us");
  f.attempt("processes.bandwidth", [&] { bandwidth(s, f, peer); });
  f.attempt("processes.kernel_waits", [&] { kernel_waits_for_kernel(s, f, peer); });
  f.attempt("processes.hop", [&] { ping_pong(s, f, peer); });
  f.attempt("processes.wait_value", [&] { wait_values(s, f, peer); });
}

int be_peer(const Session& s) {
  const cuda::DeviceMemory memory = s.device_memory(kWords + s.operand_bytes());
  clear(s, memory.address());
  std::printf("%s\n", hex_of(taken(memory.shared())).c_str());
  std::fflush(stdout);
  const cuda::Stream on = s.stream();
  for (std::string text; std::getline(std::cin, text);) {
    std::istringstream words(text);
    std::string what;
    CUdeviceptr a = 0;
    words >> what >> a;
    try {
      if (what == "write") {
        uint32_t value = 0;
        words >> value;
        const uint64_t begin = now_ns();
        write_by_kernel(s, memory.address() + a, value);
        std::printf("ok %llu\n", static_cast<unsigned long long>(now_ns() - begin));
      } else if (what == "ping") {
        CUdeviceptr theirs = 0;
        uint32_t rounds = 0;
        words >> theirs >> rounds;
        const probes::Report found = ping(s, memory.address() + a, memory.address() + theirs, rounds, false);
        std::printf("ok %llu\n", static_cast<unsigned long long>(found.reached));
      } else if (what == "wait") {
        CUdeviceptr to = 0;
        uint32_t value = 0;
        words >> to >> value;
        need(cuda::wait_for_word(*s.context(), memory.address() + a, value, on.get()));
        need(cuda::write_word(*s.context(), memory.address() + to, value, on.get()));
        s.finish(on.get());
        std::printf("ok\n");
      } else {
        std::printf("does not know %s\n", text.c_str());
      }
    } catch (const std::exception& error) {
      std::printf("%s\n", error.what());
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace tutti::gpu

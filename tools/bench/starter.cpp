#include "starter.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "binding.h"
#include "clock.h"

namespace tutti::bench {
namespace {

constexpr uint64_t kLastWordsNs = 3'000'000'000;  // for ranks that outlive another: Tutti tells them within a second
constexpr uint64_t kTermNs = 1'000'000'000;       // between SIGTERM and SIGKILL

// A directory for the ranks' rendezvous point that goes away with the job.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/tutti-bench-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// In the child: becomes rank `rank`, bound to `threads`, if there are any.  Returns only if that is impossible.
void become_rank(int rank, int ranks, const std::vector<int>& threads, const std::string& store, const sigset_t& signals,
                 char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no rank outlives its starter
  bind_to(threads);
  setenv("TUTTI_RANK", std::to_string(rank).c_str(), 1);
  setenv("TUTTI_SIZE", std::to_string(ranks).c_str(), 1);
  setenv("TUTTI_STORE", store.c_str(), 1);
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  execv("/proc/self/exe", argv);
}

class Ranks {
 public:
  // False if one could not be started; the others are then being ended.
  bool start(const std::vector<std::vector<int>>& threads, const std::string& store, const sigset_t& signals, char** argv) {
    const auto ranks = static_cast<int>(threads.size());
    for (int rank = 0; rank < ranks; ++rank) {
      const pid_t pid = fork();
      if (pid == 0) {
        become_rank(rank, ranks, threads[static_cast<size_t>(rank)], store, signals, argv);
        std::fprintf(stderr, "%s: rank %d could not be started: %s.\n", program_invocation_short_name, rank, std::strerror(errno));
        _exit(1);
      }
      if (pid < 0) {
        std::fprintf(stderr, "%s: Only %d of %d ranks could be started: %s.\n", program_invocation_short_name, rank, ranks,
                     std::strerror(errno));
        result_ = 1;
        end_by(now_ns());
        return false;
      }
      pids_.push_back(pid);
      ++running_;
    }
    return true;
  }

  void interrupt(int signal) {
    if (result_ == 0) result_ = 128 + signal;
    tell(signal);
    end_by(now_ns() + kLastWordsNs);
  }

  // Collects the ranks that have ended.
  void reap() {
    for (int state = 0;;) {
      const pid_t pid = waitpid(-1, &state, WNOHANG);
      if (pid <= 0) return;
      const auto found = std::ranges::find(pids_, pid);
      if (found == pids_.end()) continue;
      *found = 0;
      --running_;
      if (state != 0) failed(static_cast<int>(found - pids_.begin()), pid, state);
    }
  }

  // Ends ranks whose time is over.
  void enforce() {
    if (running_ == 0 || end_at_ == 0 || now_ns() < end_at_) return;
    tell(next_signal_);
    next_signal_ = SIGKILL;
    end_at_ = now_ns() + kTermNs;
  }

  bool running() const { return running_ > 0; }
  int result() const { return result_; }

 private:
  // The first one is the cause, the others follow from it; but one that was killed may be seen to end after those that
  // missed it.
  void failed(int rank, pid_t pid, int state) {
    const bool killed = WIFSIGNALED(state) && !told_;
    if (result_ != 0 && (!killed || by_signal_)) return;
    by_signal_ = WIFSIGNALED(state);
    if (by_signal_) {
      result_ = 128 + WTERMSIG(state);
      std::fprintf(stderr, "%s: rank %d (pid %d) was killed by signal %d (%s).\n", program_invocation_short_name, rank,
                   static_cast<int>(pid), WTERMSIG(state), strsignal(WTERMSIG(state)));
    } else {
      result_ = WEXITSTATUS(state);  // it has said why
    }
    end_by(now_ns() + kLastWordsNs);
  }

  void end_by(uint64_t when) {
    if (end_at_ == 0) end_at_ = when;
  }

  void tell(int signal) {
    told_ = true;
    for (const pid_t pid : pids_)
      if (pid > 0) kill(pid, signal);
  }

  std::vector<pid_t> pids_;  // 0: has ended
  int running_ = 0;
  int result_ = 0;                         // the exit status
  bool by_signal_ = false, told_ = false;  // a rank ended by one; ranks were sent some from here
  uint64_t end_at_ = 0;                    // 0: let them run
  int next_signal_ = SIGTERM;
};

}  // namespace

int start_ranks(int ranks, char** argv, bool binds) {
  const TemporaryDirectory directory;
  if (directory.path().empty()) {
    std::fprintf(stderr, "%s: No temporary directory could be made in $TMPDIR or /tmp: %s.\n", program_invocation_short_name,
                 std::strerror(errno));
    return 1;
  }
  // Signals are taken from a queue instead of handlers; ranks get the mask that was here before.
  sigset_t taken, before;
  sigemptyset(&taken);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&taken, signal);
  sigprocmask(SIG_BLOCK, &taken, &before);
  const std::vector<std::vector<int>> threads =
      binds ? share_out(ranks, usable_cores_and_threads()) : std::vector<std::vector<int>>(static_cast<size_t>(ranks));
  Ranks job;
  job.start(threads, "file:" + directory.path() + "/store", before, argv);
  while (job.running()) {
    const timespec tick{0, 200'000'000};
    const int signal = sigtimedwait(&taken, nullptr, &tick);
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) job.interrupt(signal);
    job.reap();
    job.enforce();
  }
  return job.result();
}

}  // namespace tutti::bench

// PMI-1's wire protocol: lines of key=value words over a socket inherited from hydra's proxy.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>

#include "clock.h"
#include "launcher_place.h"
#include "net_address.h"
#include "owned_fd.h"
#include "pmi.h"
#include "words.h"

namespace tutti {
namespace {

constexpr uint64_t kAnswerPatience = 30'000 * kMillisecond;  // for what the proxy answers without asking other ranks
constexpr size_t kLongestLine = 4096;
constexpr const char* kPmiVariables = "PMI_RANK, PMI_SIZE and PMI_FD";
constexpr uint64_t kFarewellPatience = 1000 * kMillisecond;

using Words = std::map<std::string, std::string, std::less<>>;

Words parse_line(std::string_view line) {
  Words words;
  for (const std::string_view word : split(line, ' ')) {
    const size_t equals = word.find('=');
    if (equals != std::string_view::npos) words.emplace(word.substr(0, equals), word.substr(equals + 1));
  }
  return words;
}

Status pmi_error(const std::string& text) { return Status(Code::unreachable, "the launcher's key store (PMI): " + text); }

// The process's connection to its proxy.
class PmiConnection {
 public:
  explicit PmiConnection(int fd) : fd_(fd) {}
  OwnedFd& fd() { return fd_; }

  // Sends a command and returns its answer; answers to an earlier command that was given up are skipped.
  Result<Words> ask(std::string command, std::string_view answer, uint64_t deadline) {
    command += '\n';
    if (::send(fd_.get(), command.data(), command.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(command.size()))
      return system_error("asking the launcher's key store (PMI)");
    for (;;) {
      const auto line = read_line(deadline);
      if (!line.ok()) return line.status();
      Words words = parse_line(*line);
      if (words["cmd"] != answer) continue;
      const std::string rc = words["rc"];
      if (!rc.empty() && rc != "0")
        return pmi_error(in_quotes(command.substr(0, command.size() - 1)) + " failed: " + in_quotes(*line));
      return words;
    }
  }

 private:
  Result<std::string> read_line(uint64_t deadline) {
    for (;;) {
      const size_t end = in_.find('\n');
      if (end != std::string::npos) {
        std::string line = in_.substr(0, end);
        in_.erase(0, end + 1);
        return line;
      }
      if (in_.size() > kLongestLine) return pmi_error("a line of more than " + std::to_string(kLongestLine) + " bytes");
      if (!wait_for(fd_.get(), POLLIN, deadline)) return pmi_error("no answer in time");
      char chunk[1024];
      const ssize_t n = ::read(fd_.get(), chunk, sizeof chunk);
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n <= 0) return pmi_error("it closed the connection");
      in_.append(chunk, static_cast<size_t>(n));
    }
  }

  OwnedFd fd_;
  std::string in_;
};

// A process that has used PMI must send finalize before it exits, or hydra takes its end for a crash and kills the job.
// Since finalize ends the connection, it can be sent only once, after the last communicator and the last use by an MPI
// library.  Hence this one object that outlives all of them.  It keeps a descriptor of its own: an MPI library closes
// the inherited one.
class Farewell {
 public:
  ~Farewell() {
    if (!connection_ || !place_.is_ours()) return;  // a child of fork has nothing to say
    const auto ended = connection_->ask("cmd=finalize", "finalize_ack", now_ns() + kFarewellPatience);
    (void)ended.ok();  // an MPI library may have said it before
  }
  static Status remember(int fd) {
    static Farewell farewell;
    const std::lock_guard lock(farewell.mutex_);
    if (farewell.connection_) return farewell.place_.is_ours() ? Status() : farewell.place_.refusal(kPmiVariables);
    if (const Status taken = farewell.take(fd); !taken.ok()) return taken;
    PmiConnection connection(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!connection.fd()) return system_error("opening the launcher's key store (PMI)");
    const auto init = connection.ask("cmd=init pmi_version=1 pmi_subversion=1", "response_to_init", now_ns() + kAnswerPatience);
    if (!init.ok()) return init.status();
    farewell.connection_.emplace(std::move(connection));
    return {};
  }

 private:
  // All that inherit the descriptor see the same socket.  A program that inherited only the variables has none there,
  // or one of its own.
  Status take(int fd) {
    struct stat socket{};
    if (::fstat(fd, &socket) != 0 || !S_ISSOCK(socket.st_mode))
      return Status(Code::invalid_argument,
                    "PMI_FD=" + std::to_string(fd) +
                        " is not open here: the launcher did not start this program, which has inherited its "
                        "variables; " +
                        kHowToRunInside);
    if (place_.is_ours()) return {};  // an earlier attempt failed
    return place_.take("PMI " + std::to_string(socket.st_dev) + " " + std::to_string(socket.st_ino), kPmiVariables);
  }

  std::mutex mutex_;
  std::optional<PmiConnection> connection_;
  LauncherPlace place_;
};

class PmiStore final : public LauncherStore {
 public:
  PmiStore(int fd, int rank, int size) : inherited_(fd), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Result<std::string> share(const std::string& text, uint64_t deadline) override {
    if (const Status begun = Farewell::remember(inherited_); !begun.ok()) return begun;
    PmiConnection connection(::fcntl(inherited_, F_DUPFD_CLOEXEC, 0));
    const uint64_t answer_deadline = now_ns() + kAnswerPatience;
    auto space = connection.ask("cmd=get_my_kvsname", "my_kvsname", answer_deadline);
    if (!space.ok()) return space.status();
    const std::string where = "kvsname=" + (*space)["kvsname"] + " key=" + next_bootstrap_key();
    if (rank_ == 0) {
      const auto put = connection.ask("cmd=put " + where + " value=" + text, "put_result", answer_deadline);
      if (!put.ok()) return put.status();
    }
    const auto all = connection.ask("cmd=barrier_in", "barrier_out", deadline);
    if (!all.ok())
      return Status(all.status().code(), all.status().message() + "; do all ranks of the job create this communicator?");
    auto got = connection.ask("cmd=get " + where, "get_result", now_ns() + kAnswerPatience);
    if (!got.ok()) return got.status();
    return (*got)["value"];
  }

 private:
  const int inherited_;  // the launcher's, not ours to close
  const int rank_, size_;
};

}  // namespace

std::string next_bootstrap_key() {
  static std::atomic<uint32_t> bootstraps = 0;
  return "tutti-" + std::to_string(bootstraps.fetch_add(1));
}

std::unique_ptr<LauncherStore> open_pmi(int fd, int rank, int size) { return std::make_unique<PmiStore>(fd, rank, size); }

}  // namespace tutti

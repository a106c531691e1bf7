// The rendezvous: one TCP server where the ranks of a communicator meet at birth, and its client.
//
// One operation: in each round every rank gives a blob, and when all have given, everyone gets all blobs.  A failure ends the meeting
// for everyone who came, with the same sentence.  Round 0 is the meeting itself: the server stops listening before anyone learns
// that all have come, so a rank that is already on its way to the job's next meeting can never walk into an old one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "log.h"
#include "net_address.h"
#include "owned_fd.h"
#include "rendezvous_frames.h"
#include "status.h"

namespace tutti {

Result<Secret> make_secret();

// Where a meeting is, as rank 0 writes it into files, stores and unique ids: "tutti1;<secret in hex>;10.0.0.1:4242;[fd00::1]:4242".
struct MeetingPoint {
  std::vector<SocketAddress> addresses;  // tried in this order
  Secret secret{};
  std::string shown;  // for messages: "node7:29500", "the file /shared/meet"
};
std::string encode(const MeetingPoint& point);
Result<MeetingPoint> decode_meeting_point(std::string_view text);

struct MeetingOptions {
  std::string name;
  int size = 0;  // 0: the first rank that knows the secret decides name and size
  Secret secret{};
  uint64_t timeout_ns = 0;  // for all to come, and for each later round once one rank has given
  std::string shown;        // where it is, for messages
  Log log;
  size_t most_strangers = 64;  // connections that have not yet said who they are
  uint64_t stranger_ns = 10'000'000'000;
  std::function<void()> all_met;  // called once by the server's thread, before anyone learns that all have come
};

// Listens on every interface (port 0: the kernel picks one), IPv6 and IPv4 where the host has both.
Result<OwnedFd> listen_everywhere(uint16_t port);

// A meeting run by a thread of this process.
class MeetingServer {
 public:
  static Result<std::unique_ptr<MeetingServer>> start(OwnedFd listener, MeetingOptions options);
  // Hands out what it still has for others (at most a few seconds: a stopped process does not hold it), then ends the thread.
  ~MeetingServer();

  // The address at which another host's rank reached this one, or any rank, once all have met.
  std::optional<SocketAddress> reached_at() const;
  // For this process's own client.
  SocketAddress own_address() const { return own_address_; }

  struct Shared;

 private:
  MeetingServer() = default;

  SocketAddress own_address_;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

// A meeting whose thread belongs to nobody: it owns all it uses and ends by itself, when the ranks have come and gone, or after
// `timeout_ns` without anyone.  The library must stay loaded that long.
Status start_detached_meeting(OwnedFd listener, MeetingOptions options);

// Where the meeting is by what is known now.  nullopt: not known yet, ask again; an error: never.
using Locate = std::function<Result<std::optional<MeetingPoint>>()>;

// One rank's place in a meeting.
class MeetingClient {
 public:
  struct Options {
    int rank = 0, size = 1;
    std::string name;
    uint64_t timeout_ns = 0;
    std::string waiting_for;  // "rendezvous at node7:29500"
    Log log;
  };

  // Looks for the meeting, connects and waits until all ranks have met.
  static Result<std::unique_ptr<MeetingClient>> join(Options options, const Locate& locate);

  Result<std::vector<std::string>> exchange(const std::string& mine);
  const SocketAddress& local_end() const { return local_end_; }

 private:
  enum class Answer : uint8_t { blobs, refusal, none };  // none: nobody answered; there may be someone later

  explicit MeetingClient(Options options) : options_(std::move(options)) {}
  Answer attempt(const MeetingPoint& point, uint64_t deadline, Status& why);
  Answer round(const std::string& blob, std::vector<std::string>& blobs, Status& why);

  Options options_;
  Secret secret_{};
  OwnedFd fd_;
  SocketAddress local_end_;
  std::string in_;
  uint32_t round_ = 0;
  Status failure_;  // of an earlier round; a meeting that failed stays failed
};

}  // namespace tutti

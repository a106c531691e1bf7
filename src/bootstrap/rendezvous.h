// The rendezvous: one server where the ranks of a communicator meet at bootstrap, and its client.
//
// One operation: in each round every rank gives a blob, and when all have given, all ranks get all blobs.  In round 0
// the ranks join.  The server stops listening before any rank learns that all have joined, so a rank that is already on
// its way to the job's next rendezvous can never reach an old one.
//
// A failure ends the rendezvous for every rank that came, with the same sentence, that of the first cause.  A rank
// fails when it says that it cannot go on, or when it closes its connection before it has said that it is done.  The
// whole bootstrap has one deadline, the earliest of any rank.
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

#include "clock.h"
#include "log.h"
#include "net_address.h"
#include "owned_fd.h"
#include "rendezvous_frames.h"
#include "status.h"

namespace tutti {

// Where a rendezvous is, as rank 0 writes it into files, stores and unique ids:
// "tutti1;<secret in hex>;unix:tutti-5f0c;10.0.0.1:4242".
struct RendezvousPoint {
  std::vector<SocketAddress> addresses;  // tried in this order
  Secret secret{};
  std::string shown;  // for messages: "node7:29500", "the file /shared/meet"
};
std::string encode(const RendezvousPoint& point);
Result<RendezvousPoint> decode_rendezvous_point(std::string_view text);

// "host b, pid 4711": this process, in sentences that other ranks read.
std::string this_process();

// About as many descriptors as rank 0 of a communicator of `size` ranks needs.
uint64_t descriptors_for(int size);

struct RendezvousOptions {
  std::string name;
  int size = 0;  // 0: the first rank that knows the secret decides name and size
  Secret secret{};
  uint64_t timeout_ns = 0;  // of the bootstrap
  // Of the bootstrap, by clock.h; 0: `timeout_ns` after the start, or after the first rank came to a detached
  // rendezvous.
  uint64_t deadline = 0;
  std::string shown;         // where it is, for messages
  std::string missing_hint;  // ends the sentence about missing ranks; may be empty
  Log log;
  size_t most_pending = 256;  // connections, beyond one for each rank that is still expected
  uint64_t patience_ns = 10 * kSecond;  // with each of them
  // Called once by the server's thread, before any rank learns that all have joined.
  std::function<void()> on_all_joined;
};

inline constexpr int kRendezvousBacklog = 1024;  // of its sockets

// Listens on every interface (port 0: the kernel picks one), IPv6 and IPv4 where the host has both.
Result<OwnedFd> listen_everywhere(uint16_t port);

// A rendezvous run by a thread of this process, that of rank 0.
class RendezvousServer {
 public:
  // All listeners lead to the one rendezvous.
  static Result<std::unique_ptr<RendezvousServer>> start(std::vector<OwnedFd> listeners, RendezvousOptions options);
  // Waits for a moment until the others are done or have taken their last answers (a stopped process holds it for
  // seconds at most), then ends the thread.
  ~RendezvousServer();

  // Rank 0 cannot go on, and has not been able to say so to its own rendezvous.  The others learn of it while the
  // object ends.
  void give_up(const Status& why);

  // The address at which a rank of another host, or else any rank, reached this one; known once all have joined.
  std::optional<SocketAddress> reached_at() const;
  // For this process's own client.
  SocketAddress own_address() const { return own_address_; }

  struct Shared;

 private:
  RendezvousServer() = default;

  SocketAddress own_address_;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

// A rendezvous with a detached thread, which owns all that it uses and ends by itself: when the ranks have come and
// gone, or after `timeout_ns` without anyone.  The library must stay loaded that long.
Status start_detached_rendezvous(std::vector<OwnedFd> listeners, RendezvousOptions options);

// Where the rendezvous is, as far as is known now.
struct Located {
  std::optional<RendezvousPoint> point;
  Status not_yet;  // why there is no point: ask again
};
// Blocks for a second at most, and not beyond the deadline.  An error: the rendezvous will never be found.
using Locate = std::function<Result<Located>()>;

// One rank's place in a rendezvous.
class RendezvousClient {
 public:
  struct Options {
    int rank = 0, size = 1;
    std::string name;
    uint64_t timeout_ns = 0;  // of the bootstrap
    std::string waiting_for;  // "rendezvous at node7:29500"
    Log log;
    uint64_t deadline = 0;      // of the bootstrap, by clock.h; 0: `timeout_ns` from now
    bool only_rendezvous = false;  // no later one will listen at the same addresses
    std::function<Status()> called_off;  // see JoinOptions
    std::string refused_hint;   // why all addresses of the only rendezvous may refuse
  };

  // Looks for the rendezvous, connects and waits until all ranks have joined.
  static Result<std::unique_ptr<RendezvousClient>> join(Options options, const Locate& locate);

  Result<std::vector<std::string>> exchange(const std::string& mine);

  int watched() const { return failure_.ok() ? fd_.get() : -1; }  // see Bootstrap
  Status heard();
  Status fail(const Status& why);
  void leave();  // this rank has all it needs

  const SocketAddress& local_end() const { return local_end_; }
  const std::optional<SocketAddress>& reached_at() const { return reached_at_; }  // by ranks of other hosts

 private:
  // none: nobody answered, which may change.  elsewhere: this is the rendezvous of another job.
  enum class Answer : uint8_t { blobs, refusal, elsewhere, none };

  struct Search;

  explicit RendezvousClient(Options options);
  Answer attempt(const RendezvousPoint& point, Search& search);
  Answer attempt(const SocketAddress& address, const Secret& secret, Status& why);
  Status greet(const SocketAddress& address, uint64_t until);
  Answer round(const std::string& blob, std::vector<std::string>& blobs, Status& why);
  RendezvousRequest request(RequestKind kind) const;
  Answer await_reply(uint64_t until, RendezvousReply& reply, Status& why);
  Answer await_input(uint64_t until, Status& why) const;
  std::optional<Answer> next_reply(RendezvousReply& reply, Status& why);
  bool receive(Status& why);
  Status server_lost() const;

  Options options_;
  Secret secret_{};
  OwnedFd fd_;  // empty once the server has left
  SocketAddress local_end_;
  std::optional<SocketAddress> reached_at_;
  std::string in_;
  std::string keeper_;  // who runs the rendezvous, once this rank is admitted: "rank 0 (host b, pid 4711)"
  uint32_t round_ = 0;
  bool ended_ = false;  // the server has left, after a farewell
  Status failure_;      // a rendezvous that failed stays failed
};

}  // namespace tutti

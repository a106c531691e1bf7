// The server's side of a rendezvous: a poll loop over non-blocking sockets, run by one thread.  See rendezvous.h.
#pragma once

#include <poll.h>

#include <deque>
#include <list>

#include "listener.h"
#include "rendezvous.h"

namespace tutti {

struct RendezvousServer::Shared {
  OwnedFd stop;  // eventfd; readable: the owner is done
  mutable std::mutex mutex;
  std::optional<SocketAddress> reached_at;  // guarded by mutex, as what follows
  Status given_up;                          // by the owner
};

class Rendezvous final : private Gatekeeper {
 public:
  // `shared` is null for a rendezvous without an owner.  `keeper` is who runs it: "rank 0 (host b, pid 4711)".
  Rendezvous(std::vector<OwnedFd> listeners, RendezvousOptions options, std::string keeper,
          std::shared_ptr<RendezvousServer::Shared> shared);
  void run();

 private:
  // A rank that came.
  struct Member {
    OwnedFd fd;
    SocketAddress from;
    bool leaving = false;  // it is done, or has its last answer, and its end is awaited
    uint32_t rank = 0;
    std::string who;     // as it said: "host b, pid 4711"
    uint64_t since = 0;  // of one that is leaving: its last answer
    std::string in;
    std::deque<std::shared_ptr<const std::string>> out;
    size_t sent = 0;    // of out.front()
    bool gave = false;  // a blob in this round
    bool gone = false;  // to be forgotten
  };

  // The loop: rendezvous_rounds.cpp.
  bool finished(uint64_t now) const;
  uint64_t next_deadline(uint64_t now) const;
  void begin_stop(uint64_t now);
  void check_deadlines(uint64_t now);
  uint64_t deadline_of(const Member& member) const;
  uint64_t verdict_deadline() const;
  std::string late_sentence() const;

  // The ranks' messages: rendezvous_rounds.cpp.
  void take_request(Member& member, RendezvousRequest request);
  void take_blob(Member& member, RendezvousRequest request);
  void take_done(Member& member);
  Verdict admit(PendingConnection& connection, RendezvousRequest request, size_t used);
  Verdict refusal_of(const RendezvousRequest& request, const SocketAddress& from);
  Verdict joined_twice(const Member& member);
  void welcome(Member& member, const RendezvousRequest& request);
  Status objection(const RendezvousRequest& request) const;
  void keep_deadline_of(const Member& member, uint32_t patience_ms);
  void complete_round();
  void stop_listening();
  void fail(const Status& status);
  void fail_by(const Member& member, const std::string& deed);

  // Connections: rendezvous_connections.cpp.
  size_t most_pending() const;
  void serve_listener(std::span<const pollfd> ready);
  Verdict judge(PendingConnection& connection) override;
  void starved(int error) override;
  void receive(Member& member);
  void take_requests(Member& member);
  void closed_by(Member& member);
  void answer(Member& member, std::shared_ptr<const std::string> bytes);
  void answer(Member& member, const RendezvousReply& reply);
  void flush(Member& member);
  void turn_away(Member& member, const Status& why);

  bool all_joined() const { return round_ > 0; }
  std::string who(const Member& member) const;
  std::string listed_ranks(const std::vector<bool>& those) const;

  Listener listener_;  // closed once all have joined
  RendezvousOptions options_;
  const std::string keeper_;
  std::shared_ptr<RendezvousServer::Shared> shared_;
  std::list<Member> members_;  // in order of arrival
  std::vector<std::string> blobs_;  // of this round
  std::vector<bool> came_, given_, done_;  // by rank; given_ in this round
  uint32_t size_ = 0;
  uint32_t round_ = 0;
  uint32_t came_count_ = 0, given_count_ = 0;
  uint32_t staying_ = 0;        // who are neither done nor turned away nor lost
  uint64_t deadline_ = 0;       // of the bootstrap; 0: nobody has come yet
  std::string hurried_by_;      // the rank whose deadline that is, if it is not the rendezvous's own
  uint64_t stop_deadline_ = 0;  // 0: the owner still wants the rendezvous
  uint64_t late_until_ = 0;     // after a stop: ranks that have not come yet may come and get the reason until then
  uint64_t last_activity_ = 0;
  bool logged_refusal_ = false;
  std::string turned_away_;  // the last one, for the sentence about missing ranks
  Status suspicion_;  // a rank's word that another closed its connection: that one's own end is waited for, until …
  uint64_t suspicion_until_ = 0;
  Status failure_;
};

}  // namespace tutti

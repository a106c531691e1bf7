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
  enum class Role : uint8_t { member, leaving };  // leaving: it is done, or has its last answer, and its end is awaited

  // A rank that came.
  struct Guest {
    OwnedFd fd;
    SocketAddress from;
    Role role = Role::member;
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
  uint64_t guest_deadline(const Guest& guest) const;
  uint64_t verdict_deadline() const;
  std::string late_sentence() const;

  // What ranks say: rendezvous_rounds.cpp.
  void take_request(Guest& guest, RendezvousRequest request);
  void take_blob(Guest& guest, RendezvousRequest request);
  void take_done(Guest& guest);
  Verdict admit(PendingConnection& connection, RendezvousRequest request, size_t used);
  Verdict refusal_of(const RendezvousRequest& request, const SocketAddress& from);
  Verdict joined_twice(const Guest& guest);
  void welcome(Guest& guest, const RendezvousRequest& request);
  Status objection(const RendezvousRequest& request) const;
  void keep_deadline_of(const Guest& guest, uint32_t patience_ms);
  void complete_round();
  void stop_listening();
  void fail(const Status& status);
  void fail_by(const Guest& guest, const std::string& deed);

  // Connections: rendezvous_connections.cpp.
  size_t most_pending() const;
  void serve_listener(std::span<const pollfd> ready);
  Verdict judge(PendingConnection& connection) override;
  void starved(int error) override;
  void receive(Guest& guest);
  void take_requests(Guest& guest);
  void closed_by(Guest& guest);
  void answer(Guest& guest, std::shared_ptr<const std::string> bytes);
  void answer(Guest& guest, const RendezvousReply& reply);
  void flush(Guest& guest);
  void turn_away(Guest& guest, const Status& why);

  bool met() const { return round_ > 0; }
  std::string who(const Guest& guest) const;
  std::string listed_ranks(const std::vector<bool>& those) const;

  Listener listener_;  // closed once all have met
  RendezvousOptions options_;
  const std::string keeper_;
  std::shared_ptr<RendezvousServer::Shared> shared_;
  std::list<Guest> guests_;  // in order of arrival
  std::vector<std::string> blobs_;  // of this round
  std::vector<bool> came_, given_, done_;  // by rank; given_ in this round
  uint32_t size_ = 0;
  uint32_t round_ = 0;
  uint32_t came_count_ = 0, given_count_ = 0;
  uint32_t members_ = 0;        // who are neither done nor turned away nor lost
  uint64_t deadline_ = 0;       // of the bootstrap; 0: nobody has come yet
  std::string hurried_by_;      // the rank whose deadline that is, if it is not the rendezvous's own
  uint64_t stop_deadline_ = 0;  // 0: the owner still wants the rendezvous
  uint64_t late_until_ = 0;     // after a stop: ranks that have not come yet may come and be told until then
  uint64_t last_activity_ = 0;
  bool told_refusal_ = false;
  std::string turned_away_;  // the last one, for the sentence about missing ranks
  Status suspicion_;  // a rank's word that another closed its connection: that one's own end is waited for, until …
  uint64_t suspicion_until_ = 0;
  Status failure_;
};

}  // namespace tutti

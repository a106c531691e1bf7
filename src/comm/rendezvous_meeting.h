// The server's side of a meeting: a poll loop over non-blocking sockets, run by one thread.  See rendezvous.h.
#pragma once

#include <poll.h>

#include <deque>
#include <list>

#include "rendezvous.h"

namespace tutti {

struct MeetingServer::Shared {
  OwnedFd stop;  // eventfd; readable: the owner is done
  mutable std::mutex mutex;
  std::optional<SocketAddress> reached_at;  // guarded by mutex
};

class Meeting {
 public:
  // `shared` is null for a meeting without an owner.
  Meeting(OwnedFd listener, MeetingOptions options, std::shared_ptr<MeetingServer::Shared> shared);
  void run();

 private:
  enum class Role : uint8_t { stranger, member, leaving };  // leaving: has been answered for good and is being waited out

  struct Guest {
    OwnedFd fd;
    SocketAddress from;
    Role role = Role::stranger;
    uint32_t rank = 0;
    uint64_t since = 0;  // it came; a leaver: it was answered
    std::string in;
    std::deque<std::shared_ptr<const std::string>> out;
    size_t sent = 0;    // of out.front()
    bool gave = false;  // a blob in this round
    bool gone = false;  // to be forgotten
  };

  bool finished(uint64_t now);
  int wait_ms(uint64_t now);
  std::vector<pollfd> poll_set(uint64_t now);
  void accept_guests(uint64_t now);
  Guest* oldest_stranger();
  bool crowded(uint64_t now);
  void check_deadlines(uint64_t now);
  uint64_t guest_deadline(const Guest& guest) const;

  void receive(Guest& guest);
  void take_requests(Guest& guest);
  void take_request(Guest& guest, MeetingRequest request);
  bool admit(Guest& guest, const MeetingRequest& request);
  Status objection(const MeetingRequest& request) const;
  void complete_round();
  void closed_by(Guest& guest);

  void answer(Guest& guest, std::shared_ptr<const std::string> bytes);
  void answer(Guest& guest, const Status& status);
  void flush(Guest& guest);
  void turn_away(Guest& guest, const Status& why);
  void drop_stranger(Guest& guest, const std::string& why);
  void fail(const Status& status);

  bool met() const { return round_ > 0; }
  std::string who(const Guest& guest) const;
  std::string missing_ranks() const;

  OwnedFd listener_;
  MeetingOptions options_;
  std::shared_ptr<MeetingServer::Shared> shared_;
  std::list<Guest> guests_;
  std::vector<std::string> blobs_;  // of this round
  std::vector<bool> came_, given_;  // by rank; given_ in this round
  uint32_t size_ = 0;
  uint32_t round_ = 0;
  uint32_t given_count_ = 0, members_ = 0;
  uint64_t deadline_ = 0;       // of this round; 0: none yet
  uint64_t stop_deadline_ = 0;  // 0: the owner still wants the meeting
  uint64_t last_activity_ = 0;
  uint64_t accept_again_ = 0;        // after the system refused to accept
  std::optional<std::string> lost_;  // a member that left, as a subject: "rank 3 (from 10.0.0.2:4242)"
  std::string turned_away_;          // the last one, for the sentence about missing ranks
  size_t dropped_strangers_ = 0;
  Status failure_;
};

}  // namespace tutti

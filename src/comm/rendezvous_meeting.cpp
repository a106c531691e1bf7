#include "rendezvous_meeting.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "clock.h"
#include "words.h"

namespace tutti {
namespace {

constexpr uint64_t kLinger = 5 * kSecond;     // for answers to be taken; a stopped process must not hold the meeting
constexpr uint64_t kCrowdPatience = kSecond;  // before the oldest silent stranger makes room for the next one
constexpr size_t kStrangerWarnings = 16;      // a port scan must not fill the log
constexpr size_t kNamedRanks = 16;            // in a list of missing ranks

std::string seconds(uint64_t ns) {
  if (ns % kSecond == 0) return std::to_string(ns / kSecond) + " s";
  return std::to_string(ns / kMillisecond) + " ms";
}

}  // namespace

Meeting::Meeting(OwnedFd listener, MeetingOptions options, std::shared_ptr<MeetingServer::Shared> shared)
    : listener_(std::move(listener)), options_(std::move(options)), shared_(std::move(shared)) {
  size_ = static_cast<uint32_t>(options_.size);
  last_activity_ = now_ns();
  if (shared_) deadline_ = last_activity_ + options_.timeout_ns;
}

void Meeting::run() {
  for (uint64_t now = now_ns(); !finished(now); now = now_ns()) {
    std::vector<pollfd> set = poll_set(now);
    if (::poll(set.data(), set.size(), wait_ms(now)) < 0 && errno != EINTR) return;
    now = now_ns();
    auto entry = set.begin() + 2;
    for (auto guest = guests_.begin(); entry != set.end(); ++entry, ++guest) {
      if (entry->revents & POLLOUT) flush(*guest);
      if (entry->revents & (POLLIN | POLLHUP | POLLERR)) receive(*guest);
    }
    if (set[0].revents != 0 && stop_deadline_ == 0) stop_deadline_ = now + kLinger;
    if (set[1].revents != 0) accept_guests(now);
    check_deadlines(now);
    guests_.remove_if([](const Guest& guest) { return guest.gone; });
  }
}

bool Meeting::finished(uint64_t now) {
  const bool all_sent = std::all_of(guests_.begin(), guests_.end(), [](const Guest& guest) { return guest.out.empty(); });
  if (stop_deadline_ != 0) return all_sent || now >= stop_deadline_;
  if (met() && members_ == 0) return guests_.empty();
  return !shared_ && now >= last_activity_ + options_.timeout_ns + kLinger;
}

uint64_t Meeting::guest_deadline(const Guest& guest) const {
  if (guest.role == Role::stranger) return guest.since + options_.stranger_ns;
  return guest.role == Role::leaving ? guest.since + kLinger : UINT64_MAX;
}

int Meeting::wait_ms(uint64_t now) {
  uint64_t next = UINT64_MAX;
  for (const Guest& guest : guests_) next = std::min(next, guest_deadline(guest));
  if (deadline_ != 0 && failure_.ok()) next = std::min(next, deadline_);
  if (stop_deadline_ != 0) next = std::min(next, stop_deadline_);
  if (!shared_) next = std::min(next, last_activity_ + options_.timeout_ns + kLinger);
  if (accept_again_ > now) next = std::min(next, accept_again_);
  if (crowded(now)) next = std::min(next, oldest_stranger()->since + kCrowdPatience);
  if (next == UINT64_MAX) return -1;
  return next <= now ? 0 : static_cast<int>(std::min<uint64_t>((next - now) / kMillisecond + 1, 60'000));
}

// The stop signal, the listener, then every guest in order; an entry that is not wanted has descriptor -1.
std::vector<pollfd> Meeting::poll_set(uint64_t now) {
  std::vector<pollfd> set;
  set.push_back({shared_ && stop_deadline_ == 0 ? shared_->stop.get() : -1, POLLIN, 0});
  set.push_back({accept_again_ > now || crowded(now) ? -1 : listener_.get(), POLLIN, 0});
  for (const Guest& guest : guests_)
    set.push_back({guest.fd.get(), static_cast<short>(guest.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
  return set;
}

Meeting::Guest* Meeting::oldest_stranger() {  // guests_ is in order of arrival
  const auto found =
      std::find_if(guests_.begin(), guests_.end(), [](const Guest& g) { return g.role == Role::stranger && !g.gone; });
  return found == guests_.end() ? nullptr : &*found;
}

// As many strangers as are allowed, and the oldest may still be about to say who it is.
bool Meeting::crowded(uint64_t now) {
  const auto is_stranger = [](const Guest& guest) { return guest.role == Role::stranger && !guest.gone; };
  const auto strangers = static_cast<size_t>(std::count_if(guests_.begin(), guests_.end(), is_stranger));
  return strangers >= options_.most_strangers && now < oldest_stranger()->since + kCrowdPatience;
}

void Meeting::accept_guests(uint64_t now) {
  while (listener_ && !crowded(now)) {
    auto fd = accept_from(listener_.get());
    if (!fd.ok()) {  // out of descriptors, mostly: the waiting connection stays, so do not ask again at once
      options_.log.warn("rendezvous at " + options_.shown + ": " + fd.status().message());
      accept_again_ = now + 100 * kMillisecond;
      return;
    }
    if (!*fd) return;
    const auto strangers =
        std::count_if(guests_.begin(), guests_.end(), [](const Guest& g) { return g.role == Role::stranger && !g.gone; });
    if (static_cast<size_t>(strangers) >= options_.most_strangers)
      drop_stranger(*oldest_stranger(), "too many connections that say nothing");
    const auto from = peer_address_of(fd->get());
    const Status no_delay = set_no_delay(fd->get());  // only speed is lost
    if (!no_delay.ok()) options_.log.info(no_delay.message());
    Guest guest;
    guest.fd = std::move(*fd);
    if (from.ok()) guest.from = *from;
    guest.since = now;
    guests_.push_back(std::move(guest));
  }
}

void Meeting::check_deadlines(uint64_t now) {
  for (Guest& guest : guests_) {
    if (guest.gone || now < guest_deadline(guest)) continue;
    if (guest.role == Role::stranger) drop_stranger(guest, "it did not say who it is within " + seconds(options_.stranger_ns));
    guest.gone = true;
  }
  if (deadline_ == 0 || now < deadline_ || !failure_.ok()) return;
  std::string text =
      "rendezvous at " + options_.shown + ": " + std::to_string(given_count_) + " of " + std::to_string(size_) + " ranks came ";
  if (round_ > 0) text += "to round " + std::to_string(round_) + " of the birth ";
  text += "within " + seconds(options_.timeout_ns) + "; missing: " + missing_ranks();
  if (!turned_away_.empty()) text += "; turned away: " + turned_away_;
  fail(Status(Code::unreachable, text));
}

std::string Meeting::missing_ranks() const {
  std::string text;
  size_t named = 0, missing = 0;
  for (uint32_t rank = 0; rank < size_; ++rank) {
    if (rank < given_.size() && given_[rank]) continue;
    if (++missing > kNamedRanks) continue;
    text += (named++ == 0 ? "" : ", ") + std::to_string(rank);
  }
  if (missing > named) text += " and " + std::to_string(missing - named) + " more";
  return text;
}

std::string Meeting::who(const Guest& guest) const {
  return "rank " + std::to_string(guest.rank) + " (from " + guest.from.to_string() + ")";
}

void Meeting::receive(Guest& guest) {
  char chunk[16384];
  while (!guest.gone) {
    const ssize_t n = ::recv(guest.fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n <= 0) {
      closed_by(guest);
      return;
    }
    if (guest.role == Role::leaving) continue;
    guest.in.append(chunk, static_cast<size_t>(n));
    take_requests(guest);
    if (guest.in.size() >= kLongestRequest) break;
  }
}

void Meeting::take_requests(Guest& guest) {
  while (!guest.gone && guest.role != Role::leaving && !guest.in.empty()) {
    MeetingRequest request;
    size_t used = 0;
    std::string flaw;
    const Decoding decoding = decode(guest.in, request, used, flaw);
    if (decoding == Decoding::incomplete) return;
    if (decoding == Decoding::malformed) {
      if (guest.role == Role::stranger) return drop_stranger(guest, flaw);
      return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(guest) + " sent " + flaw));
    }
    guest.in.erase(0, used);
    take_request(guest, std::move(request));
  }
}

void Meeting::take_request(Guest& guest, MeetingRequest request) {
  if (guest.role == Role::stranger && !admit(guest, request)) return;
  if (request.version != kMeetingVersion || request.rank != guest.rank || request.round != round_ || guest.gave)
    return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(guest) + " is in round " +
                                           std::to_string(request.round) + ", the others in round " + std::to_string(round_)));
  last_activity_ = now_ns();
  if (deadline_ == 0) deadline_ = last_activity_ + options_.timeout_ns;
  guest.gave = true;
  given_[guest.rank] = true;
  blobs_[guest.rank] = std::move(request.blob);
  ++given_count_;
  if (lost_) return fail(Status(Code::peer_lost, *lost_ + " left during the birth: it died or gave up; its own message says why"));
  if (given_count_ == size_) complete_round();
}

// Why a rank may not take part, though the meeting goes on without it.
Status Meeting::objection(const MeetingRequest& request) const {
  const std::string meeting = "the meeting at " + options_.shown;
  const std::string rank = "rank " + std::to_string(request.rank);
  if (request.version != kMeetingVersion)
    return Status(Code::mismatch, meeting + " speaks version " + std::to_string(kMeetingVersion) +
                                      " of Tutti's rendezvous, this rank version " + std::to_string(request.version) +
                                      ": all ranks must use the same Tutti");
  if (size_ != 0 && request.name != options_.name)
    return Status(Code::mismatch, meeting + " is of " + in_quotes(options_.name) + ", but " + rank + " came for " +
                                      in_quotes(request.name) + ": another job may be using this address");
  if (size_ != 0 && request.size != size_)
    return Status(Code::mismatch, meeting + " is of " + std::to_string(size_) + " ranks, but " + rank + " says that there are " +
                                      std::to_string(request.size));
  return {};
}

bool Meeting::admit(Guest& guest, const MeetingRequest& request) {
  if (request.version == kMeetingVersion && request.secret != options_.secret) {
    drop_stranger(guest, "it does not know this meeting's secret");
    return false;
  }
  guest.rank = request.rank;
  const Status refusal = objection(request);
  if (!refusal.ok() || !failure_.ok()) {
    if (!refusal.ok()) turned_away_ = "from " + guest.from.to_string() + ", because " + refusal.message();
    turn_away(guest, refusal.ok() ? failure_ : refusal);
    return false;
  }
  if (size_ == 0) {  // a unique id does not know for whom it was made
    size_ = request.size;
    options_.name = request.name;
  }
  came_.resize(size_);
  given_.resize(size_);
  blobs_.resize(size_);
  if (came_[guest.rank]) {
    const Status twice(Code::mismatch, "rendezvous at " + options_.shown + ": rank " + std::to_string(guest.rank) +
                                           " joined twice: two jobs at the same address?");
    turn_away(guest, twice);
    fail(twice);
    return false;
  }
  guest.role = Role::member;
  came_[guest.rank] = true;
  ++members_;
  return true;
}

void Meeting::complete_round() {
  if (round_ == 0) {
    listener_.reset();  // before anyone is told: see rendezvous.h
    std::optional<SocketAddress> reached;
    for (Guest& guest : guests_) {
      if (guest.role == Role::stranger) guest.gone = true;
      const auto here = local_address_of(guest.fd.get());
      if (guest.role == Role::member && here.ok() && (!reached || reached->is_loopback())) reached = *here;
    }
    if (shared_) {
      const std::lock_guard lock(shared_->mutex);
      shared_->reached_at = reached;
    }
    if (options_.all_met) options_.all_met();
  }
  MeetingReply reply;
  reply.round = round_++;
  reply.blobs = std::move(blobs_);
  blobs_.assign(size_, {});
  given_.assign(size_, false);
  given_count_ = 0;
  deadline_ = 0;
  const auto bytes = std::make_shared<const std::string>(encode(reply));
  for (Guest& guest : guests_) {
    if (guest.role != Role::member) continue;
    guest.gave = false;
    answer(guest, bytes);
  }
}

void Meeting::closed_by(Guest& guest) {
  guest.gone = true;
  if (guest.role == Role::stranger && !guest.in.empty()) return drop_stranger(guest, "it left in the middle of its first message");
  if (guest.role != Role::member) return;
  guest.role = Role::leaving;
  guest.out.clear();
  --members_;
  if (!lost_) lost_ = who(guest);
  if (given_count_ > 0)
    fail(Status(Code::peer_lost, *lost_ + " left during the birth: it died or gave up; its own message says why"));
}

void Meeting::answer(Guest& guest, std::shared_ptr<const std::string> bytes) {
  guest.out.push_back(std::move(bytes));
  flush(guest);
}

void Meeting::answer(Guest& guest, const Status& status) {
  MeetingReply reply;
  reply.round = round_;
  reply.status = status;
  answer(guest, std::make_shared<const std::string>(encode(reply)));
}

void Meeting::flush(Guest& guest) {
  while (!guest.gone && !guest.out.empty()) {
    const std::string& bytes = *guest.out.front();
    const ssize_t n = ::send(guest.fd.get(), bytes.data() + guest.sent, bytes.size() - guest.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n < 0) {  // the end of the connection is read, and dealt with, by receive()
      guest.out.clear();
      guest.sent = 0;
      return;
    }
    guest.sent += static_cast<size_t>(n);
    if (guest.sent < bytes.size()) continue;
    guest.out.pop_front();
    guest.sent = 0;
  }
  // Not closed yet: closing with bytes of the guest unread would reset the connection and might destroy the answer.
  if (guest.role == Role::leaving && guest.out.empty() && !guest.gone) ::shutdown(guest.fd.get(), SHUT_WR);
}

void Meeting::turn_away(Guest& guest, const Status& why) {
  if (guest.role == Role::member) --members_;
  guest.role = Role::leaving;
  guest.since = now_ns();
  guest.in.clear();
  answer(guest, why);
}

void Meeting::drop_stranger(Guest& guest, const std::string& why) {
  guest.gone = true;
  if (++dropped_strangers_ > kStrangerWarnings) return;
  options_.log.warn("rendezvous at " + options_.shown + ": dropped a stranger from " + guest.from.to_string() + ": " + why +
                    (dropped_strangers_ == kStrangerWarnings ? "; further ones are not logged" : ""));
}

void Meeting::fail(const Status& status) {
  if (!failure_.ok()) return;
  failure_ = status;
  for (Guest& guest : guests_)
    if (guest.role == Role::member && !guest.gone) turn_away(guest, status);
}

}  // namespace tutti

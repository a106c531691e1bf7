// A rendezvous's connections: who is let in, how long strangers may stay, bytes in and out.
#include <algorithm>
#include <cerrno>

#include "clock.h"
#include "rendezvous_rounds.h"
#include "resource_limits.h"

namespace tutti {
namespace {

constexpr size_t kAcceptedAtOnce = 256;                // then those who are there are heard
constexpr uint64_t kAcceptPause = 100 * kMillisecond;  // after the system refused
constexpr uint64_t kShortagePause = 10 * kMillisecond;
constexpr uint64_t kYoung = 250 * kMillisecond;  // a stranger who may be about to say that it belongs here
constexpr size_t kUnknownSize = 256;             // ranks that may come to a rendezvous that does not know its size
constexpr uint64_t kOtherDescriptors = 24;       // of a communicator: control tree, shared memory, data connections
constexpr size_t kStrangerWarnings = 16;         // a port scan must not fill the log
constexpr int kReadsAtOnce = 4;                  // one guest does not keep the others waiting

}  // namespace

uint64_t descriptors_for(int size) { return static_cast<uint64_t>(size) + kOtherDescriptors; }

size_t Rendezvous::strangers() const {
  return static_cast<size_t>(std::count_if(guests_.begin(), guests_.end(), [](const Guest& g) { return !g.proven && !g.gone; }));
}

// Each rank that is expected may be one of them, and all may come at the same time.
size_t Rendezvous::most_strangers() const { return options_.most_strangers + (size_ == 0 ? kUnknownSize : size_ - came_count_); }

// Lets the oldest stranger go, once it has been heard; false: there is none.
bool Rendezvous::make_room() {
  for (Guest& guest : guests_) {
    if (guest.proven || guest.gone) continue;
    receive(guest);
    if (guest.proven) continue;
    if (!guest.gone && guest.role == Role::stranger) drop_stranger(guest, "too many connections that do not say who they are");
    guest.gone = true;
    guest.fd.reset();
    return true;
  }
  return false;
}

// After a shortage.  Strangers must not be its cause; if ranks are, the bootstrap cannot succeed, and all who come are told.
bool Rendezvous::find_descriptor(uint64_t now) {
  const auto is_stranger = [](const Guest& guest) { return !guest.proven && !guest.gone; };
  const auto oldest = std::find_if(guests_.begin(), guests_.end(), is_stranger);
  if (oldest != guests_.end() && now >= oldest->since + kYoung) return make_room();
  if (oldest == guests_.end()) {
    fail(out_of_descriptors("rendezvous at " + options_.shown + ": " + keeper_ + " cannot accept a rank's connection",
                            descriptors_for(static_cast<int>(size_))));
    if (reserve_) return reserve_.reset(), true;
  }
  accept_again_ = now + kShortagePause;
  return false;
}

void Rendezvous::accept_guests(size_t listener, uint64_t now) {
  for (size_t i = 0; i < kAcceptedAtOnce && listener < listeners_.size(); ++i) {  // hearing somebody may close the doors
    auto fd = accept_from(listeners_[listener].get());
    const int error = errno;
    if (!fd.ok() && is_descriptor_shortage(error)) {
      guests_.remove_if([](const Guest& guest) { return guest.gone; });
      if (!find_descriptor(now)) return;
    } else if (!fd.ok()) {  // the waiting connection stays, so do not ask again at once
      if (!std::exchange(told_refusal_, true)) options_.log.warn("rendezvous at " + options_.shown + ": " + fd.status().message());
      accept_again_ = now + kAcceptPause;
      return;
    } else if (!*fd) {
      return;
    } else {
      add_guest(std::move(*fd), now);
    }
  }
}

void Rendezvous::add_guest(OwnedFd fd, uint64_t now) {
  while (strangers() >= std::max<size_t>(most_strangers(), 1)) make_room();
  if (listeners_.empty()) return;  // hearing somebody has closed the doors
  const auto from = peer_address_of(fd.get());
  const Status no_delay = set_no_delay(fd.get());  // only speed is lost
  if (!no_delay.ok()) options_.log.info(no_delay.message());
  keep_alive(fd.get());
  Guest guest;
  guest.fd = std::move(fd);
  if (from.ok()) guest.from = *from;
  guest.since = now;
  guests_.push_back(std::move(guest));
  answer(guests_.back(), std::make_shared<const std::string>(encode(RendezvousGreeting())));
}

void Rendezvous::receive(Guest& guest) {
  char chunk[16384];
  for (int i = 0; i < kReadsAtOnce && !guest.gone; ++i) {
    const ssize_t n = ::recv(guest.fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n <= 0) return closed_by(guest);
    if (guest.role == Role::leaving) continue;
    guest.in.append(chunk, static_cast<size_t>(n));
    take_requests(guest);
  }
}

void Rendezvous::take_requests(Guest& guest) {
  while (!guest.gone && guest.role != Role::leaving && !guest.in.empty()) {
    RendezvousRequest request;
    size_t used = 0;
    std::string flaw;
    Decoding decoding = decode(guest.in, request, used, flaw);
    if (decoding == Decoding::incomplete && guest.role == Role::stranger && guest.in.size() >= kLongestFirstRequest) {
      decoding = Decoding::malformed;
      flaw = "its first message is too long";
    }
    if (decoding == Decoding::incomplete) return;
    if (decoding == Decoding::malformed) {
      if (guest.role == Role::stranger) return drop_stranger(guest, flaw);
      return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(guest) + " sent " + flaw));
    }
    guest.in.erase(0, used);
    take_request(guest, std::move(request));
  }
}

void Rendezvous::closed_by(Guest& guest) {
  guest.gone = true;
  if (guest.role == Role::stranger && !guest.in.empty()) return drop_stranger(guest, "it left in the middle of its first message");
  if (guest.role != Role::member) return;
  guest.role = Role::leaving;
  guest.out.clear();
  --members_;
  fail_by(guest, "left during the bootstrap: it died or gave up; its own message says why");
}

void Rendezvous::answer(Guest& guest, std::shared_ptr<const std::string> bytes) {
  guest.out.push_back(std::move(bytes));
  flush(guest);
}

void Rendezvous::answer(Guest& guest, const RendezvousReply& reply) { answer(guest, std::make_shared<const std::string>(encode(reply))); }

void Rendezvous::flush(Guest& guest) {
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

void Rendezvous::turn_away(Guest& guest, const Status& why, bool look_again) {
  if (guest.role == Role::member) --members_;
  guest.role = Role::leaving;
  guest.since = now_ns();
  guest.in.clear();
  RendezvousReply reply;
  reply.kind = ReplyKind::failure;
  reply.round = round_;
  reply.status = why;
  reply.look_again = look_again;
  answer(guest, reply);
}

void Rendezvous::drop_stranger(Guest& guest, const std::string& why) {
  guest.gone = true;
  if (++dropped_strangers_ > kStrangerWarnings) return;
  options_.log.warn("rendezvous at " + options_.shown + ": dropped a stranger from " + guest.from.to_string() + ": " + why +
                    (dropped_strangers_ == kStrangerWarnings ? "; further ones are not logged" : ""));
}

}  // namespace tutti

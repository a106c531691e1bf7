// A rendezvous's connections: bytes in and out, and the shortage of descriptors.
#include <algorithm>
#include <cerrno>

#include "clock.h"
#include "rendezvous_rounds.h"
#include "resource_limits.h"

namespace tutti {
namespace {

constexpr size_t kUnknownSize = 256;        // ranks that may come to a rendezvous that does not know its size
constexpr uint64_t kOtherDescriptors = 24;  // of a communicator: control tree, shared memory, data connections
constexpr int kReadsAtOnce = 4;             // one guest does not keep the others waiting

}  // namespace

uint64_t descriptors_for(int size) { return static_cast<uint64_t>(size) + kOtherDescriptors; }

// Each rank that is expected may be one of them, and all may come at the same time.
size_t Rendezvous::most_pending() const {
  return std::max<size_t>(options_.most_pending + (size_ == 0 ? kUnknownSize : size_ - came_count_), 1);
}

void Rendezvous::serve_listener(std::span<const pollfd> ready) {
  listener_.set_most_pending(most_pending());
  const Status served = listener_.serve(*this, ready);
  if (!served.ok() && !std::exchange(told_refusal_, true)) options_.log.warn("rendezvous at " + options_.shown + ": " + served.message());
}

Verdict Rendezvous::judge(PendingConnection& connection) {
  RendezvousRequest request;
  size_t used = 0;
  std::string flaw;
  switch (decode(connection.said, request, used, flaw)) {
    case Decoding::incomplete: return {};
    case Decoding::malformed: return Verdict::refused(flaw);
    case Decoding::complete: break;
  }
  return admit(connection, std::move(request), used);
}

// Ranks are the cause, so the bootstrap cannot succeed, and all who come are told.
void Rendezvous::starved(int error) {
  if (!is_descriptor_shortage(error)) return;
  fail(out_of_descriptors("rendezvous at " + options_.shown + ": " + keeper_ + " cannot accept a rank's connection",
                          descriptors_for(static_cast<int>(size_))));
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
  while (!guest.gone && guest.role == Role::member && !guest.in.empty()) {
    RendezvousRequest request;
    size_t used = 0;
    std::string flaw;
    const Decoding decoding = decode(guest.in, request, used, flaw);
    if (decoding == Decoding::incomplete) return;
    if (decoding == Decoding::malformed)
      return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(guest) + " sent " + flaw));
    guest.in.erase(0, used);
    take_request(guest, std::move(request));
  }
}

void Rendezvous::closed_by(Guest& guest) {
  guest.gone = true;
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

void Rendezvous::turn_away(Guest& guest, const Status& why) {
  --members_;
  guest.role = Role::leaving;
  guest.since = now_ns();
  guest.in.clear();
  answer(guest, failure_reply(why, round_));
}

}  // namespace tutti

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
constexpr int kReadsAtOnce = 4;             // one member does not keep the others waiting

}  // namespace

uint64_t descriptors_for(int size) { return static_cast<uint64_t>(size) + kOtherDescriptors; }

// Each rank that is expected may be pending, and all may come at the same time.
size_t Rendezvous::most_pending() const {
  return std::max<size_t>(options_.most_pending + (size_ == 0 ? kUnknownSize : size_ - came_count_), 1);
}

void Rendezvous::serve_listener(std::span<const pollfd> ready) {
  listener_.set_most_pending(most_pending());
  const Status served = listener_.serve(*this, ready);
  if (served.ok() || std::exchange(logged_refusal_, true)) return;
  options_.log.warn("rendezvous at " + options_.shown + ": " + served.message());
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

// Ranks are the cause, so the bootstrap cannot succeed, and all that come learn why.
void Rendezvous::starved(int error) {
  if (!is_descriptor_shortage(error)) return;
  fail(out_of_descriptors("rendezvous at " + options_.shown + ": " + keeper_ + " cannot accept a rank's connection",
                          descriptors_for(static_cast<int>(size_))));
}

void Rendezvous::receive(Member& member) {
  char chunk[16384];
  for (int i = 0; i < kReadsAtOnce && !member.gone; ++i) {
    const ssize_t n = ::recv(member.fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n <= 0) return closed_by(member);
    if (member.leaving) continue;
    member.in.append(chunk, static_cast<size_t>(n));
    take_requests(member);
  }
}

void Rendezvous::take_requests(Member& member) {
  while (!member.gone && !member.leaving && !member.in.empty()) {
    RendezvousRequest request;
    size_t used = 0;
    std::string flaw;
    const Decoding decoding = decode(member.in, request, used, flaw);
    if (decoding == Decoding::incomplete) return;
    if (decoding == Decoding::malformed)
      return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(member) + " sent " + flaw));
    member.in.erase(0, used);
    take_request(member, std::move(request));
  }
}

void Rendezvous::closed_by(Member& member) {
  member.gone = true;
  if (member.leaving) return;
  member.leaving = true;
  member.out.clear();
  --staying_;
  fail_by(member, "left during the bootstrap: it died or gave up; its own message says why");
}

void Rendezvous::answer(Member& member, std::shared_ptr<const std::string> bytes) {
  member.out.push_back(std::move(bytes));
  flush(member);
}

void Rendezvous::answer(Member& member, const RendezvousReply& reply) {
  answer(member, std::make_shared<const std::string>(encode(reply)));
}

void Rendezvous::flush(Member& member) {
  while (!member.gone && !member.out.empty()) {
    const std::string& bytes = *member.out.front();
    const ssize_t n = ::send(member.fd.get(), bytes.data() + member.sent, bytes.size() - member.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n < 0) {  // the end of the connection is read, and dealt with, by receive()
      member.out.clear();
      member.sent = 0;
      return;
    }
    member.sent += static_cast<size_t>(n);
    if (member.sent < bytes.size()) continue;
    member.out.pop_front();
    member.sent = 0;
  }
  // Not closed yet: closing with unread input would reset the connection and might destroy the answer.
  if (member.leaving && member.out.empty() && !member.gone) ::shutdown(member.fd.get(), SHUT_WR);
}

void Rendezvous::turn_away(Member& member, const Status& why) {
  --staying_;
  member.leaving = true;
  member.since = now_ns();
  member.in.clear();
  answer(member, failure_reply(why, round_));
}

}  // namespace tutti

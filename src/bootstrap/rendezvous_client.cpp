// A rank's side of a rendezvous: look for it, connect, give and get.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "clock.h"
#include "rendezvous.h"
#include "resource_limits.h"

namespace tutti {
namespace {

constexpr uint64_t kFirstPause = kMillisecond;  // rank 0 of a job just started is about to be there
constexpr uint64_t kLongestPause = 250 * kMillisecond;
constexpr uint64_t kFirstNotice = 3 * kSecond;  // of waiting, in the log
constexpr uint64_t kNextNotices = 30 * kSecond;
// To connect, and for the greeting: a silent listener must not hide the next.
constexpr uint64_t kAddressPatience = 2 * kSecond;
constexpr uint64_t kServersVerdict = kSecond;       // after the deadline, when the server, which knows more, gives it
constexpr uint64_t kCalledOffPause = 50 * kMillisecond;  // between questions whether it is still worth waiting
constexpr uint64_t kVerdict = kSecond;  // for the server to name the first cause

Status unreachable(std::string text) { return Status(Code::unreachable, std::move(text)); }

// A connection, or the errno that says why there is none (0: it is in `status`).
struct Attempted {
  OwnedFd fd;
  int error = 0;
  Status status;
};

Attempted connect_to(const SocketAddress& address, uint64_t until) {
  Attempted result;
  auto fd = start_connect(address);
  if (!fd.ok()) {
    result.error = errno;
    result.status = fd.status();
  } else if (!wait_for(fd->get(), POLLOUT, until)) {
    result.status = unreachable("no answer from " + address.to_string());
  } else {
    result.status = connect_result(fd->get(), address, result.error);
    if (result.status.ok()) result.fd = std::move(*fd);
  }
  return result;
}

Status send_all(int fd, std::string_view bytes, uint64_t deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(fd, POLLOUT, deadline)) return unreachable("it takes no message");
    } else if (errno != EINTR) {
      return unreachable(std::strerror(errno));
    }
  }
  return {};
}

}  // namespace

// The findings of one look for the rendezvous.
struct RendezvousClient::Search {
  Status why = unreachable("rank 0 has not said where it is");
  bool all_refused = false;  // nobody listens at any of the addresses
  Status elsewhere;          // a rendezvous of others, which may end
};

RendezvousClient::RendezvousClient(Options options) : options_(std::move(options)) {
  if (options_.deadline == 0) options_.deadline = now_ns() + options_.timeout_ns;
}

Result<std::unique_ptr<RendezvousClient>> RendezvousClient::join(Options options, const Locate& locate) {
  const uint64_t begin = now_ns();
  std::unique_ptr<RendezvousClient> client(new RendezvousClient(std::move(options)));
  const Options& wanted = client->options_;
  uint64_t pause = kFirstPause, next_notice = begin + kFirstNotice;
  Search search;
  for (;;) {
    const auto located = locate();
    if (!located.ok()) return located.status();
    if (!located->not_yet.ok()) search.why = located->not_yet;
    if (located->point) {
      const Answer answer = client->attempt(*located->point, search);
      if (answer == Answer::blobs) return client;
      if (answer == Answer::refusal) return search.why;
    }
    if (Status off = wanted.called_off ? wanted.called_off() : Status(); !off.ok()) return off;
    const uint64_t now = now_ns();
    const std::string waited = std::to_string((now - begin) / kSecond) + " s";
    if (now + pause >= wanted.deadline && !search.elsewhere.ok()) return search.elsewhere;
    if (now + pause >= wanted.deadline)
      return unreachable("no " + wanted.waiting_for + " within " + std::to_string(wanted.timeout_ns / kMillisecond) +
                         " ms (TUTTI_BOOTSTRAP_TIMEOUT): " + search.why.message() + "; is rank 0 running, and the address right?");
    if (now >= next_notice) {
      wanted.log.warn("waiting for " + wanted.waiting_for + ": " + search.why.message() + ", " + waited);
      next_notice = now + kNextNotices;
    }
    pause_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

// Tries each address in turn.  An answer at one of them says more than a refusal at another.
RendezvousClient::Answer RendezvousClient::attempt(const RendezvousPoint& point, Search& search) {
  Status why = unreachable("no address");
  size_t refused = 0;
  bool answered = false;
  for (const SocketAddress& address : point.addresses) {
    if (now_ns() >= options_.deadline) break;
    Attempted attempted = connect_to(address, std::min(options_.deadline, now_ns() + kAddressPatience));
    if (is_descriptor_shortage(attempted.error)) {
      search.why = out_of_descriptors("connecting to the " + options_.waiting_for, descriptors_for(options_.size));
      return Answer::refusal;
    }
    Status here = attempted.status;
    Answer answer = Answer::none;
    if (attempted.fd) {
      fd_ = std::move(attempted.fd);
      answer = attempt(address, point.secret, here);
      if (answer == Answer::elsewhere && options_.only_rendezvous) answer = Answer::refusal;
      if (answer == Answer::blobs) return answer;
      fd_.reset();
      if (answer == Answer::refusal) return search.why = here, answer;
    }
    refused += attempted.error == ECONNREFUSED;
    const bool speaks = attempted.error == 0;
    if (speaks || !answered) why = here;
    answered |= speaks;
    if (answer == Answer::elsewhere && std::exchange(search.elsewhere, here).ok())
      options_.log.warn(here.message() + "; this rank looks for its own rendezvous until TUTTI_BOOTSTRAP_TIMEOUT");
  }
  search.why = why;
  if (!options_.only_rendezvous || point.addresses.empty() || refused < point.addresses.size()) return Answer::none;
  search.why = unreachable(options_.refused_hint + ": " + why.message());
  return Answer::refusal;
}

RendezvousClient::Answer RendezvousClient::attempt(const SocketAddress& address, const Secret& secret, Status& why) {
  in_.clear();
  keeper_.clear();
  secret_ = secret;
  if (const auto here = local_address_of(fd_.get()); here.ok()) local_end_ = *here;
  keep_alive(fd_.get());
  // Only speed is lost.
  if (const Status no_delay = set_no_delay(fd_.get()); !no_delay.ok()) options_.log.info(no_delay.message());
  why = greet(address, std::min(options_.deadline, now_ns() + kAddressPatience));
  if (!why.ok()) return Answer::none;
  std::vector<std::string> blobs;
  const Answer answer = round(this_process(), blobs, why);
  const bool admitted = !keeper_.empty();
  if (answer == Answer::none && admitted && now_ns() < options_.deadline) return why = server_lost(), Answer::refusal;
  if (answer == Answer::blobs && !blobs.empty())
    if (const auto reached = SocketAddress::parse(blobs[0]); reached.ok()) reached_at_ = *reached;
  return answer;
}

// A rendezvous greets each connection at once.
Status RendezvousClient::greet(const SocketAddress& address, uint64_t until) {
  for (;;) {
    RendezvousGreeting greeting;
    size_t used = 0;
    std::string flaw;
    const Decoding decoding = decode(in_, greeting, used, flaw);
    if (decoding == Decoding::malformed) return unreachable(address.to_string() + ": " + flaw);
    if (decoding == Decoding::complete) {
      in_.erase(0, used);
      return {};
    }
    Status why;
    if (!receive(why)) return unreachable(address.to_string() + ": " + why.message());
    if (!in_.empty()) continue;
    if (!wait_for(fd_.get(), POLLIN, until))
      return unreachable(address.to_string() +
                         " accepts connections but says nothing: what listens there is not a rendezvous of Tutti");
  }
}

RendezvousRequest RendezvousClient::request(RequestKind kind) const {
  const uint64_t now = now_ns();
  RendezvousRequest request;
  request.kind = kind;
  request.secret = secret_;
  request.rank = static_cast<uint32_t>(options_.rank);
  request.size = static_cast<uint32_t>(options_.size);
  request.round = round_;
  request.name = options_.name;
  const uint64_t left = now < options_.deadline ? (options_.deadline - now) / kMillisecond : 0;
  request.patience_ms = static_cast<uint32_t>(std::min<uint64_t>(left, UINT32_MAX));
  return request;
}

RendezvousClient::Answer RendezvousClient::round(const std::string& blob, std::vector<std::string>& blobs, Status& why) {
  const uint64_t until = options_.deadline + kServersVerdict;
  RendezvousRequest give = request(RequestKind::give);
  give.blob = blob;
  // After a failure there may still be a sentence to read.
  const Status sent = send_all(fd_.get(), encode(give), until);
  RendezvousReply reply;
  const Answer answer = await_reply(until, reply, why);
  if (answer == Answer::none && !sent.ok()) why = sent;
  if (answer != Answer::blobs) return answer;
  blobs = std::move(reply.blobs);
  ++round_;
  return answer;
}

RendezvousClient::Answer RendezvousClient::await_reply(uint64_t until, RendezvousReply& reply, Status& why) {
  for (;;) {
    if (const auto answer = next_reply(reply, why)) return *answer;
    const size_t before = in_.size();
    if (!receive(why)) return Answer::none;
    if (in_.size() != before) continue;
    if (const Answer input = await_input(until, why); input != Answer::blobs) return input;
  }
}

// `blobs`: there is something to read.
RendezvousClient::Answer RendezvousClient::await_input(uint64_t until, Status& why) const {
  const bool asks = round_ == 0 && options_.called_off;
  while (!wait_for(fd_.get(), POLLIN, asks ? std::min(until, now_ns() + kCalledOffPause) : until)) {
    if (Status off = asks ? options_.called_off() : Status(); !off.ok()) {
      why = off;
      return Answer::refusal;
    }
    if (now_ns() < until) continue;
    why = unreachable("no answer from " + options_.waiting_for);
    return Answer::none;
  }
  return Answer::blobs;
}

// The next whole reply; nullopt: there is none yet.
std::optional<RendezvousClient::Answer> RendezvousClient::next_reply(RendezvousReply& reply, Status& why) {
  for (;;) {
    size_t used = 0;
    std::string flaw;
    const Decoding decoding = decode(in_, static_cast<uint32_t>(options_.size), reply, used, flaw);
    if (decoding == Decoding::incomplete) return std::nullopt;
    if (decoding == Decoding::complete && reply.kind == ReplyKind::blobs && reply.round != round_)
      flaw = "an answer of another round";
    if (!flaw.empty()) {
      why = unreachable(options_.waiting_for + ": " + flaw);
      return Answer::refusal;
    }
    in_.erase(0, used);
    switch (reply.kind) {
      case ReplyKind::blobs: why = {}; return Answer::blobs;
      case ReplyKind::failure: why = reply.status; return reply.look_again ? Answer::elsewhere : Answer::refusal;
      case ReplyKind::ended:
        ended_ = true;
        why = unreachable(keeper_ + " has all it needs and has left the bootstrap");
        return Answer::none;
      case ReplyKind::admitted: keeper_ = reply.text;
    }
  }
}

// Appends what is there; false: the other end has closed.
bool RendezvousClient::receive(Status& why) {
  char chunk[16384];
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0) return in_.append(chunk, static_cast<size_t>(n)), true;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    why = unreachable("it closed the connection without an answer");
    return false;
  }
}

Status RendezvousClient::server_lost() const {
  const std::string keeper = keeper_.empty() ? "rank 0" : keeper_;
  return Status(Code::peer_lost, keeper + " left during the bootstrap: it died or gave up; its own message says why");
}

Result<std::vector<std::string>> RendezvousClient::exchange(const std::string& mine) {
  if (mine.size() > kLongestBlob)
    return Status(Code::invalid_argument, "a blob of " + std::to_string(mine.size()) + " bytes is longer than an exchange carries");
  if (!failure_.ok()) return failure_;
  std::vector<std::string> blobs;
  Status why = unreachable(keeper_ + " has left the bootstrap");
  const Answer answer = fd_ ? round(mine, blobs, why) : Answer::refusal;
  if (answer == Answer::blobs) return blobs;
  const bool lost = answer == Answer::none && !ended_ && now_ns() < options_.deadline;
  return failure_ = lost ? server_lost() : why;
}

Status RendezvousClient::heard() {
  while (fd_ && failure_.ok()) {
    RendezvousReply reply;
    Status why;
    const auto answer = next_reply(reply, why);
    if (answer == Answer::none) {  // the process that ran the rendezvous is done, and there will be no more news
      fd_.reset();
    } else if (answer) {
      failure_ = *answer == Answer::blobs ? Status(Code::internal, options_.waiting_for + ": an answer to no question") : why;
    } else {
      const size_t before = in_.size();
      if (!receive(why))
        failure_ = server_lost();
      else if (in_.size() == before)
        break;
    }
  }
  return failure_;
}

// The others learn of it by the rendezvous, which knows whether another cause came first.  Where the rendezvous is
// gone, its process is the first cause of all that this rank may have seen in others.
Status RendezvousClient::fail(const Status& why) {
  if (!heard().ok()) return failure_;
  failure_ = why;
  if (!fd_) return failure_;
  const uint64_t until = now_ns() + kVerdict;
  RendezvousRequest failed = request(RequestKind::failed);
  failed.code = why.code();
  failed.blob = why.message().substr(0, kLongestSentence);
  (void)send_all(fd_.get(), encode(failed), until);
  RendezvousReply reply;
  Status verdict;
  const Answer answer = await_reply(until, reply, verdict);
  if (answer == Answer::refusal || answer == Answer::elsewhere) failure_ = verdict;
  const bool blames = why.code() == Code::peer_lost || why.code() == Code::unreachable || why.code() == Code::timeout;
  if (answer == Answer::none && !ended_ && blames && now_ns() < until) failure_ = server_lost();
  return failure_;
}

void RendezvousClient::leave() {
  if (fd_ && heard().ok() && fd_) (void)send_all(fd_.get(), encode(request(RequestKind::done)), now_ns() + kVerdict);
  if (failure_.ok()) failure_ = Status(Code::internal, "this rank has left the " + options_.waiting_for);
  fd_.reset();
}

}  // namespace tutti

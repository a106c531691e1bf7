// A rank's side of a meeting: look for it, connect, give and get.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "clock.h"
#include "rendezvous.h"

namespace tutti {
namespace {

constexpr uint64_t kFirstPause = kMillisecond;  // rank 0 of a job just started is about to be there
constexpr uint64_t kLongestPause = 250 * kMillisecond;
constexpr uint64_t kFirstNotice = 3 * kSecond;  // of waiting, in the log
constexpr uint64_t kNextNotices = 30 * kSecond;
constexpr uint64_t kConnectPatience = 5 * kSecond;  // per address: one that swallows packets must not hide the others
constexpr uint64_t kGrace = 5 * kSecond;            // the server's verdict comes at its deadline, which began a little later

Status unreachable(std::string text) { return Status(Code::unreachable, std::move(text)); }

// False: the deadline came first.
bool wait_for(int fd, short events, uint64_t deadline) {
  for (;;) {
    const uint64_t now = now_ns();
    const uint64_t left = now >= deadline ? 0 : deadline - now;
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<uint64_t>(left / kMillisecond + (left != 0), 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (left == 0) return false;
  }
}

Result<OwnedFd> connect_to(const SocketAddress& address, uint64_t deadline) {
  auto fd = start_connect(address);
  if (!fd.ok()) return fd;
  if (!wait_for(fd->get(), POLLOUT, std::min(deadline, now_ns() + kConnectPatience)))
    return unreachable("no answer from " + address.to_string());
  const Status connected = connect_result(fd->get(), address);
  if (!connected.ok()) return connected;
  return fd;
}

// A server whose host vanishes is noticed within half a minute; a refusal to set this costs only that.
void watch_peer(int fd) {
  const int on = 1, idle = 10, interval = 5, count = 4;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void pause_for(uint64_t ns) {
  timespec time{static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
  ::nanosleep(&time, nullptr);
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

Result<std::unique_ptr<MeetingClient>> MeetingClient::join(Options options, const Locate& locate) {
  std::unique_ptr<MeetingClient> client(new MeetingClient(std::move(options)));
  const Options& wanted = client->options_;
  const uint64_t begin = now_ns(), deadline = begin + wanted.timeout_ns;
  uint64_t pause = kFirstPause, next_notice = begin + kFirstNotice;
  Status why = unreachable("rank 0 has not said where it is");
  for (;;) {
    const auto point = locate();
    if (!point.ok()) return point.status();
    if (*point) {
      const Answer answer = client->attempt(**point, deadline, why);
      if (answer == Answer::blobs) return client;
      if (answer == Answer::refusal) return why;
    }
    const uint64_t now = now_ns();
    const std::string waited = std::to_string((now - begin) / kSecond) + " s";
    if (now + pause >= deadline)
      return unreachable("no " + wanted.waiting_for + " within " + std::to_string(wanted.timeout_ns / kMillisecond) +
                         " ms (TUTTI_BIRTH_TIMEOUT): " + why.message() + "; is rank 0 running, and the address right?");
    if (now >= next_notice) {
      wanted.log.warn("waiting for " + wanted.waiting_for + ": " + why.message() + ", " + waited);
      next_notice = now + kNextNotices;
    }
    pause_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

MeetingClient::Answer MeetingClient::attempt(const MeetingPoint& point, uint64_t deadline, Status& why) {
  why = unreachable("no address");
  for (const SocketAddress& address : point.addresses) {
    auto fd = connect_to(address, deadline);
    if (!fd.ok()) {
      why = fd.status();
      continue;
    }
    const auto here = local_address_of(fd->get());
    if (here.ok()) local_end_ = *here;
    watch_peer(fd->get());
    const Status no_delay = set_no_delay(fd->get());  // only speed is lost
    if (!no_delay.ok()) options_.log.info(no_delay.message());
    fd_ = std::move(*fd);
    secret_ = point.secret;
    in_.clear();
    std::vector<std::string> blobs;
    const Answer answer = round("", blobs, why);
    if (answer != Answer::none) return answer;
    fd_.reset();  // the end of an older meeting, or a stranger's server: there may be ours later
  }
  return Answer::none;
}

// Waits for a little longer than the server does, so that its sentence, which knows more, arrives first.
MeetingClient::Answer MeetingClient::round(const std::string& blob, std::vector<std::string>& blobs, Status& why) {
  const uint64_t deadline = now_ns() + options_.timeout_ns + kGrace;
  MeetingRequest request;
  request.secret = secret_;
  request.rank = static_cast<uint32_t>(options_.rank);
  request.size = static_cast<uint32_t>(options_.size);
  request.round = round_;
  request.name = options_.name;
  request.blob = blob;
  const Status sent = send_all(fd_.get(), encode(request), deadline);  // after a failure there may still be a sentence to read
  for (;;) {
    MeetingReply reply;
    size_t used = 0;
    std::string flaw;
    const Decoding decoding = decode(in_, request.size, reply, used, flaw);
    if (decoding == Decoding::malformed || (decoding == Decoding::complete && reply.status.ok() && reply.round != round_)) {
      why = unreachable(options_.waiting_for + ": " + (flaw.empty() ? "an answer of another round" : flaw));
      return Answer::refusal;
    }
    if (decoding == Decoding::complete) {
      in_.erase(0, used);
      why = reply.status;
      if (!reply.status.ok()) return Answer::refusal;
      blobs = std::move(reply.blobs);
      ++round_;
      return Answer::blobs;
    }
    char chunk[16384];
    const ssize_t n = ::recv(fd_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0) {
      in_.append(chunk, static_cast<size_t>(n));
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      why = unreachable("no answer from " + options_.waiting_for);
      if (!wait_for(fd_.get(), POLLIN, deadline)) return Answer::none;
    } else if (n == 0 || errno != EINTR) {
      why = !sent.ok() ? sent : unreachable("it closed the connection without an answer");
      return Answer::none;
    }
  }
}

Result<std::vector<std::string>> MeetingClient::exchange(const std::string& mine) {
  if (mine.size() > kLongestBlob)
    return Status(Code::invalid_argument, "a blob of " + std::to_string(mine.size()) + " bytes is longer than an exchange carries");
  if (!failure_.ok()) return failure_;
  std::vector<std::string> blobs;
  const Answer answer = round(mine, blobs, failure_);
  if (answer == Answer::blobs) return blobs;
  if (answer == Answer::none) failure_ = unreachable(options_.waiting_for + ": " + failure_.message() + "; rank 0 died or gave up");
  return failure_;
}

}  // namespace tutti

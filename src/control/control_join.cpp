// How a control tree is set up: every rank with children listens, all exchange their addresses, and each connects to
// its parent.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <set>

#include "clock.h"
#include "control_tree.h"
#include "listener.h"
#include "listener_address.h"
#include "net_address.h"
#include "rendezvous.h"
#include "resource_limits.h"

namespace tutti {
namespace {

constexpr uint64_t kReasonPatience = 500 * kMillisecond;  // in which the bootstrap says why a neighbour is gone
constexpr uint64_t kPause = 10 * kMillisecond;  // before a full backlog is tried again
constexpr uint64_t kGrace = 250 * kMillisecond;  // with a connection that may be about to say hello
constexpr int kBacklog = 64;

// One rank's way into the tree.
class Joining final : private Gatekeeper {
 public:
  Joining(const Control::Options& options, std::vector<ListenerAddress> listeners, OwnedFd socket, Bootstrap& bootstrap);

  // The neighbours, parent first.
  Result<std::vector<ControlTree::Neighbour>> run();

 private:
  Status connect_to_parent();
  Result<OwnedFd> connect_to(const SocketAddress& address, const std::function<Status(const Status&)>& failed);
  Status step();
  Status overdue() const;
  Status hear_parent();
  Verdict judge(PendingConnection& connection) override;
  void starved(int error) override;
  Status ended(ControlTree::Neighbour& neighbour);
  Status unless_heard(const Status& view);
  void send_failure(const Status& why);
  const std::string& name_of(int rank) const { return options_.rank_names[static_cast<size_t>(rank)]; }
  bool complete() const { return missing_.empty() && (options_.rank == 0 || welcomed_); }

  const Control::Options& options_;
  const std::vector<ListenerAddress> listeners_;  // of all ranks
  Listener listener_;                             // closed once all children are here
  Bootstrap& bootstrap_;
  std::vector<int> missing_;  // children
  std::vector<ControlTree::Neighbour> neighbours_;
  std::set<int> left_;                 // neighbours that have said goodbye and are gone
  Status shortage_;
  bool welcomed_ = false;
};

Joining::Joining(const Control::Options& options, std::vector<ListenerAddress> listeners, OwnedFd socket, Bootstrap& bootstrap)
    : options_(options),
      listeners_(std::move(listeners)),
      bootstrap_(bootstrap),
      missing_(children_of(options.rank, options.size)) {
  if (missing_.empty()) return;
  std::vector<OwnedFd> sockets;
  sockets.push_back(std::move(socket));
  Listener::Options listening;
  listening.name = "control tree";
  listening.longest_hello = kHelloFrame;
  listening.grace_ns = kGrace;
  listening.log = options.log;
  listener_ = Listener(std::move(sockets), std::move(listening));
}

// A neighbour that went away may know before this rank why the bootstrap has failed.  So the bootstrap gets time to say
// so before anybody is blamed.
Status Joining::unless_heard(const Status& view) {
  const auto heard = await(bootstrap_, {}, now_ns() + kReasonPatience);
  return heard.ok() ? view : heard.status();
}

// A failure elsewhere is passed on as it is; `failed` words a failure here.
Result<OwnedFd> Joining::connect_to(const SocketAddress& address, const std::function<Status(const Status&)>& failed) {
  errno = 0;
  auto fd = start_connect(address);
  while (!fd.ok() && errno == EAGAIN && now_ns() < bootstrap_.deadline()) {  // the backlog of a unix listener is full
    if (const auto heard = await(bootstrap_, {}, now_ns() + kPause); !heard.ok()) return heard.status();
    errno = 0;
    fd = start_connect(address);
  }
  if (!fd.ok()) return failed(fd.status());
  pollfd entry{fd->get(), POLLOUT, 0};
  const auto ready = await(bootstrap_, {&entry, 1});
  if (!ready.ok()) return ready.status();
  if (!*ready) return failed(Status(Code::unreachable, "no answer from " + address.to_string()));
  if (Status connected = connect_result(fd->get(), address); !connected.ok()) return failed(connected);
  return fd;
}

Status Joining::connect_to_parent() {
  const int rank = parent_of(options_.rank);
  const ListenerAddress& theirs = listeners_[static_cast<size_t>(rank)];
  const auto failed = [&](const Status& why) {
    return unless_heard(Status(why.code(), name_of(options_.rank) + " cannot reach " + name_of(rank) + ": " + why.message() +
                                               "; is the address right (TUTTI_INTERFACE), is a firewall in the way?"));
  };
  const auto address = SocketAddress::parse(theirs.address);
  if (!address.ok()) return failed(address.status());
  auto fd = connect_to(*address, failed);
  if (!fd.ok()) return fd.status();
  ControlFrame hello = frame_of(FrameKind::hello, options_.rank);
  hello.secret = theirs.secret;
  neighbours_.push_back({rank, ControlSocket(std::move(*fd)), false, true});
  neighbours_.back().socket.send(hello);
  return {};
}

Result<std::vector<ControlTree::Neighbour>> Joining::run() {
  Status status = options_.rank == 0 ? Status() : connect_to_parent();
  while (status.ok() && !complete()) status = step();
  if (!status.ok()) {
    send_failure(status);
    return status;
  }
  return std::move(neighbours_);
}

Status Joining::step() {
  std::vector<pollfd> set;
  listener_.watch(set, now_ns());
  const size_t listening = set.size(), known = neighbours_.size();
  for (const ControlTree::Neighbour& neighbour : neighbours_) {
    const bool speaks = neighbour.rank < options_.rank && !welcomed_;  // later words are for the tree
    const int fd = left_.contains(neighbour.rank) ? -1 : neighbour.socket.fd();
    set.push_back({fd, static_cast<short>(speaks ? POLLIN : POLLRDHUP), 0});
  }
  if (const auto ready = await(bootstrap_, set, listener_.next_deadline(now_ns())); !ready.ok()) return ready.status();
  for (size_t i = 0; i < known; ++i) {
    if (set[listening + i].revents == 0) continue;
    const bool is_parent = neighbours_[i].rank < options_.rank;
    const Status status = is_parent && !welcomed_ ? hear_parent() : ended(neighbours_[i]);
    if (!status.ok()) return status;
  }
  if (Status served = listener_.serve(*this, std::span(set).first(listening)); !served.ok()) return served;
  if (!shortage_.ok()) return shortage_;
  return complete() || now_ns() < bootstrap_.deadline() ? Status() : overdue();
}

Status Joining::overdue() const {
  if (missing_.empty())
    return Status(Code::unreachable, name_of(parent_of(options_.rank)) + " did not answer on its control connection");
  return Status(Code::unreachable, name_of(missing_.front()) + " did not connect to " + name_of(options_.rank) + " at " +
                                       listeners_[static_cast<size_t>(options_.rank)].address +
                                       "; can its host reach this address (TUTTI_INTERFACE), is a firewall in the way?");
}

Status Joining::hear_parent() {
  ControlTree::Neighbour& parent = neighbours_.front();
  const bool alive = parent.socket.fill();
  ControlFrame frame;
  const Decoding decoding = parent.socket.next(options_.size, frame);
  if (decoding == Decoding::complete && frame.kind == FrameKind::failure) return frame.cause.status;
  if (decoding == Decoding::complete && frame.kind == FrameKind::welcome) {
    welcomed_ = true;
    return {};
  }
  return alive && decoding == Decoding::incomplete ? Status() : ended(parent);
}

// A neighbour closed: after it sent a reason, or because it died.  One that joined before others may already have ended
// the communicator; its goodbye is for the tree.
Status Joining::ended(ControlTree::Neighbour& neighbour) {
  ControlFrame frame;
  neighbour.socket.fill();
  if (neighbour.socket.holds(options_.size, FrameKind::goodbye_up)) {
    left_.insert(neighbour.rank);
    return {};
  }
  while (neighbour.socket.next(options_.size, frame) == Decoding::complete)
    if (frame.kind == FrameKind::failure || frame.kind == FrameKind::report) return frame.cause.status;
  return unless_heard(Status(Code::peer_lost, name_of(neighbour.rank) + " died or closed its connections during bootstrap"));
}

Verdict Joining::judge(PendingConnection& connection) {
  ControlFrame frame;
  size_t used = 0;
  const Decoding decoding = decode(connection.said, options_.size, frame, used);
  if (decoding == Decoding::incomplete) return {};
  const auto expected = std::find(missing_.begin(), missing_.end(), frame.rank);
  if (decoding != Decoding::complete || frame.kind != FrameKind::hello || expected == missing_.end() ||
      frame.secret != listeners_[static_cast<size_t>(options_.rank)].secret)
    return Verdict::refused("it does not know this rank's secret");
  missing_.erase(expected);
  neighbours_.push_back({frame.rank, ControlSocket(std::move(connection.fd)), false, true});
  neighbours_.back().socket.send(frame_of(FrameKind::welcome));
  if (missing_.empty()) listener_.close();
  return Verdict::admitted();
}

void Joining::starved(int error) {
  errno = error;
  shortage_ = no_descriptor("accepting a control connection");
}

// So that the others report more than a closed connection.
void Joining::send_failure(const Status& why) {
  for (ControlTree::Neighbour& neighbour : neighbours_) {
    const FrameKind kind = neighbour.rank < options_.rank ? FrameKind::report : FrameKind::failure;
    neighbour.socket.send(frame_of(kind, Cause{options_.rank, false, why}));
  }
}

// Listens, where this rank has children.
ListenerAddress open_listener(const Control::Options& options, OwnedFd& listener) {
  ListenerAddress mine;
  if (children_of(options.rank, options.size).empty()) return mine;
  const auto secret = Secret::random();
  const auto address = options.listen_address.empty() ? SocketAddress::random_unix() : SocketAddress::parse(options.listen_address);
  mine.status = !secret.ok() ? secret.status() : address.status();
  if (!mine.status.ok()) return mine;
  auto listening = listen_on(*address, kBacklog);
  const auto bound = listening.ok() ? local_address_of(listening->get()) : Result<SocketAddress>(listening.status());
  mine.status = bound.status();
  if (!mine.status.ok()) return mine;
  listener = std::move(*listening);
  mine.secret = *secret;
  mine.address = bound->to_string();
  return mine;
}

}  // namespace

Result<std::unique_ptr<Control>> Control::create(std::shared_ptr<ControlThread> thread, Options options, Bootstrap& bootstrap) {
  OwnedFd listener;
  const auto blobs = bootstrap.exchange(encode(open_listener(options, listener)));
  if (!blobs.ok()) return blobs.status();
  std::vector<ListenerAddress> listeners;
  for (size_t rank = 0; rank < blobs->size(); ++rank) {
    listeners.push_back(decode_listener_address((*blobs)[rank]));
    const Status& status = listeners.back().status;
    if (!status.ok()) return Status(status.code(), options.rank_names[rank] + " cannot join the control tree: " + status.message());
  }
  auto neighbours = Joining(options, std::move(listeners), std::move(listener), bootstrap).run();
  if (!neighbours.ok()) return neighbours.status();
  auto tree = std::make_unique<ControlTree>(std::move(thread), std::move(options), std::move(*neighbours));
  const Status begun = tree->begin();
  if (!begun.ok()) return begun;
  return std::unique_ptr<Control>(std::move(tree));
}

}  // namespace tutti

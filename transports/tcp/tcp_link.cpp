#include "tcp_link.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "net_address.h"
#include "tcp_transport.h"

namespace tutti::tcp {
namespace {

size_t total(Pieces pieces) {
  size_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes;
  return bytes;
}

}  // namespace

TcpLink::TcpLink(TcpTransport& owner, SlotPool& pool, Setup setup)
    : owner_(owner),
      peer_name_(std::move(setup.peer_name)),
      send_buffer_(setup.send_buffer),
      congestion_(std::move(setup.congestion)),
      connectors_(std::move(setup.connectors)),
      error_(std::move(setup.broken)) {
  for (uint32_t i = 0; i < setup.connections; ++i) connections_.emplace_back(pool, *owner.meter());
}

Progress TcpLink::send(Slot slot, size_t bytes, const Signature& signature) {
  const Piece piece{slot.data, bytes};
  return transmit(Pieces(&piece, 1), signature, slot);
}

Progress TcpLink::send(Pieces pieces, const Signature& signature, uint64_t& ticket) {
  const Progress progress = transmit(pieces, signature, {});
  if (progress == Progress::done) ticket = last_ticket();
  return progress;
}

Progress TcpLink::transmit(Pieces pieces, const Signature& signature, Slot slot) {
  if (!error_.ok()) return verdict();
  const size_t bytes = total(pieces);
  if (bytes > std::numeric_limits<uint32_t>::max() || pieces.size() > kMaxPieces)
    return die(Status(Code::internal, "a message to " + peer_name_ + " is too long or in too many pieces"));
  if (!started_) start();
  if (!error_.ok()) return verdict();
  TcpConnection& connection = connection_of(accepted_);
  const Outcome outcome = connection.send({kHeaderMagic, static_cast<uint32_t>(bytes), signature}, pieces, slot);
  if (outcome.progress == Progress::lost) return lose(outcome.error, false);
  if (outcome.progress == Progress::done) ++accepted_;
  if (!connection.idle()) owner_.watch(*this);
  return outcome.progress;
}

bool TcpLink::sent(uint64_t ticket) const {
  // Connection c carries messages c, c + k, c + 2k …; it must have written those whose number is below the ticket.
  const uint64_t k = connections_.size();
  for (uint64_t c = 0; c < k; ++c)
    if (ticket > c && connections_[c].written() < (ticket - 1 - c) / k + 1) return false;
  return true;
}

// done: the connection that the next message comes over is open.
Progress TcpLink::open_input() {
  if (!error_.ok()) return verdict();
  const TcpConnection& connection = connection_of(received_);
  if (!connection.is_open()) start();
  if (!error_.ok()) return verdict();
  return connection.is_open() ? Progress::done : Progress::busy;
}

Progress TcpLink::peek(Signature& next) {
  if (const Progress open = open_input(); open != Progress::done) return open;
  TcpConnection& connection = connection_of(received_);
  if (!connection.has_header()) {
    const Outcome outcome = connection.read({}, 0);
    if (outcome.progress == Progress::lost) return lose(outcome.error, !connection.between_messages());
    if (outcome.progress == Progress::busy) owner_.await_input(*this);
    if (!connection.has_header()) return Progress::busy;
  }
  if (connection.header().magic != kHeaderMagic) return die_of_noise();
  next = connection.header().signature;
  return Progress::done;
}

Progress TcpLink::receive(Pieces pieces, const Signature& expected) {
  if (const Progress open = open_input(); open != Progress::done) return open;
  TcpConnection& connection = connection_of(received_);
  const size_t bytes = total(pieces);
  const Outcome outcome = connection.read(pieces, bytes);
  if (connection.has_header()) {
    const Header& header = connection.header();
    if (header.magic != kHeaderMagic || header.length != bytes || !(header.signature == expected))
      return refuse(header, bytes, expected);
  }
  if (outcome.progress == Progress::lost) return lose(outcome.error, !connection.between_messages());
  if (outcome.progress == Progress::busy) owner_.await_input(*this);
  if (outcome.progress == Progress::done) {
    connection.next_message();
    ++received_;
  }
  return outcome.progress;
}

void TcpLink::start() {
  if (!started_) {
    started_ = true;
    owner_.watch(*this);
  }
  if (awaits_accept())
    if (const Status status = owner_.accept(); !status.ok()) die(status);
  connect();
}

// An open connection has no use for its connector any more, but keeps it: the two are found by the same index.
void TcpLink::connect() {
  for (size_t i = 0; i < connectors_.size() && error_.ok(); ++i) {
    if (connections_[i].is_open()) continue;
    auto fd = connectors_[i].advance();
    if (!fd.ok()) {
      const bool hint = fd.status().code() == Code::unreachable;
      die(Status(fd.status().code(),
                 peer_name_ + " cannot be reached: " + fd.status().message() +
                     (hint ? "; its process has ended, a firewall stands between, or TUTTI_INTERFACE chose a network "
                             "that the two hosts do not share"
                           : "")));
    } else if (*fd) {
      open(connections_[i], std::move(*fd));
    }
  }
}

void TcpLink::open(TcpConnection& connection, OwnedFd fd) {
  if (Status status = set_no_delay(fd.get()); !status.ok()) {
    die(std::move(status));
    return;
  }
  // No TCP_USER_TIMEOUT beside it: that would also end connections to a peer that is stopped while data for it wait.
  keep_alive(fd.get());
  if (send_buffer_ > 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &send_buffer_, sizeof send_buffer_);  // a wish
  if (congestion_.empty())
    suit_congestion_control(fd.get());
  else if (congestion_ != kSystemCongestion)
    (void)set_congestion_control(fd.get(), congestion_);  // it worked when the transport was opened
  connection.open(std::move(fd));
}

bool TcpLink::accepted(uint32_t connection, OwnedFd fd) {
  if (!error_.ok() || !connectors_.empty() || connections_[connection].is_open()) return false;
  open(connections_[connection], std::move(fd));
  return true;
}

void TcpLink::move() {
  if (error_.ok()) connect();
  for (size_t i = 0; i < connections_.size() && error_.ok(); ++i) {
    const Outcome outcome = connections_[i].flush();
    if (outcome.progress == Progress::lost) lose(outcome.error, false);
  }
}

void TcpLink::awaited_output(std::vector<pollfd>& descriptors) const {
  for (const TcpConnection& connection : connections_)
    if (!connection.idle()) descriptors.push_back({connection.fd(), POLLOUT, 0});
}

// A dead link that was still to do something never rests: progress() keeps telling.
bool TcpLink::at_rest() const { return error_.ok() && all_open() && idle(); }

bool TcpLink::awaits_accept() const { return error_.ok() && connectors_.empty() && started_ && !all_open(); }

bool TcpLink::idle() const {
  return std::all_of(connections_.begin(), connections_.end(), [](const TcpConnection& c) { return c.idle(); });
}

bool TcpLink::all_open() const {
  return std::all_of(connections_.begin(), connections_.end(), [](const TcpConnection& c) { return c.is_open(); });
}

Progress TcpLink::die(Status why) {
  error_ = std::move(why);
  for (TcpConnection& connection : connections_) connection.close();
  return verdict();
}

Progress TcpLink::lose(int error, bool within_message) {
  const std::string when = within_message ? " in the middle of a message" : "";
  if (error == 0 || error == ECONNRESET || error == EPIPE)
    return die(Status(Code::peer_lost, peer_name_ + " closed the connection" + when));
  errno = error;
  return die(Status(Code::peer_lost, system_error("the connection to " + peer_name_ + " broke" + when).message()));
}

Progress TcpLink::die_of_noise() { return die(Status(Code::peer_lost, peer_name_ + " sent bytes that begin no message")); }

Progress TcpLink::refuse(const Header& header, size_t bytes, const Signature& expected) {
  if (header.magic != kHeaderMagic) return die_of_noise();
  offender_ = header.signature;
  return die(Status(Code::mismatch, peer_name_ + " sent " + std::to_string(header.length) + " bytes of " +
                                        describe(header.signature) + " where " + std::to_string(bytes) + " bytes of " +
                                        describe(expected) + " were due"));
}

bool TcpLink::drained() const {
  return !error_.ok() || std::all_of(connections_.begin(), connections_.end(), [](const TcpConnection& c) { return c.drained(); });
}

size_t TcpLink::memory_bytes() const {
  size_t bytes = sizeof *this + connectors_.capacity() * sizeof(TcpConnector);
  for (const TcpConnection& connection : connections_) bytes += connection.memory_bytes();
  return bytes;
}

uint64_t TcpLink::sent_bytes() const {
  uint64_t bytes = 0;
  for (const TcpConnection& connection : connections_) bytes += connection.written_bytes();
  return bytes;
}

}  // namespace tutti::tcp

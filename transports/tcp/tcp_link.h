// A link to one peer over one or several TCP connections.
//
// Message number i of a direction travels on connection i mod k; both ends count, so the order is kept without numbers
// on the wire.  The connections are made when the link is first used: by the lower rank, while the higher one waits to
// accept them.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "status.h"
#include "tcp_connection.h"
#include "tcp_connector.h"
#include "transport.h"

namespace tutti::tcp {

class TcpTransport;

// As a name of a congestion control: leave the kernel's.
inline constexpr std::string_view kSystemCongestion = "system";

class TcpLink final : public ByteLink {
 public:
  // `connectors`: one for each connection if this rank connects, none if it accepts.  `broken`: why the link can never
  // work, or success.
  struct Setup {
    std::string peer_name;  // "rank 3 (host b, pid 4711)"
    uint32_t connections = 1;
    int send_buffer = 0;     // SO_SNDBUF in bytes; 0: the kernel decides
    std::string congestion;  // control; empty: what suits the path
    std::vector<TcpConnector> connectors;
    Status broken;
  };
  TcpLink(TcpTransport& owner, SlotPool& pool, Setup setup);

  Progress send(Slot slot, size_t bytes, const Signature& signature) override;
  Progress send(Pieces pieces, const Signature& signature, uint64_t& ticket) override;

  // True once this message and all before it have left the caller's memory.  Stays false for what a loss left unsent.
  bool sent(uint64_t ticket) const override;
  uint64_t last_ticket() const override { return idle() ? 0 : accepted_; }
  Progress receive(Pieces pieces, const Signature& expected) override;
  Progress peek(Signature& next) override;
  Status error() const override { return error_; }
  Signature offender() const override { return offender_; }

  // For the transport.
  void move();  // opens and writes what can be now
  bool ready() const { return error_.ok() && all_open(); }
  pollfd awaited_input() const { return {connections_[received_ % connections_.size()].fd(), POLLIN, 0}; }
  void awaited_output(std::vector<pollfd>& descriptors) const;  // what has messages queued
  bool at_rest() const;                                         // nothing is left to open or to write
  bool awaits_accept() const;                                   // the peer is to connect and has not yet
  bool accepted(uint32_t connection, OwnedFd fd);               // false if this connection is there already
  bool drained() const;  // the peer's system has acknowledged all that was written; true of a dead link
  size_t memory_bytes() const;
  uint64_t sent_bytes() const;

 private:
  Progress transmit(Pieces pieces, const Signature& signature, Slot slot);
  TcpConnection& connection_of(uint64_t message) { return connections_[message % connections_.size()]; }
  void start();
  void connect();
  void open(TcpConnection& connection, OwnedFd fd);
  bool idle() const;
  bool all_open() const;
  // Of a dead link.
  Progress verdict() const { return error_.code() == Code::mismatch ? Progress::mismatch : Progress::lost; }
  Progress die(Status why);
  Progress lose(int error, bool within_message);
  Progress open_input();
  Progress refuse(const Header& header, size_t bytes, const Signature& expected);
  Progress die_of_noise();

  TcpTransport& owner_;
  std::string peer_name_;
  int send_buffer_;
  std::string congestion_;
  std::vector<TcpConnector> connectors_;
  std::deque<TcpConnection> connections_;  // a deque because they cannot move
  bool started_ = false;
  uint64_t accepted_ = 0;  // messages to send: written or queued
  uint64_t received_ = 0;
  Status error_;  // not success: the link is dead
  Signature offender_;
};

}  // namespace tutti::tcp

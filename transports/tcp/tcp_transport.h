// `tcp`: links over TCP sockets.
//
// Bootstrap.  open() listens; every rank publishes address(); set_peers() takes what the others published.
// Connections are made later, by links, when they are first used.
//
// No epoll: the engine asks the link whose message it needs, one read each.  progress() looks only at links that have
// something queued or are being opened, and accepts only while one of them waits for that.  An engine that has asked
// in vain for a while may sleep in poll() on just the sockets it asked: awaited().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "log.h"
#include "tcp_acceptor.h"
#include "tcp_link.h"
#include "transport.h"

namespace tutti::tcp {

struct TcpOptions {
  int rank = 0;
  int size = 1;
  std::string listen_address;  // numeric, without port: "10.0.0.1", "::1"
  int connections = 1;         // per peer and use; the same on all ranks
  int send_buffer = 0;         // SO_SNDBUF in bytes; 0: the kernel decides
  std::string congestion;      // control, by the kernel's name, or kSystemCongestion; empty: what suits each path
  uint64_t context = 0;        // which communicator; the same on all ranks
  SlotPool* pool = nullptr;    // where sent slots go back to
  std::string name;            // of the communicator, for messages
  Log log;
};

class TcpTransport final : public Transport {
 public:
  static Result<std::unique_ptr<TcpTransport>> open(TcpOptions options);

  std::string address() const;  // at most 128 characters; secret: for members of the communicator only

  // Once, before the first link: what every rank published ("" for a rank that cannot be reached by TCP), and how
  // messages call it.
  Status set_peers(const std::vector<std::string>& addresses, std::vector<std::string> rank_names);

  std::string_view name() const override { return "tcp"; }
  LinkForm form() const override { return LinkForm::bytes; }
  using Transport::link;
  Link& link(int peer, LinkUse use) override { return link_to(peer, use); }
  TcpLink& link_to(int peer, LinkUse use = LinkUse::collectives);
  Status progress() override;  // not success while a link has died with messages to send
  bool awaited(std::vector<pollfd>& descriptors) override;
  bool drained() override;
  StreamMeter* meter() override { return &meter_; }
  size_t memory_bytes() const override;
  uint64_t sent_bytes() const override;

  // For links.
  void await_input(TcpLink& link);  // a receive was busy since the last progress()
  void watch(TcpLink& link);        // progress() moves it until nothing is left to move
  Status accept();                  // hands arrived connections to their links

 private:
  TcpTransport(TcpOptions options, TcpAcceptor acceptor, const Secret& secret);
  TcpLink::Setup setup_for(int peer, LinkUse use) const;

  TcpOptions options_;
  TcpAcceptor acceptor_;
  Secret secret_;
  std::vector<std::optional<Endpoint>> peers_;
  std::vector<std::string> rank_names_;
  StreamMeter meter_;                            // of all connections, which point to it
  std::vector<std::unique_ptr<TcpLink>> links_;  // by use and rank; null until asked for
  std::vector<TcpLink*> watched_;
  std::vector<TcpLink*> awaiting_;  // input, as await_input() told
};

}  // namespace tutti::tcp

// `rdma`: links over queue pairs of one port of an RDMA device, InfiniBand or RoCE, by libibverbs.
//
// All slots that messages are sent from and land in are registered once, as one region.  All links share a completion
// queue, which progress() empties; an engine that has asked in vain for a while sleeps on its channel.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "log.h"
#include "port.h"
#include "rdma_link.h"
#include "tcp_acceptor.h"
#include "transport.h"

namespace tutti::rdma {

struct RdmaOptions {
  int rank = 0;
  int size = 1;
  std::string listen_address;            // numeric, without port: where the ends of links meet
  uint64_t context = 0;                  // which communicator; the same on all ranks
  SlotPool* pool = nullptr;              // of this rank, for collectives
  std::vector<SlotPool*> message_pools;  // by rank; those of ranks that are served are not null
  std::vector<bool> serves;              // by rank
  std::span<std::byte> memory;           // that all slots lie in which this rank may be given
  std::string name;                      // of the communicator, for messages
  Log log;
};

class RdmaTransport final : public Transport {
 public:
  static Result<std::unique_ptr<RdmaTransport>> open(RdmaOptions options, std::shared_ptr<Device> device, const Port& port,
                                                     const Gid& gid);
  ~RdmaTransport() override;

  std::string address() const;  // at most 128 characters; secret: for members of the communicator only
  // Once, before the first link: what every rank published ("" for a rank that has no port), and how messages call it.
  Status set_peers(const std::vector<std::string>& addresses, std::vector<std::string> rank_names);

  std::string_view name() const override { return "rdma"; }
  LinkForm form() const override { return LinkForm::puts; }
  using Transport::link;
  Link& link(int peer, LinkUse use) override { return link_to(peer, use); }
  RdmaLink& link_to(int peer, LinkUse use = LinkUse::collectives);
  Status progress() override;
  bool awaited(std::vector<pollfd>& descriptors) override;
  bool drained() override;
  size_t memory_bytes() const override;
  uint64_t sent_bytes() const override;
  Counters counters() const;

  // For links.
  const Verbs& verbs() const { return device_->verbs(); }
  Device& device() { return *device_; }
  const Port& port() const { return port_; }
  const Gid& gid() const { return gid_; }
  ibv_cq* completions() const { return completions_.get(); }
  const ibv_mr& region() const { return *region_; }
  SlotPool& pool() { return *options_.pool; }
  void watch(RdmaLink& link);                                      // progress() moves it until it is connected
  Status accept();                                                 // hands arrived connections to their links
  Status room_for_link();                                          // in the completion queue
  void warn_of_mtu(const std::string& peer_name, ibv_mtu theirs);  // once

 private:
  RdmaTransport(RdmaOptions options, tcp::TcpAcceptor acceptor, const Secret& secret, std::shared_ptr<Device> device,
                const Port& port, const Gid& gid);
  Status prepare();
  RdmaLink::Setup setup_for(int peer, LinkUse use);
  Status poll();

  RdmaOptions options_;
  tcp::TcpAcceptor acceptor_;
  Secret secret_;
  const std::shared_ptr<Device> device_;
  const Port port_;
  const Gid gid_;
  Owned<ibv_mr> region_;
  Owned<ibv_comp_channel> channel_;
  Owned<ibv_cq> completions_;
  int capacity_ = 0;    // of the completion queue
  bool armed_ = false;  // the channel tells of the next completion
  bool warned_of_mtu_ = false;
  uint32_t connected_ = 0;  // links that have a queue pair

  std::vector<std::optional<tcp::Endpoint>> peers_;
  std::vector<std::string> rank_names_;
  std::vector<std::vector<Slot>> landing_;        // set aside for links that are not made yet, by use and rank
  std::vector<std::unique_ptr<RdmaLink>> links_;  // by use and rank; null until asked for
  std::vector<RdmaLink*> watched_;
};

}  // namespace tutti::rdma

// `ucx`: links over UCX, which finds the networks between two ranks by itself.
//
// Bootstrap.  open() makes a worker; every rank publishes address(); set_peers() takes what the others published.
// Endpoints are made later, by links, when they are first used.
//
// progress() drives UCX, which is nobody's business otherwise: a rank that is in no call answers no peer.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "log.h"
#include "transport.h"
#include "ucx_link.h"

namespace tutti::ucx {

struct UcxOptions {
  int rank = 0;
  int size = 1;
  SlotPool* pool = nullptr;  // where sent slots go back to
  std::string name;          // of the communicator, for messages
  Log log;
};

class UcxTransport final : public Transport {
 public:
  static Result<std::unique_ptr<UcxTransport>> open(UcxOptions options);
  ~UcxTransport() override;

  const std::string& address() const { return address_; }  // secret: for members of the communicator only

  // Once, before the first link: what every rank published ("" for a rank without UCX), and how messages call it.
  Status set_peers(const std::vector<std::string>& addresses, const std::vector<std::string>& rank_names);

  std::string_view name() const override { return "ucx"; }
  LinkForm form() const override { return LinkForm::bytes; }
  using Transport::link;
  Link& link(int peer, LinkUse use) override { return link_to(peer, use); }
  UcxLink& link_to(int peer, LinkUse use = LinkUse::collectives);
  Status progress() override;  // not success while a link has died with messages to send
  bool awaited(std::vector<pollfd>& descriptors) override;
  bool drained() override;
  void give_up() override;               // ends what may still write
  size_t memory_bytes() const override;  // without what UCX takes
  uint64_t sent_bytes() const override;

  // For links.
  void watch(UcxLink& link);            // progress() moves it until nothing is left to move
  void hang_up(UcxEndpoint& endpoint);  // waits, not long, until UCX uses no memory of its links any more

 private:
  explicit UcxTransport(UcxOptions options);
  static ucs_status_t on_message(void* self, const void* header, size_t header_bytes, void* data, size_t bytes,
                                 const ucp_am_recv_param_t* param);
  bool arrived(std::span<const std::byte> header, void* data, size_t bytes, bool to_be_fetched);
  template <class Over>
  bool drive_until(Over over, uint64_t patience_ns);
  void close();

  UcxOptions options_;
  std::unique_ptr<UcxWorker> worker_;
  Terms terms_;
  std::string address_;
  std::vector<std::unique_ptr<UcxEndpoint>> endpoints_;  // by rank
  std::vector<std::unique_ptr<UcxLink>> links_;          // by use and rank; null until asked for
  std::vector<UcxLink*> watched_;
  const Status no_memory_{Code::out_of_memory, "there is no memory for what arrived by UCX"};
  Status trouble_;  // of UCX's callback
  bool logged_stranger_ = false;
  bool given_up_ = false;
};

}  // namespace tutti::ucx

// The connection to one rank, which all links to it share.
#pragma once

#include <string>

#include "ucx_worker.h"

namespace tutti::ucx {

class UcxEndpoint {
 public:
  // `broken`: why it can never work, or success.
  UcxEndpoint(UcxWorker& worker, std::string peer_name, Address address, Status broken);
  UcxEndpoint(const UcxEndpoint&) = delete;

  const std::string& peer_name() const { return peer_name_; }
  const Secret& secret() const { return address_.secret; }  // of the peer

  // Connects unless that was done.  An error once the connection has failed or was hung up.
  Status open();
  const Status& failure() const { return failure_; }
  bool connecting() const { return handle_ && failure_.ok() && !connected_; }
  void connected() { connected_ = true; }  // it has carried a message of this rank's

  ucs_status_ptr_t send(const Header& header, Pieces pieces, std::vector<ucp_dt_iov_t>& parts) {
    return worker_.send(handle_, header, pieces, parts);
  }

  void hang_up();  // ends all operations; they are over once settled
  bool hung_up() { return worker_.settle(closing_) != UCS_INPROGRESS; }

  Status broke(ucs_status_t status) const;  // as a sentence
  size_t memory_bytes() const { return sizeof *this + address_.worker.capacity(); }

 private:
  static void failed(void* self, ucp_ep_h endpoint, ucs_status_t status);

  UcxWorker& worker_;
  std::string peer_name_;
  Address address_;
  const Status closed_;  // made beforehand: the end must not need memory
  Status failure_;
  ucp_ep_h handle_ = nullptr;  // null: not connected
  bool connected_ = false;
  ucs_status_ptr_t closing_ = nullptr;
};

}  // namespace tutti::ucx

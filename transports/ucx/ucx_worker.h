// UCX's worker: one rank's end of its networks, with the endpoints that were made there.
//
// Invariants
//   1. Messages and failures are told inside progress() only.
//   2. After close() UCX neither reads nor writes memory of the caller's, and no request of its exists any more.
#pragma once

#include <poll.h>

#include <memory>
#include <string>
#include <vector>

#include "transport.h"
#include "ucx_context.h"
#include "ucx_frames.h"

namespace tutti::ucx {

class UcxWorker {
 public:
  // `on_message` is called with `argument`.
  static Result<std::unique_ptr<UcxWorker>> open(ucp_am_recv_callback_t on_message, void* argument);
  UcxWorker(const UcxWorker&) = delete;
  ~UcxWorker() { close(); }

  Result<std::string> address() const;

  // True: nothing more has arrived.
  bool progress();

  // Adds the descriptor that tells of what arrives from now on; false: something has arrived, or UCX cannot tell.
  bool arm(std::vector<pollfd>& descriptors);

  // `on_failure`, which gets `argument`, may be called until the endpoint is closed.
  Result<ucp_ep_h> connect(const std::string& address, ucp_err_handler_cb_t on_failure, void* argument);

  // Header, pieces and parts must stay until the operation has ended.  `parts` is room for what UCX wants to know of
  // several pieces.
  ucs_status_ptr_t send(ucp_ep_h endpoint, const Header& header, Pieces pieces, std::vector<ucp_dt_iov_t>& parts);

  // Of what on_message has kept: large messages are fetched from their sender, others are here.
  ucs_status_ptr_t fetch(void* description, Pieces pieces, std::vector<ucp_dt_iov_t>& parts);
  void release(void* data);

  ucs_status_ptr_t hang_up(ucp_ep_h endpoint);  // ends all its operations

  // As Ucx::settle; what had not ended when the worker was closed was cancelled.
  ucs_status_t settle(ucs_status_ptr_t& operation) const {
    if (!worker_ && UCS_PTR_IS_PTR(operation)) operation = UCS_STATUS_PTR(UCS_ERR_CANCELED);
    return context_->ucx().settle(operation);
  }
  const char* describe(ucs_status_t status) const { return context_->ucx().status_string(status); }

  bool is_open() const { return worker_ != nullptr; }
  bool is_copy() const;  // in a child of fork(), which must leave it alone
  void close();          // what was kept must have been released

 private:
  explicit UcxWorker(std::shared_ptr<UcxContext> context);

  std::shared_ptr<UcxContext> context_;
  const pid_t process_;
  ucp_worker_h worker_ = nullptr;
  int event_fd_ = -1;  // UCX's; -1: it has none
};

}  // namespace tutti::ucx

#include "ucx_worker.h"

#include <unistd.h>

#include "held_signals.h"

namespace tutti::ucx {
namespace {

constexpr unsigned kMessageId = 0;  // of the one sort of active messages

// Longer messages are fetched by their receiver once it knows where to, so that a receiver that is late keeps at most
// kWindow times this for each link.  Shorter ones travel as UCX likes.
constexpr size_t kLongestEager = 64 << 10;

// Calls of ucp_worker_progress() at a time; each handles some events.
constexpr int kMostRounds = 64;

struct Buffer {
  void* data = nullptr;
  size_t count = 0;
  size_t bytes = 0;
};

// Pieces as UCX wants them, and what it must be told of them.
Buffer as_buffer(Pieces pieces, std::vector<ucp_dt_iov_t>& parts, ucp_request_param_t& param) {
  param.op_attr_mask |= UCP_OP_ATTR_FIELD_DATATYPE | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.memory_type = UCS_MEMORY_TYPE_HOST;
  param.datatype = ucp_dt_make_contig(1);
  if (pieces.empty()) return {};
  if (pieces.size() == 1) return {pieces[0].data, pieces[0].bytes, pieces[0].bytes};
  Buffer buffer;
  parts.clear();
  for (const Piece& piece : pieces) {
    parts.push_back({piece.data, piece.bytes});
    buffer.bytes += piece.bytes;
  }
  param.datatype = ucp_dt_make_iov();
  buffer.data = parts.data();
  buffer.count = parts.size();
  return buffer;
}

}  // namespace

UcxWorker::UcxWorker(std::shared_ptr<UcxContext> context) : context_(std::move(context)), process_(::getpid()) {}

Result<std::unique_ptr<UcxWorker>> UcxWorker::open(ucp_am_recv_callback_t on_message, void* argument) {
  auto context = UcxContext::open();
  if (!context.ok()) return context.status();
  const Ucx& ucx = (*context)->ucx();
  const SignalsHeld held;  // UCX may start a thread
  std::unique_ptr<UcxWorker> made(new UcxWorker(std::move(*context)));
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucs_status_t status = ucx.worker_create(made->context_->get(), &params, &made->worker_);
  if (status != UCS_OK) {
    made->worker_ = nullptr;
    return ucx.failure("make a worker", status);
  }
  ucp_worker_attr_t attributes{};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  status = ucx.worker_query(made->worker_, &attributes);
  if (status != UCS_OK) return ucx.failure("describe a worker", status);
  if (attributes.max_am_header < sizeof(Header))
    return Status(Code::unsupported, "the networks that UCX may use here carry headers of " +
                                         std::to_string(attributes.max_am_header) + " bytes, and Tutti needs " +
                                         std::to_string(sizeof(Header)) + "; let it use others (UCX_TLS)");
  ucp_am_handler_param_t handler{};
  handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS | UCP_AM_HANDLER_PARAM_FIELD_CB |
                       UCP_AM_HANDLER_PARAM_FIELD_ARG;
  handler.id = kMessageId;
  handler.flags = UCP_AM_FLAG_PERSISTENT_DATA;  // what the callback keeps lies still
  handler.cb = on_message;
  handler.arg = argument;
  status = ucx.worker_set_am_recv_handler(made->worker_, &handler);
  if (status != UCS_OK) return ucx.failure("receive active messages", status);
  if (ucx.worker_get_efd(made->worker_, &made->event_fd_) != UCS_OK) made->event_fd_ = -1;
  return made;
}

bool UcxWorker::is_copy() const { return process_ != ::getpid(); }

void UcxWorker::close() {
  if (worker_ && !is_copy()) context_->ucx().worker_destroy(worker_);
  worker_ = nullptr;
}

Result<std::string> UcxWorker::address() const {
  ucp_address_t* address = nullptr;
  size_t bytes = 0;
  const ucs_status_t status = context_->ucx().worker_get_address(worker_, &address, &bytes);
  if (status != UCS_OK) return context_->ucx().failure("tell a worker's address", status);
  const std::string text(reinterpret_cast<const char*>(address), bytes);
  context_->ucx().worker_release_address(worker_, address);
  if (bytes <= kLongestWorkerAddress) return text;
  return Status(Code::unsupported, "a worker's address has " + std::to_string(bytes) + " bytes, and at most " +
                                       std::to_string(kLongestWorkerAddress) +
                                       " may travel; let UCX use fewer devices (UCX_NET_DEVICES)");
}

bool UcxWorker::progress() {
  for (int round = 0; round < kMostRounds; ++round)
    if (context_->ucx().worker_progress(worker_) == 0) return true;
  return false;
}

bool UcxWorker::arm(std::vector<pollfd>& descriptors) {
  if (event_fd_ < 0 || context_->ucx().worker_arm(worker_) != UCS_OK) return false;
  descriptors.push_back({event_fd_, POLLIN, 0});
  return true;
}

Result<ucp_ep_h> UcxWorker::connect(const std::string& address, ucp_err_handler_cb_t on_failure, void* argument) {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {on_failure, argument};
  ucp_ep_h endpoint = nullptr;
  const ucs_status_t status = context_->ucx().ep_create(worker_, &params, &endpoint);
  if (status != UCS_OK) return Status(Code::unreachable, describe(status));
  return endpoint;
}

ucs_status_ptr_t UcxWorker::send(ucp_ep_h endpoint, const Header& header, Pieces pieces, std::vector<ucp_dt_iov_t>& parts) {
  ucp_request_param_t param{};
  const Buffer buffer = as_buffer(pieces, parts, param);
  if (buffer.bytes > kLongestEager) {
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_AM_SEND_FLAG_RNDV;
  }
  return context_->ucx().am_send(endpoint, kMessageId, &header, sizeof header, buffer.data, buffer.count, &param);
}

ucs_status_ptr_t UcxWorker::fetch(void* description, Pieces pieces, std::vector<ucp_dt_iov_t>& parts) {
  ucp_request_param_t param{};
  const Buffer buffer = as_buffer(pieces, parts, param);
  return context_->ucx().am_recv_data(worker_, description, buffer.data, buffer.count, &param);
}

void UcxWorker::release(void* data) { context_->ucx().am_data_release(worker_, data); }

ucs_status_ptr_t UcxWorker::hang_up(ucp_ep_h endpoint) {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  return context_->ucx().ep_close(endpoint, &param);
}

}  // namespace tutti::ucx

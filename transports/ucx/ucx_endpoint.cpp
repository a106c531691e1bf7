#include "ucx_endpoint.h"

namespace tutti::ucx {

UcxEndpoint::UcxEndpoint(UcxWorker& worker, std::string peer_name, Address address, Status broken)
    : worker_(worker),
      peer_name_(std::move(peer_name)),
      address_(std::move(address)),
      closed_(Code::peer_lost, "the UCX connection to " + peer_name_ + " was closed"),
      failure_(std::move(broken)) {}

Status UcxEndpoint::open() {
  if (handle_ || !failure_.ok()) return failure_;
  auto made = worker_.connect(address_.worker, failed, this);
  if (made.ok()) {
    handle_ = *made;
  } else {
    failure_ = Status(Code::unreachable, peer_name_ + " cannot be reached by UCX: " + made.status().message() +
                                             "; UCX_TLS or UCX_NET_DEVICES may leave the two ranks no network in common");
  }
  return failure_;
}

// UCX's callback: the operations end later, by hang_up().
void UcxEndpoint::failed(void* self, ucp_ep_h, ucs_status_t status) {
  auto& endpoint = *static_cast<UcxEndpoint*>(self);
  try {
    if (endpoint.failure_.ok()) endpoint.failure_ = endpoint.broke(status);
  } catch (const std::bad_alloc&) {
    endpoint.failure_ = endpoint.closed_;
  }
}

Status UcxEndpoint::broke(ucs_status_t status) const {
  return Status(Code::peer_lost, "the UCX connection to " + peer_name_ + " broke: " + worker_.describe(status));
}

void UcxEndpoint::hang_up() {
  if (failure_.ok()) failure_ = closed_;
  if (!handle_) return;
  closing_ = worker_.hang_up(handle_);
  handle_ = nullptr;
}

}  // namespace tutti::ucx

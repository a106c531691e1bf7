// The functions of libibverbs that are used, and its objects.  The library is loaded when it is first asked for.
// Posting and polling need no function of it: the headers go through the device's own table.
#pragma once

#include <infiniband/verbs.h>
#include <unistd.h>

#include <memory>

#include "status.h"

namespace tutti::rdma {

struct Verbs {
  decltype(&ibv_fork_init) fork_init = nullptr;
  decltype(&ibv_get_device_list) get_device_list = nullptr;
  decltype(&ibv_free_device_list) free_device_list = nullptr;
  decltype(&ibv_get_device_name) get_device_name = nullptr;
  decltype(&ibv_open_device) open_device = nullptr;
  decltype(&ibv_close_device) close_device = nullptr;
  decltype(&ibv_query_device) query_device = nullptr;
  decltype(&ibv_query_port) query_port = nullptr;
  decltype(&_ibv_query_gid_ex) query_gid = nullptr;
  decltype(&ibv_get_async_event) get_async_event = nullptr;
  decltype(&ibv_ack_async_event) ack_async_event = nullptr;
  decltype(&ibv_alloc_pd) alloc_pd = nullptr;
  decltype(&ibv_dealloc_pd) dealloc_pd = nullptr;
  decltype(&ibv_reg_mr) reg_mr = nullptr;
  decltype(&ibv_dereg_mr) dereg_mr = nullptr;
  decltype(&ibv_create_comp_channel) create_comp_channel = nullptr;
  decltype(&ibv_destroy_comp_channel) destroy_comp_channel = nullptr;
  decltype(&ibv_create_cq) create_cq = nullptr;
  decltype(&ibv_resize_cq) resize_cq = nullptr;
  decltype(&ibv_destroy_cq) destroy_cq = nullptr;
  decltype(&ibv_get_cq_event) get_cq_event = nullptr;
  decltype(&ibv_ack_cq_events) ack_cq_events = nullptr;
  decltype(&ibv_create_qp) create_qp = nullptr;
  decltype(&ibv_modify_qp) modify_qp = nullptr;
  decltype(&ibv_destroy_qp) destroy_qp = nullptr;
  decltype(&ibv_wc_status_str) status_text = nullptr;

  static Result<const Verbs*> load();  // by the first call in the process; all others get the same answer
};

// An object of libibverbs.  The child of a fork() leaves it alone: through the descriptor that both have it would
// destroy the parent's.
template <class Object>
struct Destroy {
  int (*destroy)(Object*) = nullptr;
  pid_t process = ::getpid();
  void operator()(Object* object) const {
    if (::getpid() == process) (void)destroy(object);
  }
};
template <class Object>
using Owned = std::unique_ptr<Object, Destroy<Object>>;
template <class Object>
Owned<Object> owned(Object* object, int (*destroy)(Object*)) {
  return Owned<Object>(object, Destroy<Object>{destroy});
}

}  // namespace tutti::rdma

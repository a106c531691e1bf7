#include "verbs.h"

#include "shared_library.h"

namespace tutti::rdma {
namespace {

Result<const Verbs*> load_once() {
  auto library = SharedLibrary::load("libibverbs.so.1");
  if (!library.ok()) return library.status();
  static Verbs verbs;
  library->find(verbs.fork_init, "ibv_fork_init");
  library->find(verbs.get_device_list, "ibv_get_device_list");
  library->find(verbs.free_device_list, "ibv_free_device_list");
  library->find(verbs.get_device_name, "ibv_get_device_name");
  library->find(verbs.open_device, "ibv_open_device");
  library->find(verbs.close_device, "ibv_close_device");
  library->find(verbs.query_device, "ibv_query_device");
  library->find(verbs.query_port, "ibv_query_port");
  library->find(verbs.query_gid, "_ibv_query_gid_ex");
  library->find(verbs.get_async_event, "ibv_get_async_event");
  library->find(verbs.ack_async_event, "ibv_ack_async_event");
  library->find(verbs.alloc_pd, "ibv_alloc_pd");
  library->find(verbs.dealloc_pd, "ibv_dealloc_pd");
  library->find(verbs.reg_mr, "ibv_reg_mr");
  library->find(verbs.dereg_mr, "ibv_dereg_mr");
  library->find(verbs.create_comp_channel, "ibv_create_comp_channel");
  library->find(verbs.destroy_comp_channel, "ibv_destroy_comp_channel");
  library->find(verbs.create_cq, "ibv_create_cq");
  library->find(verbs.resize_cq, "ibv_resize_cq");
  library->find(verbs.destroy_cq, "ibv_destroy_cq");
  library->find(verbs.get_cq_event, "ibv_get_cq_event");
  library->find(verbs.ack_cq_events, "ibv_ack_cq_events");
  library->find(verbs.create_qp, "ibv_create_qp");
  library->find(verbs.modify_qp, "ibv_modify_qp");
  library->find(verbs.destroy_qp, "ibv_destroy_qp");
  library->find(verbs.status_text, "ibv_wc_status_str");
  if (Status status = library->complete(); !status.ok()) return status;
  // Before anything is registered.  Kernels since 5.12 copy for the child what is pinned, and then this does nothing.
  (void)verbs.fork_init();
  return &verbs;
}

}  // namespace

Result<const Verbs*> Verbs::load() {
  static const Result<const Verbs*> loaded = load_once();
  return loaded;
}

}  // namespace tutti::rdma

#include "ucx_library.h"

#include <csignal>
#include <cstdlib>

#include "shared_library.h"

namespace tutti::ucx {
namespace {

// UCX's constructors take the program's signals: SIGSEGV and its like to print backtraces, in some versions SIGHUP to
// start a debugger.  They are the program's, so these objects put back what was there.  UCX has a setting for this, but
// it would be read from the environment, which a library cannot change while other threads read it.
class SignalsKept {
 public:
  SignalsKept() {
    for (int signal = 1; signal < kSignals; ++signal) known_[signal] = ::sigaction(signal, nullptr, &before_[signal]) == 0;
  }
  SignalsKept(const SignalsKept&) = delete;
  ~SignalsKept() {
    for (const char* name : {"UCX_HANDLE_ERRORS", "UCX_ERROR_SIGNALS", "UCX_DEBUG_SIGNO"})
      if (std::getenv(name)) return;  // the user wants them
    for (int signal = 1; signal < kSignals; ++signal) {
      struct sigaction now {};
      if (known_[signal] && ::sigaction(signal, nullptr, &now) == 0 && now.sa_sigaction != before_[signal].sa_sigaction)
        ::sigaction(signal, &before_[signal], nullptr);
    }
  }

 private:
  static constexpr int kSignals = NSIG;
  bool known_[kSignals] = {};
  struct sigaction before_[kSignals] = {};
};

Result<Ucx> load_library() {
  const SignalsKept kept;
  auto library = SharedLibrary::load("libucp.so.0");
  if (!library.ok()) return library.status();
  Ucx ucx;
  library->find(ucx.config_read, "ucp_config_read");
  library->find(ucx.config_modify, "ucp_config_modify");
  library->find(ucx.config_release, "ucp_config_release");
  library->find(ucx.init, "ucp_init_version");
  library->find(ucx.cleanup, "ucp_cleanup");
  library->find(ucx.context_query, "ucp_context_query");
  library->find(ucx.worker_create, "ucp_worker_create");
  library->find(ucx.worker_destroy, "ucp_worker_destroy");
  library->find(ucx.worker_query, "ucp_worker_query");
  library->find(ucx.worker_get_address, "ucp_worker_get_address");
  library->find(ucx.worker_release_address, "ucp_worker_release_address");
  library->find(ucx.worker_progress, "ucp_worker_progress");
  library->find(ucx.worker_get_efd, "ucp_worker_get_efd");
  library->find(ucx.worker_arm, "ucp_worker_arm");
  library->find(ucx.worker_set_am_recv_handler, "ucp_worker_set_am_recv_handler");
  library->find(ucx.ep_create, "ucp_ep_create");
  library->find(ucx.ep_close, "ucp_ep_close_nbx");
  library->find(ucx.am_send, "ucp_am_send_nbx");
  library->find(ucx.am_recv_data, "ucp_am_recv_data_nbx");
  library->find(ucx.am_data_release, "ucp_am_data_release");
  library->find(ucx.request_check_status, "ucp_request_check_status");
  library->find(ucx.request_free, "ucp_request_free");
  library->find(ucx.status_string, "ucs_status_string");
  if (Status status = library->complete(); !status.ok()) return status;
  return ucx;
}

}  // namespace

Result<const Ucx*> Ucx::load() {
  static const Result<Ucx> loaded = load_library();
  if (!loaded.ok()) return loaded.status();
  return &*loaded;
}

Status Ucx::failure(const char* doing, ucs_status_t status) const {
  return Status(Code::system, std::string("UCX cannot ") + doing + ": " + status_string(status) +
                                  "; UCX_TLS or UCX_NET_DEVICES may leave it no network, UCX_LOG_LEVEL=info tells more");
}

ucs_status_t Ucx::settle(ucs_status_ptr_t& operation) const {
  if (!UCS_PTR_IS_PTR(operation)) return UCS_PTR_RAW_STATUS(operation);
  const ucs_status_t status = request_check_status(operation);
  if (status == UCS_INPROGRESS) return status;
  request_free(operation);
  operation = UCS_STATUS_PTR(status);
  return status;
}

}  // namespace tutti::ucx

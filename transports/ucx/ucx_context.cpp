#include "ucx_context.h"

#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <string_view>

#include "held_signals.h"
#include "of_process.h"

namespace tutti::ucx {
namespace {

// Older libraries only warn about a newer number, newer ones accept older numbers.
constexpr unsigned kApiMajor = 1, kApiMinor = 13;

struct Shared {
  std::mutex mutex;
  std::weak_ptr<UcxContext> context;
};

// Endpoints that report the end of their peers may use shared memory only if UCX is told so; but it warns of settings
// for what it is not to use.
void allow_shared_memory(const Ucx& ucx, ucp_config_t* config) {
  for (const char* name : {"UCX_MM_ERROR_HANDLING", "UCX_POSIX_ERROR_HANDLING", "UCX_SYSV_ERROR_HANDLING"})
    if (std::getenv(name)) return;
  const char* chosen = std::getenv("UCX_TLS");
  const std::string_view networks = chosen ? chosen : "all";
  for (const std::string_view name : {"all", "sm", "shm", "mm", "posix", "sysv", "^"})
    if (networks.find(name) != std::string_view::npos) return (void)ucx.config_modify(config, "MM_ERROR_HANDLING", "y");
}

}  // namespace

UcxContext::UcxContext(const Ucx& ucx) : ucx_(ucx), process_(::getpid()) {}

// A child of fork() has copies of UCX's descriptors; to clean up there would take them from the parent's event sets.
UcxContext::~UcxContext() {
  if (context_ && process_ == ::getpid()) ucx_.cleanup(context_);
}

Result<std::shared_ptr<UcxContext>> UcxContext::open() {
  Shared& shared = of_process<Shared>();
  const std::lock_guard lock(shared.mutex);
  if (auto found = shared.context.lock()) return found;
  auto made = make();
  if (made.ok() && (*made)->may_be_shared()) shared.context = *made;
  return made;
}

Result<std::shared_ptr<UcxContext>> UcxContext::make() {
  const auto ucx = Ucx::load();
  if (!ucx.ok()) return ucx.status();
  const SignalsHeld held;  // UCX starts a thread
  std::shared_ptr<UcxContext> made(new UcxContext(**ucx));
  ucp_config_t* config = nullptr;
  ucs_status_t status = (*ucx)->config_read(nullptr, nullptr, &config);
  if (status != UCS_OK) return (*ucx)->failure("read its settings", status);
  allow_shared_memory(**ucx, config);
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.mt_workers_shared = 1;  // ranks may be threads
  status = (*ucx)->init(kApiMajor, kApiMinor, &params, config, &made->context_);
  (*ucx)->config_release(config);
  if (status != UCS_OK) {
    made->context_ = nullptr;
    return (*ucx)->failure("open this host's networks", status);
  }
  return made;
}

// Some builds of UCX have no locks: then each transport has a context of its own.
bool UcxContext::may_be_shared() const {
  ucp_context_attr_t attributes{};
  attributes.field_mask = UCP_ATTR_FIELD_THREAD_MODE;
  return ucx_.context_query(context_, &attributes) == UCS_OK && attributes.thread_mode == UCS_THREAD_MODE_MULTI;
}

}  // namespace tutti::ucx

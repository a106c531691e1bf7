#include <pmix.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "clock.h"
#include "launcher_claims.h"
#include "launcher_place.h"
#include "pmi.h"
#include "quiet_thread.h"
#include "shared_library.h"

namespace tutti {
namespace {

constexpr const char* kPmixVariables = "PMIX_RANK and PMIX_NAMESPACE";

// The functions of libpmix that are used.
struct Pmix {
  decltype(&PMIx_Init) init = nullptr;
  decltype(&PMIx_Finalize) finalize = nullptr;
  decltype(&PMIx_Put) put = nullptr;
  decltype(&PMIx_Commit) commit = nullptr;
  decltype(&PMIx_Get) get = nullptr;
  decltype(&PMIx_Fence_nb) fence = nullptr;
  decltype(&PMIx_Error_string) error = nullptr;

  static Result<Pmix> load() {
    auto library = SharedLibrary::load("libpmix.so.2", RTLD_GLOBAL);  // its plug-ins look for its symbols among the global ones
    if (!library.ok()) return library.status();
    Pmix pmix;
    library->find(pmix.init, "PMIx_Init");
    library->find(pmix.finalize, "PMIx_Finalize");
    library->find(pmix.put, "PMIx_Put");
    library->find(pmix.commit, "PMIx_Commit");
    library->find(pmix.get, "PMIx_Get");
    library->find(pmix.fence, "PMIx_Fence_nb");
    library->find(pmix.error, "PMIx_Error_string");
    if (Status status = library->complete(); !status.ok()) return status;
    return pmix;
  }

  Status failed(const char* doing, pmix_status_t status) const {
    return Status(Code::unreachable, std::string("the launcher's key store (PMIx): ") + doing + ": " + error(status));
  }
};

pmix_info_t flag(const char* key) {
  pmix_info_t info;
  std::memset(&info, 0, sizeof info);
  std::strncpy(info.key, key, PMIX_MAX_KEYLEN);
  info.value.type = PMIX_BOOL;
  info.value.data.flag = true;
  return info;
}

// A fence under way.  PMIx may read it until it calls back, and the callback fills it in, perhaps after nobody waits
// any more.
struct FenceResult {
  pmix_proc_t everyone;
  pmix_info_t collect;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  pmix_status_t status = PMIX_SUCCESS;
};

void fence_done(pmix_status_t status, void* data) {
  const std::unique_ptr<std::shared_ptr<FenceResult>> result(static_cast<std::shared_ptr<FenceResult>*>(data));
  const std::lock_guard lock((*result)->mutex);
  (*result)->done = true;
  (*result)->status = status;
  (*result)->changed.notify_all();
}

// Rank, job and server, whose address has its process and port.  In the order of their names: shells pass variables on
// in any order.
std::string inherited_place() {
  std::string place = "PMIx";
  for (const auto& [name, value] : process_environment())
    if (name == "PMIX_RANK" || name == "PMIX_NAMESPACE" || name.starts_with("PMIX_SERVER_URI")) place += ' ' + name + '=' + value;
  return place;
}

// This process's connection to its launcher.  One object that outlives all communicators: PMIx is made to be
// initialized once and finalized at the end of the process.  A process that finalizes it earlier counts as one that has
// left the job: a fence of others then fails, and the job is incomplete for whoever initializes PMIx again, an MPI
// library included.  A process that never finalizes it counts as a crash.
class PmixConnection {
 public:
  ~PmixConnection() {
    if (connected_ && place_.is_ours()) pmix_.finalize(nullptr, 0);  // a child of fork has nothing to say
  }

  struct Opened {
    Pmix pmix;
    pmix_proc_t self;
  };
  static Result<Opened> open() {
    static PmixConnection connection;
    const std::lock_guard lock(connection.mutex_);
    if (!connection.connected_) {
      const Status begun = connection.begin();
      if (!begun.ok()) return begun;
    }
    if (!connection.place_.is_ours()) return connection.place_.refusal(kPmixVariables);
    return Opened{connection.pmix_, connection.self_};
  }

 private:
  Status begin() {
    const auto pmix = Pmix::load();
    if (!pmix.ok()) return pmix.status();
    pmix_ = *pmix;
    if (const Status taken = place_.is_ours() ? Status() : place_.take(inherited_place(), kPmixVariables); !taken.ok())
      return taken;
    const pmix_status_t status = [this] {
      const SignalsHeld held;  // PMIx starts threads
      return pmix_.init(&self_, nullptr, 0);
    }();
    if (status != PMIX_SUCCESS) return pmix_.failed("connecting to the launcher", status);
    connected_ = true;
    return {};
  }

  std::mutex mutex_;
  Pmix pmix_;
  pmix_proc_t self_;
  bool connected_ = false;
  LauncherPlace place_;
};

class PmixStore final : public LauncherStore {
 public:
  PmixStore(const Pmix& pmix, const pmix_proc_t& self) : pmix_(pmix), self_(self), everyone_(self), root_(self) {
    everyone_.rank = PMIX_RANK_WILDCARD;
    root_.rank = 0;
  }

  Status ask_size() {
    pmix_value_t* value = nullptr;
    const pmix_status_t status = pmix_.get(&everyone_, PMIX_JOB_SIZE, nullptr, 0, &value);
    if (status != PMIX_SUCCESS) return pmix_.failed("asking for the number of ranks", status);
    if (value->type == PMIX_UINT32) size_ = static_cast<int>(value->data.uint32);
    std::free(value);  // as PMIx made it; a number holds nothing else
    return {};
  }
  int rank() const override { return static_cast<int>(self_.rank); }
  int size() const override { return size_; }

  Result<std::string> share(const std::string& text, uint64_t deadline) override {
    const std::string key = next_bootstrap_key();
    if (self_.rank == 0) {
      const Status put = publish(key, text);
      if (!put.ok()) return put;
    }
    const Status fenced = fence(deadline);
    if (!fenced.ok()) return fenced;
    pmix_value_t* value = nullptr;
    const pmix_info_t at_once = flag(PMIX_IMMEDIATE);
    const pmix_status_t status = pmix_.get(&root_, key.c_str(), &at_once, 1, &value);
    if (status != PMIX_SUCCESS) return pmix_.failed("reading rank 0's value", status);
    std::string result = value->type == PMIX_STRING && value->data.string != nullptr ? value->data.string : "";
    if (value->type == PMIX_STRING) std::free(value->data.string);
    std::free(value);
    return result;
  }

 private:
  Status publish(const std::string& key, std::string text) {
    pmix_value_t value;
    std::memset(&value, 0, sizeof value);
    value.type = PMIX_STRING;
    value.data.string = text.data();
    pmix_status_t status = pmix_.put(PMIX_GLOBAL, key.c_str(), &value);
    if (status == PMIX_SUCCESS) status = pmix_.commit();
    return status == PMIX_SUCCESS ? Status() : pmix_.failed("storing a value", status);
  }

  Status fence(uint64_t deadline) {
    const auto result = std::make_shared<FenceResult>();
    auto for_callback = std::make_unique<std::shared_ptr<FenceResult>>(result);
    result->everyone = everyone_;
    result->collect = flag(PMIX_COLLECT_DATA);
    const pmix_status_t begun = pmix_.fence(&result->everyone, 1, &result->collect, 1, fence_done, for_callback.get());
    if (begun == PMIX_OPERATION_SUCCEEDED) return {};
    if (begun != PMIX_SUCCESS) return pmix_.failed("a fence", begun);
    for_callback.release();
    std::unique_lock lock(result->mutex);
    const uint64_t now = now_ns();
    const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(now < deadline ? deadline - now : 0);
    if (!result->changed.wait_until(lock, end, [&] { return result->done; }))
      return Status(Code::unreachable,
                    "the launcher's key store (PMIx): no answer in time; do all ranks of the job create this communicator?");
    return result->status == PMIX_SUCCESS ? Status() : pmix_.failed("a fence", result->status);
  }

  const Pmix pmix_;
  pmix_proc_t self_, everyone_, root_;
  int size_ = 0;
};

}  // namespace

Result<std::unique_ptr<LauncherStore>> open_pmix() {
  const auto opened = PmixConnection::open();
  if (!opened.ok()) return opened.status();
  auto store = std::make_unique<PmixStore>(opened->pmix, opened->self);
  const Status sized = store->ask_size();
  if (!sized.ok()) return sized;
  return std::unique_ptr<LauncherStore>(std::move(store));
}

}  // namespace tutti

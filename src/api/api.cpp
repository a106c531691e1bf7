// The C API: library, bootstrap and end of communicators, memory.  Collectives are in api_collectives.cpp, sends,
// receives and requests in api_messages.cpp.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <thread>

#include "api_internal.h"
#include "assembly.h"
#include "clock.h"
#include "join_job.h"
#include "launcher.h"
#include "quiet_thread.h"
#include "registry.h"
#include "thread_bootstrap.h"

namespace tutti::api {
namespace {

static_assert(static_cast<int>(Code::internal) == TUTTI_INTERNAL && static_cast<int>(Code::mismatch) == TUTTI_MISMATCH);
static_assert(static_cast<int>(DataType::uint16) == TUTTI_UINT16 && static_cast<int>(ReduceOp::custom) == TUTTI_CUSTOM);

thread_local std::string thread_error;  // tutti_last_error(NULL): there is no handle to keep it in

Result<Settings> settings_with_warnings(std::vector<std::string>& warnings, const GivenSettings& given = {}) {
  auto settings = load_settings(tutti_environment(), warnings, given);
  if (settings.ok())
    if (Status status = check_transports(*settings, transport_names()); !status.ok()) return status;
  return settings;
}

Result<GivenSettings> given_settings(const tutti_config& config) {
  GivenSettings given;
  if (config.timeout_ms < 0)
    return wrong("tutti_config.timeout_ms is " + std::to_string(config.timeout_ms) + ", must be 0 (TUTTI_TIMEOUT) or more");
  if (config.timeout_ms > 0) given["TUTTI_TIMEOUT"] = {std::to_string(config.timeout_ms) + "ms", "tutti_config.timeout_ms"};
  for (const char* const* text = config.settings; text && *text; ++text)
    if (Status status = give_setting(*text, "tutti_config.settings", given); !status.ok()) return status;
  return given;
}

Log early_log(const Settings& settings) { return Log(settings.debug, "tutti", 2); }

tutti_comm* wrap(std::unique_ptr<Communicator> communicator) {
  auto comm = std::make_unique<tutti_comm>();
  comm->communicator = std::move(communicator);
  return comm.release();
}

// Before the end of a communicator.  While it lives, requests must have been waited for; those of a dead one keep its
// failure.
Status end_requests(tutti_comm& comm) {
  const Status failure = comm.communicator->failed_status();
  const std::lock_guard lock(comm.request_mutex);
  if (comm.requests.empty()) return {};
  if (failure.ok()) {
    const tutti_request& first = **comm.requests.begin();
    const size_t n = comm.requests.size();
    return wrong("tutti_comm_destroy: " + std::to_string(n) + (n == 1 ? " request has" : " requests have") +
                 " not been waited for" +
                 (first.operations.empty() ? "" : ", such as that of " + describe(first.operations.front()->signature())) +
                 "; end each by tutti_wait or tutti_test first");
  }
  for (tutti_request* request : comm.requests) {
    request->failure = failure;
    request->operations.clear();
    request->comm = nullptr;
  }
  return {};
}

Status destroy(tutti_comm* comm, std::optional<uint64_t> limit_ns) {
  if (!comm) return {};
  if (Status status = check_comm(comm); !status.ok()) return status;
  if (Status status = end_requests(*comm); !status.ok()) return status;
  const std::unique_ptr<tutti_comm> owned(comm);
  return comm->communicator->goodbye(limit_ns);
}

Result<JoinOptions> bootstrap_options(const tutti_config& config, const Settings& settings) {
  JoinOptions bootstrap;
  bootstrap.rank = config.rank;
  bootstrap.size = config.size;
  if (config.id) bootstrap.unique_id = std::string(config.id->internal, strnlen(config.id->internal, sizeof config.id->internal));
  if (config.store) bootstrap.store = config.store;
  if (config.callbacks) {
    const tutti_store_callbacks callbacks = *config.callbacks;
    if (!callbacks.set || !callbacks.get) return wrong("tutti_config.callbacks needs both set and get");
    bootstrap.callbacks = StoreCallbacks{
        [callbacks](const std::string& key, const std::string& value) {
          return callbacks.set(callbacks.context, key.c_str(), value.data(), value.size()) == 0;
        },
        [callbacks](const std::string& key, int timeout_ms) -> std::optional<std::string> {
          char value[512];
          size_t length = sizeof value;
          if (callbacks.get(callbacks.context, key.c_str(), value, &length, timeout_ms) != 0 || length > sizeof value)
            return std::nullopt;
          return std::string(value, length);
        }};
  }
  if (config.name) bootstrap.name = config.name;
  bootstrap.setting_rank = settings.rank;
  bootstrap.setting_size = settings.size;
  bootstrap.setting_store = settings.store;
  bootstrap.interface = settings.interface;
  bootstrap.timeout_ns = settings.bootstrap_timeout_ns;
  bootstrap.environment = process_environment();
  bootstrap.log = early_log(settings);
  return bootstrap;
}

Status create(tutti_comm** comm, const tutti_config& config) {
  const auto given = given_settings(config);
  if (!given.ok()) return given.status();
  std::vector<std::string> warnings;
  auto settings = settings_with_warnings(warnings, *given);
  if (!settings.ok()) return settings.status();
  // One rank of each host logs the warnings, once the ranks have met; if they do not meet, a warning may say why.
  const auto fails = [&](const Status& status) {
    for (const auto& warning : warnings) early_log(*settings).warn(warning);
    return status;
  };
  auto options = bootstrap_options(config, *settings);
  if (!options.ok()) return fails(options.status());
  auto joined = join_job(*options);
  if (!joined.ok()) return fails(joined.status());
  AssemblyOptions assembly;
  assembly.warnings = std::move(warnings);
  assembly.rank = joined->membership.rank;
  assembly.size = joined->membership.size;
  assembly.name = options->name;
  assembly.settings = std::move(*settings);
  assembly.bootstrap = std::move(joined->bootstrap);
  assembly.local_end = joined->membership.local_address;
  auto made = assemble(std::move(assembly));
  if (!made.ok()) return made.status();
  *comm = wrap(std::move(*made));
  return {};
}

template <size_t N>
void set_text(char (&to)[N], const std::string& words) {
  std::snprintf(to, N, "%s", words.c_str());
}

tutti_stats stats_of(const Communicator::Statistics& from) {
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  stats.operations = from.totals.operations;
  stats.input_bytes = from.totals.input_bytes;
  stats.sent_bytes = from.totals.sent_bytes;
  stats.received_bytes = from.totals.received_bytes;
  stats.nanoseconds = from.totals.nanoseconds;
  stats.memory_bytes = from.memory_bytes;
  set_text(stats.last_algorithm, from.algorithm);
  set_text(stats.last_reason, from.reason);
  set_text(stats.transports, from.transports);
  stats.last_lanes = from.cut.lanes;
  stats.last_stripe_bytes = static_cast<uint32_t>(from.cut.stripe_bytes);
  stats.last_predicted_us = from.predicted_s * 1e6;
  set_text(stats.last_codec, from.codec);
  return stats;
}

// body(rank) on a thread for each rank; returns when all have ended.  What goes wrong fails the rendezvous.
void run_ranks(ThreadRendezvous& rendezvous, int size, const std::function<void(int)>& body) {
  const auto guarded_body = [&](int rank) {
    try {
      body(rank);
    } catch (const std::bad_alloc&) {
      (void)rendezvous.fail(Status(Code::out_of_memory, "out of memory"));
    }
  };
  std::vector<std::thread> threads;
  try {
    threads.reserve(static_cast<size_t>(size));
    for (int rank = 0; rank < size && rendezvous.failure().ok(); ++rank) {
      auto thread =
          start_quiet_thread([&guarded_body, rank] { guarded_body(rank); }, "tutti-bootstrap",
                             [&rendezvous](const std::string& what) { (void)rendezvous.fail(Status(Code::internal, what)); });
      if (thread.ok())
        threads.push_back(std::move(*thread));
      else
        (void)rendezvous.fail(Status(thread.status().code(), thread.status().message() + " for each rank"));
    }
  } catch (const std::bad_alloc&) {
    (void)rendezvous.fail(Status(Code::out_of_memory, "out of memory"));
  }
  for (auto& thread : threads) thread.join();
}

Status create_local(tutti_comm** comms, int size) {
  std::vector<std::string> warnings;
  auto settings = settings_with_warnings(warnings);
  if (!settings.ok()) return settings.status();
  auto rendezvous = ThreadRendezvous::open(size);
  if (!rendezvous.ok()) return rendezvous.status();
  const auto arena = make_local_arena();
  const uint64_t deadline = now_ns() + settings->bootstrap_timeout_ns;
  std::vector<std::unique_ptr<Communicator>> made(static_cast<size_t>(size));
  const auto create_rank = [&](int rank) {
    AssemblyOptions assembly;
    assembly.rank = rank;
    assembly.size = size;
    assembly.name = "local";
    assembly.settings = *settings;
    assembly.warnings = warnings;
    assembly.bootstrap = std::make_shared<ThreadBootstrap>(*rendezvous, rank, deadline);
    assembly.local_arena = arena;
    auto result = assemble(std::move(assembly));
    if (result.ok())
      made[static_cast<size_t>(rank)] = std::move(*result);
    else
      (void)(*rendezvous)->fail(result.status());
  };
  run_ranks(**rendezvous, size, create_rank);
  if (Status failure = (*rendezvous)->failure(); !failure.ok()) return failure;
  std::vector<std::unique_ptr<tutti_comm>> wrapped;  // all or none are handed out
  for (auto& communicator : made) wrapped.emplace_back(wrap(std::move(communicator)));
  for (auto& comm : wrapped) *comms++ = comm.release();
  return {};
}

}  // namespace

tutti_status report(tutti_comm* comm, const Status& status) {
  if (status.ok()) return TUTTI_SUCCESS;
  if (comm) {
    const std::lock_guard lock(comm->error_mutex);
    comm->last_error = status.message();
  } else {
    thread_error = status.message();
  }
  return static_cast<tutti_status>(status.code());
}

RequestHolder::RequestHolder(tutti_comm* comm) : comm_(comm), request_(new tutti_request{comm, {}, {}, false}) {
  std::unique_ptr<tutti_request> until_known(request_);
  const std::lock_guard lock(comm->request_mutex);
  comm->requests.insert(request_);
  (void)!until_known.release();
}

RequestHolder::~RequestHolder() {
  if (!request_) return;
  {
    const std::lock_guard lock(comm_->request_mutex);
    comm_->requests.erase(request_);
  }
  delete request_;
}

tutti_status end_orphan(tutti_request* request) {
  const std::unique_ptr<tutti_request> owned(request);
  return report(nullptr, request->failure);
}

std::vector<Message>* open_group(const tutti_comm* comm) {
  if (comm->open_groups.load(std::memory_order_acquire) == 0) return nullptr;
  const std::lock_guard lock(comm->group_mutex);
  const auto found = comm->groups.find(std::this_thread::get_id());
  return found != comm->groups.end() ? const_cast<std::vector<Message>*>(&found->second) : nullptr;
}

Status check_comm(const tutti_comm* comm) {
  if (!comm) return wrong("the communicator is NULL");
  if (comm->communicator->in_child())
    return wrong("this communicator was inherited through fork(); only the process that created it may use it");
  return {};
}

}  // namespace tutti::api

using namespace tutti;
using namespace tutti::api;

const char* tutti_version(void) {
#define TUTTI_TEXT(x) #x
#define TUTTI_DOTTED(a, b, c) TUTTI_TEXT(a) "." TUTTI_TEXT(b) "." TUTTI_TEXT(c)
  return TUTTI_DOTTED(TUTTI_VERSION_MAJOR, TUTTI_VERSION_MINOR, TUTTI_VERSION_PATCH);
}

const char* tutti_status_string(tutti_status status) { return code_name(static_cast<Code>(status)); }

const char* tutti_last_error(const tutti_comm* comm) {
  if (!comm) return thread_error.c_str();
  const std::lock_guard lock(comm->error_mutex);
  return comm->last_error.c_str();
}

tutti_status tutti_get_unique_id(tutti_unique_id* id) {
  return guarded(nullptr, [&]() -> Status {
    if (!id) return wrong("tutti_get_unique_id: id is NULL");
    std::vector<std::string> warnings;
    auto settings = settings_with_warnings(warnings);
    if (!settings.ok()) return settings.status();
    auto text = make_unique_id(settings->interface, settings->bootstrap_timeout_ns, early_log(*settings));
    if (!text.ok()) return text.status();
    if (text->size() >= sizeof id->internal) return Status(Code::internal, "a unique id does not fit");
    std::memset(id, 0, sizeof *id);
    std::memcpy(id->internal, text->data(), text->size());
    return {};
  });
}

void tutti_config_init_sized(tutti_config* config, size_t struct_size) {
  init_caller(config, struct_size, {sizeof *config, -1, -1, nullptr, nullptr, nullptr, nullptr, 0, nullptr});
}

void(tutti_config_init)(tutti_config* config) { tutti_config_init_sized(config, sizeof *config); }

tutti_status tutti_comm_create(tutti_comm** comm, const tutti_config* config) {
  return guarded(nullptr, [&]() -> Status {
    if (!comm) return wrong("tutti_comm_create: comm is NULL");
    *comm = nullptr;
    tutti_config ours;
    tutti_config_init(&ours);
    if (config) {
      if (Status status = from_caller(ours, *config); !status.ok()) return status;
    }
    return create(comm, ours);
  });
}

tutti_status tutti_comm_create_local(tutti_comm** comms, int size) {
  return guarded(nullptr, [&]() -> Status {
    if (!comms) return wrong("tutti_comm_create_local: comms is NULL");
    if (size < 1 || size > static_cast<int>(kMostRanks))
      return wrong("tutti_comm_create_local: size is " + std::to_string(size) + ", must be 1 to " + std::to_string(kMostRanks));
    std::fill(comms, comms + size, nullptr);
    return create_local(comms, size);
  });
}

tutti_status tutti_comm_split(tutti_comm* comm, int color, int key, tutti_comm** child) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (!child) return wrong("tutti_comm_split: child is NULL");
    *child = nullptr;
    if (color < -1) return wrong("tutti_comm_split: color is " + std::to_string(color) + ", must be -1 or more");
    auto made = split(*comm->communicator, color, key);
    if (!made.ok()) return made.status();
    if (*made) *child = wrap(std::move(*made));
    return {};
  });
}

tutti_status tutti_comm_create_group(tutti_comm* parent, const int* ranks, int size, int key, int timeout_ms, tutti_comm** child) {
  return guarded(parent, [&]() -> Status {
    if (Status status = check_comm(parent); !status.ok()) return status;
    const std::string who = "tutti_comm_create_group: ";
    if (!child) return wrong(who + "child is NULL");
    *child = nullptr;
    const int all = parent->communicator->size();
    if (!ranks) return wrong(who + "ranks is NULL");
    if (size < 1 || size > all)
      return wrong(who + "size is " + std::to_string(size) + ", must be 1 to " + std::to_string(all) + ", the size of its parent");
    if (key < 0) return wrong(who + "key is " + std::to_string(key) + ", must be 0 or more");
    if (timeout_ms < 0) return wrong(who + "timeout_ms is " + std::to_string(timeout_ms) + ", must be 0 or more");
    const std::vector<int> members(ranks, ranks + size);
    std::vector<bool> named(static_cast<size_t>(all));
    for (const int rank : members) {
      if (rank < 0 || rank >= all)
        return wrong(who + "rank " + std::to_string(rank) + " is not a rank of the parent (0 to " + std::to_string(all - 1) + ")");
      if (named[static_cast<size_t>(rank)]) return wrong(who + "rank " + std::to_string(rank) + " is named twice");
      named[static_cast<size_t>(rank)] = true;
    }
    const auto me = std::find(members.begin(), members.end(), parent->communicator->rank());
    if (me == members.end())
      return wrong(who + "this rank, " + std::to_string(parent->communicator->rank()) +
                   ", is not among the ranks; only members call it");
    const uint64_t timeout_ns = static_cast<uint64_t>(timeout_ms) * kMillisecond;
    auto made = create_group(*parent->communicator, members, static_cast<int>(me - members.begin()), key, timeout_ns);
    if (!made.ok()) return made.status();
    if (timeout_ns > 0) (*made)->set_timeout(timeout_ns);
    *child = wrap(std::move(*made));
    return {};
  });
}

tutti_status tutti_comm_set_timeout(tutti_comm* comm, int timeout_ms) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (timeout_ms < 1) return wrong("tutti_comm_set_timeout: timeout_ms is " + std::to_string(timeout_ms) + ", must be 1 or more");
    comm->communicator->set_timeout(static_cast<uint64_t>(timeout_ms) * kMillisecond);
    return {};
  });
}

tutti_status tutti_comm_status(tutti_comm* comm) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    return comm->communicator->failed_status();
  });
}

tutti_status tutti_comm_abort(tutti_comm* comm, const char* reason) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    comm->communicator->abort(reason ? reason : "");
    return {};
  });
}

tutti_status tutti_comm_destroy(tutti_comm* comm) {
  return guarded(nullptr, [&] { return destroy(comm, {}); });
}

tutti_status tutti_comm_destroy_within(tutti_comm* comm, int timeout_ms) {
  return guarded(nullptr, [&]() -> Status {
    if (timeout_ms < 0)
      return wrong("tutti_comm_destroy_within: timeout_ms is " + std::to_string(timeout_ms) + ", must be 0 or more");
    return destroy(comm, static_cast<uint64_t>(timeout_ms) * kMillisecond);
  });
}

int tutti_comm_rank(const tutti_comm* comm) { return comm ? comm->communicator->rank() : -1; }
int tutti_comm_size(const tutti_comm* comm) { return comm ? comm->communicator->size() : -1; }

tutti_status tutti_comm_stats(const tutti_comm* comm, tutti_stats* stats) {
  return guarded(const_cast<tutti_comm*>(comm), [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (!stats) return wrong("tutti_comm_stats: stats is NULL");
    return to_caller(*stats, stats_of(comm->communicator->statistics()));
  });
}

tutti_status tutti_alloc(tutti_comm* comm, size_t bytes, void** memory) { return tutti_alloc_with(comm, bytes, 0, memory); }

tutti_status tutti_alloc_with(tutti_comm* comm, size_t bytes, unsigned flags, void** memory) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (!memory || bytes == 0) return wrong("tutti_alloc: memory is NULL or bytes is 0");
    *memory = nullptr;
    if ((flags & ~unsigned{TUTTI_ALLOC_UNINITIALIZED | TUTTI_ALLOC_KEEP}) != 0)
      return wrong("tutti_alloc_with: flags are " + std::to_string(flags) +
                   ", must be TUTTI_ALLOC_UNINITIALIZED, TUTTI_ALLOC_KEEP, both or 0");
    *memory = comm->communicator->allocate(
        {.bytes = bytes, .zeroed = (flags & TUTTI_ALLOC_UNINITIALIZED) == 0, .kept = (flags & TUTTI_ALLOC_KEEP) != 0});
    if (!*memory) return Status(Code::out_of_memory, "tutti_alloc: no memory for " + std::to_string(bytes) + " bytes");
    return {};
  });
}

tutti_status tutti_alloc_device(tutti_comm* comm, size_t bytes, void** memory) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (!memory || bytes == 0) return wrong("tutti_alloc_device: memory is NULL or bytes is 0");
    *memory = nullptr;
    const auto allocated = comm->communicator->allocate_on_device(bytes);
    if (!allocated.ok()) return Status(allocated.status().code(), "tutti_alloc_device: " + allocated.status().message());
    *memory = *allocated;
    return {};
  });
}

tutti_status tutti_free(tutti_comm* comm, void* memory) {
  return guarded(comm, [&]() -> Status {
    if (!comm) return memory ? FamilyMemory::free_kept(memory) : Status();
    if (Status status = check_comm(comm); !status.ok()) return status;
    return memory ? comm->communicator->free(memory) : Status();
  });
}

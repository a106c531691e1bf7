// The C API: point to point, groups of sends and receives, and requests of any call.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "api_internal.h"
#include "clock.h"

namespace tutti::api {
namespace {

constexpr tutti_message_options kDefaultMessageOptions = {sizeof(tutti_message_options), 0, nullptr, nullptr};

Status wait_for_all(const tutti_request& request) {
  for (const auto& operation : request.operations)
    if (Status status = request.comm->communicator->wait(*operation); !status.ok()) return status;
  return {};
}

// Blocking, or with `request` only started.
Status start_messages(tutti_comm* comm, const std::vector<Message>& messages, tutti_request** request) {
  if (request) *request = nullptr;
  RequestHolder holder(comm);
  const bool on_device = std::any_of(messages.begin(), messages.end(), [](const Message& message) { return message.on_device; });
  auto operations = on_device ? comm->communicator->start_device_messages(messages, request != nullptr)
                              : comm->communicator->start_messages(messages, request != nullptr);
  if (!operations.ok()) return operations.status();
  holder->operations = std::move(*operations);
  if (!request) return wait_for_all(*holder);
  *request = holder.release();
  return {};
}

Status apply(const tutti_message_options* given, const std::string& who, Message& message) {
  if (!given) return {};
  tutti_message_options options = kDefaultMessageOptions;
  if (Status status = from_caller(options, *given); !status.ok()) return status;
  if (options.timeout_ms < 0) return wrong("tutti_message_options.timeout_ms is negative");
  if (options.received && message.send) return wrong(who + "tutti_message_options.received is of receives only");
  message.timeout_ns = static_cast<uint64_t>(options.timeout_ms) * 1'000'000;
  message.stream = options.stream;
  if (options.received) message.tell = [to = options.received](const Received& got) { *to = {got.source, got.tag, got.count}; };
  return {};
}

Status check(const tutti_comm* comm, const std::string& who, const Message& message, int dtype) {
  const int size = comm->communicator->size();
  const bool any_source = message.peer == kAny && !message.send, any_tag = message.tag == kAny && !message.send;
  if (!any_source && (message.peer < 0 || message.peer >= size))
    return wrong(who + "peer " + std::to_string(message.peer) + " is not a rank of this communicator (0 to " +
                 std::to_string(size - 1) + (message.send ? ")" : "), nor TUTTI_ANY_SOURCE"));
  if (message.tag < 0 && !any_tag)
    return wrong(who + "tag " + std::to_string(message.tag) + " must be 0 or more" + (message.send ? "" : ", or TUTTI_ANY_TAG"));
  if (dtype < 0 || dtype >= kDataTypes) return wrong(who + "unknown dtype " + std::to_string(dtype));
  if (message.count > SIZE_MAX / 2 / element_size(static_cast<DataType>(dtype)))
    return wrong(who + "count " + std::to_string(message.count) + " is too large");
  if (!message.data && message.count > 0) return wrong(who + "the buffer is NULL");
  return {};
}

Status find_device(Communicator& communicator, const std::string& who, Message& message) {
  if (!message.stream && !communicator.sees_devices()) return {};
  const void* const pointer = message.count > 0 ? message.data : nullptr;
  const auto device = communicator.device_of(std::span(&pointer, 1), message.stream);
  Status status = device.status();
  if (device.ok() && *device >= 0) {
    message.on_device = true;
    status = communicator.open_device(*device);
  }
  return status.ok() ? status : Status(status.code(), who + status.message());
}

tutti_status note_or_issue(tutti_comm* comm, bool send, const void* data, size_t count, tutti_dtype dtype, int peer, int tag,
                           const tutti_message_options* options, tutti_request** request, bool starts) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    const std::string who = send ? "tutti_send: " : "tutti_recv: ";
    Message message{.send = send,
                    .data = static_cast<std::byte*>(const_cast<void*>(data)),
                    .count = count,
                    .type = static_cast<DataType>(dtype),
                    .peer = peer,
                    .tag = tag};
    if (Status status = check(comm, who, message, dtype); !status.ok()) return status;
    if (Status status = apply(options, who, message); !status.ok()) return status;
    if (Status status = find_device(*comm->communicator, who, message); !status.ok()) return status;
    if (auto* const group = open_group(comm)) {
      if (starts) return wrong(who + "inside a group use the plain form; tutti_group_end_start gives the request");
      group->push_back(message);
      return {};
    }
    if (starts && !request) return wrong(who + "request is NULL");
    return start_messages(comm, {message}, starts ? request : nullptr);
  });
}

std::vector<Message> close_group(tutti_comm& comm) {
  const std::lock_guard lock(comm.group_mutex);
  auto group = comm.groups.extract(std::this_thread::get_id());
  comm.open_groups = comm.groups.size();
  return std::move(group.mapped());
}

tutti_status end_group(tutti_comm* comm, tutti_request** request, bool starts) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (!open_group(comm)) return wrong("tutti_group_end without tutti_group_begin");
    if (starts && !request) return wrong("tutti_group_end_start: request is NULL");
    return start_messages(comm, close_group(*comm), starts ? request : nullptr);
  });
}

}  // namespace
}  // namespace tutti::api

using namespace tutti;
using namespace tutti::api;

void tutti_message_options_init_sized(tutti_message_options* options, size_t struct_size) {
  init_caller(options, struct_size, kDefaultMessageOptions);
}

void(tutti_message_options_init)(tutti_message_options* options) { tutti_message_options_init_sized(options, sizeof *options); }

tutti_status tutti_send(tutti_comm* comm, const void* input, size_t count, tutti_dtype dtype, int peer, int tag,
                        const tutti_message_options* options) {
  return note_or_issue(comm, true, input, count, dtype, peer, tag, options, nullptr, false);
}
tutti_status tutti_recv(tutti_comm* comm, void* output, size_t count, tutti_dtype dtype, int peer, int tag,
                        const tutti_message_options* options) {
  return note_or_issue(comm, false, output, count, dtype, peer, tag, options, nullptr, false);
}
tutti_status tutti_send_start(tutti_comm* comm, const void* input, size_t count, tutti_dtype dtype, int peer, int tag,
                              const tutti_message_options* options, tutti_request** request) {
  return note_or_issue(comm, true, input, count, dtype, peer, tag, options, request, true);
}
tutti_status tutti_recv_start(tutti_comm* comm, void* output, size_t count, tutti_dtype dtype, int peer, int tag,
                              const tutti_message_options* options, tutti_request** request) {
  return note_or_issue(comm, false, output, count, dtype, peer, tag, options, request, true);
}

tutti_status tutti_group_begin(tutti_comm* comm) {
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (open_group(comm)) return wrong("tutti_group_begin: a group is open already");
    const std::lock_guard lock(comm->group_mutex);
    comm->groups[std::this_thread::get_id()];
    comm->open_groups = comm->groups.size();
    return {};
  });
}
tutti_status tutti_group_end(tutti_comm* comm) { return end_group(comm, nullptr, false); }
tutti_status tutti_group_end_start(tutti_comm* comm, tutti_request** request) { return end_group(comm, request, true); }

tutti_status tutti_wait(tutti_request* request) {
  if (!request) return TUTTI_SUCCESS;
  if (!request->comm) return end_orphan(request);
  tutti_comm* const comm = request->comm;
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    RequestHolder holder(comm, request);
    return wait_for_all(*request);
  });
}

// The request's operations one after another, by end(operation): its status, or none while it is under way.
template <class End>
tutti_status end_if_done(tutti_request* request, int* done, End end) {
  *done = !request->comm;
  if (*done) return end_orphan(request);
  tutti_comm* const comm = request->comm;
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    std::optional<Status> status = Status();
    for (auto& operations = request->operations; !operations.empty() && status->ok(); operations.erase(operations.begin()))
      if (status = end(*comm->communicator, *operations.front()); !status) return {};
    *done = 1;
    RequestHolder(comm, request);
    return *status;
  });
}

tutti_status tutti_test(tutti_request* request, int* done) {
  if (!request || !done) return report(nullptr, wrong("tutti_test: request or done is NULL"));
  return end_if_done(request, done, [](Communicator& communicator, Operation& operation) {
    Status status;
    return communicator.test(operation, status) ? std::optional(status) : std::nullopt;
  });
}

tutti_status tutti_wait_for(tutti_request* request, int timeout_ms, int* done) {
  if (!request || !done) return report(nullptr, wrong("tutti_wait_for: request or done is NULL"));
  if (timeout_ms < 0) return report(request->comm, wrong("tutti_wait_for: timeout_ms is negative"));
  const uint64_t deadline = now_ns() + static_cast<uint64_t>(timeout_ms) * kMillisecond;
  return end_if_done(request, done, [deadline](Communicator& communicator, Operation& operation) {
    return communicator.wait_until(operation, deadline);
  });
}

tutti_status tutti_request_notify(tutti_request* request, tutti_notify_function function, void* context) {
  if (!request || !function) return report(nullptr, wrong("tutti_request_notify: request or function is NULL"));
  if (!request->comm) {
    function(context);
    return TUTTI_SUCCESS;
  }
  tutti_comm* const comm = request->comm;
  return guarded(comm, [&]() -> Status {
    if (Status status = check_comm(comm); !status.ok()) return status;
    if (request->has_completion) return wrong("tutti_request_notify: this request has a function already");
    auto completion = std::make_shared<Completion>(function, context);
    request->has_completion = true;
    comm->communicator->notify(std::move(completion), request->operations);
    return {};
  });
}

// The files of the C API share these: the objects behind the handles, and how a Status becomes a tutti_status.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "call.h"
#include "caller_struct.h"
#include "communicator.h"
#include "status.h"
#include "tensor_codec.h"
#include "tutti/tutti.h"

struct tutti_comm {
  std::unique_ptr<tutti::Communicator> communicator;
  mutable std::mutex error_mutex;  // tutti_wait may be called by another thread
  std::string last_error;
  // Messages between tutti_group_begin and _end, by the thread that called these.
  mutable std::mutex group_mutex;
  std::map<std::thread::id, std::vector<tutti::Message>> groups;
  std::atomic<size_t> open_groups{0};
  std::byte barrier_byte{};
  std::mutex request_mutex;
  std::set<tutti_request*> requests;  // that nobody has waited for to their end
};

struct tutti_codec {
  std::shared_ptr<tutti::TensorCodec> tensor;
};

struct tutti_request {
  tutti_comm* comm;  // null: it failed and was destroyed, and `failure` is all that is left
  std::vector<std::shared_ptr<tutti::Operation>> operations;  // in call order; of a group as many as it has messages
  tutti::Status failure;
  bool has_completion = false;  // tutti_request_notify was called
};

namespace tutti::api {

// Notes the sentence where tutti_last_error(comm) finds it; comm null: for the calling thread.
tutti_status report(tutti_comm* comm, const Status& status);

// Runs `body`, which returns a Status, and lets no exception out.
template <class Body>
tutti_status guarded(tutti_comm* comm, Body body) {
  try {
    return report(comm, body());
  } catch (const std::bad_alloc&) {
    return report(comm, Status(Code::out_of_memory, "out of memory"));
  } catch (const std::exception& e) {
    return report(comm, Status(Code::internal, std::string("unexpected: ") + e.what()));
  }
}

inline Status wrong(std::string sentence) { return Status(Code::invalid_argument, std::move(sentence)); }

#define TUTTI_CALLER_STRUCT(type, first)                                                  \
  template <>                                                                             \
  struct CallerStruct<type> {                                                             \
    static constexpr const char* name = #type;                                            \
    static constexpr size_t least = offsetof(type, first) + sizeof(std::declval<type>().first); \
  }
TUTTI_CALLER_STRUCT(tutti_config, size);
TUTTI_CALLER_STRUCT(tutti_call_options, algorithm);
TUTTI_CALLER_STRUCT(tutti_message_options, timeout_ms);
TUTTI_CALLER_STRUCT(tutti_stats, operations);
TUTTI_CALLER_STRUCT(tutti_codec_config, name);
#undef TUTTI_CALLER_STRUCT

// A request of `comm`, ended with this object unless it is released to the caller.
class RequestHolder {
 public:
  explicit RequestHolder(tutti_comm* comm);
  // Taken back from the caller.
  RequestHolder(tutti_comm* comm, tutti_request* request) : comm_(comm), request_(request) {}
  RequestHolder(const RequestHolder&) = delete;
  ~RequestHolder();
  tutti_request* release() { return std::exchange(request_, nullptr); }
  tutti_request* operator->() const { return request_; }
  tutti_request& operator*() const { return *request_; }

 private:
  tutti_comm* comm_;
  tutti_request* request_;
};

// Ends a request whose communicator failed and was destroyed before it was waited for.
tutti_status end_orphan(tutti_request* request);

// The calling thread has a group open.  If it has, it alone uses what is returned; null: none.
std::vector<Message>* open_group(const tutti_comm* comm);

// A handle that may be used: not null, not in a forked child.
Status check_comm(const tutti_comm* comm);

}  // namespace tutti::api

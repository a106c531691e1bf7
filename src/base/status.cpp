#include "status.h"

#include <cerrno>
#include <cstring>

namespace tutti {

const char* code_name(Code code) {
  switch (code) {
    case Code::success: return "success";
    case Code::invalid_argument: return "invalid argument";
    case Code::unsupported: return "unsupported";
    case Code::out_of_memory: return "out of memory";
    case Code::unreachable: return "unreachable";
    case Code::peer_lost: return "peer lost";
    case Code::timeout: return "timeout";
    case Code::mismatch: return "mismatch";
    case Code::aborted: return "aborted";
    case Code::system: return "system error";
    case Code::internal: return "internal error";
  }
  return "unknown status";
}

const std::string& Status::message() const {
  static const std::string none;
  return error_ ? error_->message : none;
}

Status system_error(const std::string& doing) {
  const int saved = errno;
  return Status(Code::system, doing + ": " + std::strerror(saved));
}

}  // namespace tutti

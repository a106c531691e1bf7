// A Status is an error as a value: a code of the C API and one sentence.  Success costs one null pointer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace tutti {

enum class Code : uint8_t {  // the numbers of tutti_status in tutti/tutti.h; api.cpp asserts that
  success = 0,
  invalid_argument,
  unsupported,
  out_of_memory,
  unreachable,
  peer_lost,
  timeout,
  mismatch,
  aborted,
  system,
  internal,
};

const char* code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : error_(std::make_shared<const Error>(Error{code, std::move(message)})) {}

  bool ok() const { return !error_; }
  Code code() const { return error_ ? error_->code : Code::success; }
  const std::string& message() const;

 private:
  struct Error {
    Code code;
    std::string message;
  };
  std::shared_ptr<const Error> error_;
};

// "opening /x: No such file or directory", with the current errno.
Status system_error(const std::string& doing);

// A value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {}  // NOLINT
  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace tutti

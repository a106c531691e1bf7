// UCX's context: the networks of this process.  All transports share it while one of them lives.
#pragma once

#include <sys/types.h>

#include <memory>

#include "ucx_library.h"

namespace tutti::ucx {

class UcxContext {
 public:
  static Result<std::shared_ptr<UcxContext>> open();
  UcxContext(const UcxContext&) = delete;
  ~UcxContext();

  const Ucx& ucx() const { return ucx_; }
  ucp_context_h get() const { return context_; }

 private:
  static Result<std::shared_ptr<UcxContext>> make();
  explicit UcxContext(const Ucx& ucx);
  bool may_be_shared() const;

  const Ucx& ucx_;
  const pid_t process_;
  ucp_context_h context_ = nullptr;
};

}  // namespace tutti::ucx

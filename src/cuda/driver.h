// CUDA's driver, found when the process runs: one library serves machines with it and without it.
//
// A Driver is there for the whole process once it has been loaded.  All of it may be used from any thread.
#pragma once

#include <string>

#include "driver_abi.h"
#include "status.h"

namespace tutti {
class SharedLibrary;
}

namespace tutti::cuda {

inline constexpr const char* kDriverLibrary = "libcuda.so.1";

// After such an error every call in the context fails: nothing of it can be used until the process ends.
bool is_sticky(Error error);

class Driver {
 public:
  // `library` as dlopen() takes it; the first call that succeeds initializes CUDA, later ones get the same driver.
  static Result<const Driver*> load(const std::string& library = kDriverLibrary);
  // As load(), but null where the process has not loaded the library by itself; nothing is loaded then.
  static Result<const Driver*> if_loaded(const std::string& library = kDriverLibrary);

  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  int version() const { return version_; }  // 12040 is 12.4
  int devices() const { return devices_; }

  // driver.call<"cuMemFree">(address)
  template <Text kName, class... Arguments>
  Error call(Arguments... arguments) const {
    return named<kName>(functions_).function(arguments...);
  }
  template <Text kName>
  bool has() const {  // of functions that a driver may be too old for
    return named<kName>(functions_).function != nullptr;
  }

  std::string name(Error error) const;  // "CUDA_ERROR_OUT_OF_MEMORY"
  // "CUDA cannot allocate 2 GiB on device 0: CUDA_ERROR_OUT_OF_MEMORY (out of memory); see …".  Not for success.
  Status failure(Error error, const std::string& doing) const;
  Status check(Error error, const char* doing) const { return error == Error::success ? Status() : failure(error, doing); }

 private:
  Driver() = default;
  static Result<const Driver*> opened(const std::string& library, bool only_if_loaded);
  Status fill(const std::string& library, SharedLibrary& symbols);

  Functions functions_;
  int version_ = 0, devices_ = 0;
};

}  // namespace tutti::cuda

#include "caller_struct.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "tutti/tutti.h"

namespace tutti::api {
namespace {

// No version's struct is larger: a larger number is a struct that was never filled.
constexpr size_t kMost = 4096;

size_t size_of(const void* theirs) {
  size_t size = 0;
  std::memcpy(&size, theirs, sizeof size);
  return size;
}

Status check_size(size_t size, size_t least, const char* name) {
  if (size >= least && size <= kMost && size % alignof(void*) == 0) return {};
  return Status(Code::invalid_argument, std::string(name) + ".struct_size is " + std::to_string(size) +
                                            ", the size of no version of the struct; set it to sizeof(" + name + ")" +
                                            (std::string(name) == "tutti_stats" ? "" : ", as " + std::string(name) + "_init does"));
}

}  // namespace

Status copy_from_caller(void* ours, size_t our_size, const void* theirs, size_t least, const char* name) {
  const size_t size = size_of(theirs);
  if (Status status = check_size(size, least, name); !status.ok()) return status;
  const auto* bytes = static_cast<const unsigned char*>(theirs);
  const auto* end = bytes + size;
  if (size > our_size && std::any_of(bytes + our_size, end, [](unsigned char byte) { return byte != 0; }))
    return Status(Code::unsupported,
                  std::string(name) + " has " + std::to_string(size) + " bytes in the caller's header and " +
                      std::to_string(our_size) + " in this library, and the caller has set members beyond them: " + "libtutti " +
                      tutti_version() + " is older than the header; update the library, or leave " + "those members zero");
  std::memcpy(ours, theirs, std::min(size, our_size));
  std::memcpy(ours, &our_size, sizeof our_size);
  return {};
}

Status copy_to_caller(void* theirs, const void* ours, size_t our_size, size_t least, const char* name) {
  const size_t size = size_of(theirs);
  if (Status status = check_size(size, least, name); !status.ok()) return status;
  auto* bytes = static_cast<unsigned char*>(theirs);
  std::memcpy(bytes, ours, std::min(size, our_size));
  if (size > our_size) std::memset(bytes + our_size, 0, size - our_size);
  std::memcpy(bytes, &size, sizeof size);
  return {};
}

}  // namespace tutti::api

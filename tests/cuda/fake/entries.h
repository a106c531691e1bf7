// The functions of the fake driver, by the names of those that they stand for.
#pragma once

#include <atomic>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moods.h"
#include "streams.h"

namespace fake_cuda {

struct Row {
  std::string_view name;
  int since;  // the version that brought it
  void* function;
  const std::atomic<uint64_t>* calls;  // how many there have been
};
std::vector<Row> device_rows();
std::vector<Row> memory_rows();
std::vector<Row> stream_rows();
std::vector<Row> graph_rows();
std::vector<Row> kernel_rows();

// Whether the call happens: not where CUDA has ended or has not begun, nor where a mood says that it fails.
Error before_call(std::string_view name);

template <Text kName, class Signature>
struct Called;
template <Text kName, class... Arguments>
struct Called<kName, Error(Arguments...)> {
  static inline std::atomic<uint64_t> calls = 0;  // relaxed: it must order nothing
  template <Error (*kFunction)(Arguments...)>
  static Error call(Arguments... arguments) {
    calls.fetch_add(1, std::memory_order_relaxed);
    const Error error = before_call(kName.chars);
    if (error != Error::success) return error;
    try {
      return kFunction(arguments...);
    } catch (const std::bad_alloc&) {  // a test may see to that
      return Error::out_of_memory;
    }
  }
};

template <Text kName, auto kFunction>
Row row() {
  const Functions functions;
  const auto& entry = named<kName>(functions);
  using Pointer = std::remove_cvref_t<decltype(entry.function)>;
  using Signature = std::remove_pointer_t<Pointer>;
  static_assert(std::is_same_v<decltype(kFunction), Pointer>, "the driver's table has another signature");
  using Caller = Called<kName, Signature>;
  return {kName.chars, entry.since(), reinterpret_cast<void*>(&Caller::template call<kFunction>), &Caller::calls};
}

// What most calls begin with: a context that works, and a stream of it.
Error in_context(Context*& context);
Error put_on(CUstream handle, Work work);

inline void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }

template <class T>
Registry<T>& registry() {
  static Registry<T>* const made = new Registry<T>;  // never destroyed: the program's static objects may end later
  return *made;
}

}  // namespace fake_cuda

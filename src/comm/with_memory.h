// What a body gives, or that there was no memory for it.
#pragma once

#include <new>

#include "status.h"

namespace tutti {

template <class Body>
auto with_memory(Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Status(Code::out_of_memory, "out of memory");
  }
}

}  // namespace tutti

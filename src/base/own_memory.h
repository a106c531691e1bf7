// What is known of an address without asking anybody.
#pragma once

namespace tutti {

// It lies on the calling thread's stack, or in the heap that the process grows by brk(2): small buffers mostly do, and
// nothing else is mapped there.  False says nothing.
bool is_on_stack_or_heap(const void* address);

}  // namespace tutti

// Structs of the C API that begin with struct_size, between a caller and a library that were compiled against different
// headers.
//
// A later version adds members at the end, never in the padding of an earlier one.  The caller's struct_size says which
// of them it has: members that it lacks have their defaults, and members that only it has must be zero.
#pragma once

#include <cstddef>
#include <type_traits>

#include "status.h"

namespace tutti::api {

// Copies what the caller has over `ours`, which holds defaults.  `least`: a struct_size below it means nothing.
Status copy_from_caller(void* ours, size_t our_size, const void* theirs, size_t least, const char* name);

// Copies as much of `ours` as the caller has room for, zeroes what only the caller has, and leaves its struct_size.
Status copy_to_caller(void* theirs, const void* ours, size_t our_size, size_t least, const char* name);

// The name of a struct and the least struct_size, that of a struct with its first member: specialized for each.
template <class Struct>
struct CallerStruct;

template <class Struct>
Status from_caller(Struct& ours, const Struct& theirs) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, struct_size) == 0);
  if (theirs.struct_size == sizeof ours) {
    ours = theirs;
    return {};
  }
  return copy_from_caller(&ours, sizeof ours, &theirs, CallerStruct<Struct>::least, CallerStruct<Struct>::name);
}

template <class Struct>
Status to_caller(Struct& theirs, const Struct& ours) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, struct_size) == 0);
  return copy_to_caller(&theirs, &ours, sizeof ours, CallerStruct<Struct>::least, CallerStruct<Struct>::name);
}

// For the _init functions, whose caller tells the size of its struct: there is nothing to refuse, so a size below the
// least writes nothing.
template <class Struct>
void init_caller(Struct* theirs, size_t their_size, Struct defaults) {
  if (!theirs || their_size < CallerStruct<Struct>::least) return;
  theirs->struct_size = their_size;
  (void)to_caller(*theirs, defaults);
}

}  // namespace tutti::api

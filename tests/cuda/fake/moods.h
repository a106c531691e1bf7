// How the fake driver misbehaves: FAKE_CUDA in the environment, or fake_cuda_mood() of a test, a list with commas.
//
//   late            a stream rests before some of what it does, and so do blocks before they begin
//   shuffled        blocks begin in any order, with any number of threads, and so do nodes of a graph that do not
//                   depend on each other
//   guarded         device memory cannot be touched while no kernel or copy of this process is under way
//   devices=N       there are N (2)
//   version=N       the driver's (13000)
//   memory=N        MiB that a device has (8192)
//   no-ipc          no memory can be shared between processes
//   deaf            what this process writes into memory of another, once opened, does not come there
//   blind           nor does it read what is there
//   no-p2p          no device reaches another
//   no-register     host memory cannot be registered
//   mps             contexts are shared by MPS
//   gone            CUDA has ended, as it has when static objects are destroyed late
//   fail=F:E:N      the N-th call of function F from now on returns error E, of "kernel" the N-th that runs; 0: all
#pragma once

#include <cstdint>
#include <string_view>

#include "driver_abi.h"

namespace fake_cuda {

using tutti::cuda::Error;

struct Moods {
  bool late = false, shuffled = false, guarded = false, ipc = true, p2p = true, register_ = true, mps = false, gone = false,
       deaf = false, blind = false;
  bool may_fail = false;  // some failure is planned
  int devices = 2, version = 13000;
  uint64_t memory = uint64_t{8} << 30;
};

const Moods& moods();
void set_moods(const char* text);              // instead of those before
Error planned_failure(std::string_view name);  // counts a call; success where none is planned
uint32_t any_number();                         // of a generator of the thread's own

}  // namespace fake_cuda

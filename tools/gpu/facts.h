// The parts of gpu_facts.
#pragma once

#include "findings.h"
#include "session.h"

namespace tutti::gpu {

void find_device(const Session& session, Findings& findings);     // what it is, and what calls cost
void find_memory(const Session& session, Findings& findings);     // host memory that kernels read, and what waits for a kernel
void find_rates(const Session& session, Findings& findings);      // of copies and folds
void find_yardstick(const Session& session, Findings& findings);  // what an all-reduce takes that can do nothing else
void find_calls(const Session& session, Findings& findings);
void find_processes(const Session& session, Findings& findings);  // memory and kernels of two processes on one device
int be_peer(const Session& session);                              // the other process: does what its input says

}  // namespace tutti::gpu

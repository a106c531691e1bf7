// Computing, which may take its time: a lane gives work to an executor and goes on when the ticket that it got is done.
//
// Contract.  The one thread that drives the engine calls everything here, and nothing blocks.  Work of one queue is
// carried out in the order given, so its last ticket stands for all before it; between queues there is no order.  Lists
// that work refers to (targets, sources, messages) are read before the function returns.  The memory that they name is
// read and written until the ticket is done; the giver of the work neither changes nor releases it before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arithmetic.h"
#include "kernels.h"
#include "space.h"
#include "vocabulary.h"

namespace tutti {

struct CodedWork;

// Of work that was given to an executor.
using Ticket = uint64_t;
inline constexpr Ticket kDone = 0;  // the work is done already

struct CopyWork {
  void* to;
  const void* from;
  size_t bytes;
  kernels::Store store = kernels::Store::cached;
  Space to_space = Space::host, from_space = Space::host;
};

// to = (left op right) / divisor; pass, if there is one, is the same.
struct ReduceWork {
  const Arithmetic* arithmetic;
  void *to, *pass;
  const void *left, *right;
  size_t bytes;
  uint32_t divisor;
  kernels::Store store;  // concerns `to` only
};

// Each target = (sources[0] op sources[1] op …) / divisor.
struct FoldWork {
  const Arithmetic* arithmetic;
  std::span<const kernels::Target> targets;
  std::span<const void* const> sources;
  size_t bytes;
  uint32_t divisor;
};

// Between 16-bit floats and float32.
struct CastWork {
  DataType type;
  const void* from;
  void* to;
  size_t count;
};

// to = from × factor, of floats; may be the same place.
struct ScaleWork {
  DataType type;
  const void* from;
  void* to;
  size_t count;
  double factor;
};

class Executor {
 public:
  virtual ~Executor() = default;

  virtual Ticket copy(uint32_t queue, const CopyWork& work) = 0;
  virtual Ticket reduce(uint32_t queue, const ReduceWork& work) = 0;
  virtual Ticket fold(uint32_t queue, const FoldWork& work) = 0;
  virtual Ticket coded(uint32_t queue, const CodedWork& work) = 0;
  virtual Ticket widen(uint32_t queue, const CastWork& work) = 0;
  virtual Ticket narrow(uint32_t queue, const CastWork& work) = 0;
  virtual Ticket scale(uint32_t queue, const ScaleWork& work) = 0;

  virtual bool done(Ticket ticket) = 0;  // asking may be what moves the work on
  virtual bool idle() const = 0;         // no work is under way

  // The calls whose work is under way have failed: when this returns nothing touches their memory any more.
  virtual void abandon() noexcept = 0;
};

}  // namespace tutti

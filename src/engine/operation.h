// An Operation is one call under way on one rank.  The engine asks it to advance; it never blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "link_table.h"
#include "progress_thread.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

// A link or a message that went wrong, for the engine to report.
struct Trouble {
  enum class Kind : uint8_t { none, lost, mismatch, damaged, broken } kind = Kind::none;
  int peer = -1;
  Status status;                 // of a loss or a damaged message; of what broke at this rank, its device
  Signature expected, offender;  // of a mismatch: the message as this rank's call expects it, and as it is
};

struct Traffic {
  uint64_t sent_bytes = 0, received_bytes = 0;
};

class Operation {
 public:
  virtual ~Operation() = default;

  // Takes its tickets, and so its place behind earlier operations, once it is certain to be started.
  virtual void enter() noexcept = 0;

  // Does all that can be done now; true if anything was.  `may_start`: all earlier operations have reserved their slots
  // from bank(), so this one may reserve, too.  On trouble fills trouble().
  virtual bool advance(bool may_start) = 0;
  virtual SlotBank* bank() { return nullptr; }  // null: it reserves nothing
  virtual bool started() const = 0;             // has reserved all it will ever need
  virtual bool finished() const = 0;

  // The call returns now, with success or a failure.  May be called several times; the first counts.
  virtual void end(bool /*success*/) {}

  // Takes the operation back, as if it had never been started; false: others take part in it already.
  virtual bool withdraw() noexcept { return false; }

  // The communicator has failed: what waits for this elsewhere than in a call, as streams of a device do, may go on.
  virtual void free_waiters() noexcept {}

  // It may wait for something that no descriptor tells of.
  virtual bool waits_unseen() const { return false; }

  // It waits for this rank's own device, for which nobody else is to blame.
  virtual bool waits_for_device() const { return false; }
  virtual std::string device_wait() const { return {}; }  // then: what has not been done, and what to look for

  // For messages about a call that makes no progress.
  virtual int waits_for() const = 0;  // the rank whose message it needs, -1 if none
  virtual uint32_t step() const = 0;  // of steps()
  virtual uint32_t steps() const = 0;

  const Signature& signature() const { return signature_; }
  std::string_view algorithm() const { return algorithm_; }
  const Trouble& trouble() const { return trouble_; }
  const Traffic& traffic() const { return traffic_; }

  // The engine's notes: when the operation was started; when the engine last looked whether it moved; how long it had
  // not moved by then, and how long at the last report.  A look counts for a second at most: while a whole job or
  // machine is stopped, no rank is late.
  uint64_t started_ns = 0, looked_ns = 0, waited_ns = 0, reported_ns = 0;
  bool has_moved = true, gave_up = false;
  uint64_t timeout_ns = 0;
  uint64_t input_bytes = 0;
  bool is_users = true;                    // and so is counted
  std::shared_ptr<Completion> completion;  // of its end; null: nobody asked
  std::shared_ptr<const void> keeps;       // lives as long as this; may be null
  std::vector<const void*> holds;  // memory of tutti_alloc that the call reads or writes: where each allocation begins

 protected:
  Operation(const Signature& signature, std::string_view algorithm) : signature_(signature), algorithm_(algorithm) {}
  Signature signature_;
  std::string_view algorithm_;
  Trouble trouble_;
  Traffic traffic_;
};

}  // namespace tutti

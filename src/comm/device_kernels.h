// The kernels of one rank's device that carry out the calls of a communicator: where they meet those of the other
// ranks, the order in which they are launched, and what is heard of them.
//
// Ranks meet before their first call on device memory: each tells the others by a DeviceCard what device it has and
// where its arena is, opens the arenas of the others and writes a word there, and all agree on whether every rank could
// and has found the words of all others.
//
// Calls are launched in call order, each behind the one before, whatever their streams: two that ran at once could wait
// for each other's blocks.  A launch that is captured into a graph is in order within its capture only.
//
// Threads: launches one at a time; the rest any.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "communicator_parts.h"
#include "device_arena.h"
#include "device_loans.h"
#include "device_program.h"
#include "kernel_reports.h"
#include "kernel_set.h"
#include "pool_shape.h"
#include "stream.h"

namespace tutti {

// Plain bytes.  Whatever another process says is checked.
struct DeviceCard {
  static constexpr uint32_t kVersion = 2;  // of device_call.h and of this
  uint32_t version = kVersion;
  int32_t device = -1;       // ordinal in its process
  uint64_t process[2] = {};  // a number of the process's that nobody else has drawn
  cuda::CUuuid uuid{};       // of the device
  uint64_t arena = 0;        // its address in that process; 0: there is none, see `why`
  cuda::CUipcMemHandle handle{};
  uint32_t resident_blocks = 0;    // of a kernel, that the device holds at once
  uint8_t can_be_opened = 0;       // `handle` is one
  uint8_t runs_beside_others = 0;  // kernels of several processes run on the device at once
  char why[138] = {};              // what keeps this rank from using kernels
};
static_assert(sizeof(DeviceCard) == 256);

class DeviceKernels {
 public:
  DeviceKernels(const CommunicatorParts& parts, cuda::SharedContext context);
  ~DeviceKernels();

  // What this rank tells the others.  To be called once, before connect().
  DeviceCard make_ready();
  // All ranks' cards, by rank.  An error: kernels cannot be used, and why.  Drivers have called memory reachable where
  // what was written got lost on its way (virtual machines, PCIe switches that translate addresses), so each rank reads
  // and writes a word in the memory of all others.
  Status connect(std::span<const DeviceCard> cards);
  // All ranks have connected: whether their words have come.
  Status hear();
  // All ranks have connected: from now on the control thread looks after the kernels.
  void begin();

  uint32_t lanes() const { return lanes_; }
  DeviceSlots slots() const {
    return {lanes_, shape_.message_bytes(cuda::Protocol::flagged), shape_.message_bytes(cuda::Protocol::stamped)};
  }
  static constexpr int kMostRanks = cuda::ArenaShape::kMostRanks;  // whose programs fit a kernel's own memory

  struct Launch {
    const DeviceProgram& program;
    std::span<const int> peers;  // ranks, in the program's order
    const Binding& binding;
    DataType type;
    ReduceOp op;
    uint32_t lanes;
    DeviceProtocol protocol;
  };
  // Begins a call on this stream: behind what was launched before, and behind the legacy default stream if `stream` is
  // none of the user's (null).  From here to end_call() the first error is kept, and nothing more is done after it.
  // `counted`: the device counts the call in ended() when it has ended; its number then is what end_call() gives.
  void begin_call(const KernelReports::Work& work, void* stream, bool counted);
  // Memory of the rank's own that the present call may use; null after an error.
  std::byte* temporary(size_t bytes);
  void copy(std::byte* to, const std::byte* from, size_t bytes);
  void scale(DataType type, std::byte* to, const std::byte* from, size_t count, double factor);
  void launch(const Launch& launch);
  Result<uint32_t> end_call();
  bool has_lent() const { return has_lent_; }          // the last launch may lend
  bool has_launched() const { return any_launched_; }  // some of the last call: if that failed, the ranks are apart

  const uint32_t* ended() const { return word(Word::ended); }
  std::shared_ptr<const void> words() const { return words_; }
  std::shared_ptr<const DeviceHearsay> hearsay() const { return reports_.hearsay(); }

  bool has_unfinished() const;  // launches, but for those of graphs
  Status health() const;
  // No more launches, and none is under way: waits until other processes have begun what they call with this rank, and
  // have read what it has sent them; lets go of their memory.
  void leave();
  // Once the communicator has failed: calls that have not begun write nothing any more; waits a moment for those that
  // have.
  void settle() const;
  size_t memory_bytes() const;  // on the device, and of programs on the host

 private:
  enum class Word : size_t { given_up, report, ended, greeting, count };
  static constexpr size_t kWordBytes = 64;

  Result<DeviceCard> card();
  Status open_words();
  uint32_t* word(Word which) const { return reinterpret_cast<uint32_t*>(words_->data() + static_cast<size_t>(which) * kWordBytes); }
  cuda::CUdeviceptr word_there(Word which) const { return words_there_ + static_cast<size_t>(which) * kWordBytes; }
  template <class Step>
  void then(Step step) {
    if (status_.ok()) status_ = step();
  }
  std::byte* grown(std::optional<cuda::DeviceMemory>& memory, size_t bytes);
  void place_program(cuda::DeviceCall& call, const std::vector<std::byte>& program);
  Status wait_for_end(uint64_t patience_ns) const;
  Status open_peers(std::span<const DeviceCard> cards);
  Status greet();
  void scale_word(void* to, const void* from) {
    scale(DataType::float64, static_cast<std::byte*>(to), static_cast<const std::byte*>(from), 1, 1);
  }
  // The beginning of the arena as it is now.
  Result<cuda::PinnedMemory> look_at_arena(uint64_t bytes);
  void wait_on_own_stream();
  Result<bool> all_is_taken();

  const CommunicatorParts& parts_;
  const cuda::SharedContext context_;
  const std::shared_ptr<cuda::MemoryPool> pool_;
  cuda::ArenaShape shape_;
  uint32_t lanes_ = 0;
  std::shared_ptr<const cuda::KernelSet> kernels_;
  std::shared_ptr<const cuda::ReachableMemory> arena_;
  std::vector<cuda::PeerMemory> peers_;  // by rank; of this rank its own
  std::unique_ptr<DeviceLoans> loans_;
  KernelReports reports_;
  std::shared_ptr<cuda::PinnedMemory> words_;
  cuda::CUdeviceptr words_there_ = 0;
  std::optional<cuda::Stream> stream_;  // of calls that are on none of the user's
  // Of the legacy default stream; of the last launch; of the last one that was captured.
  std::optional<cuda::Event> start_, event_, captured_event_;

  // Of the last call.
  std::atomic<bool> launched_ = false;  // not into a graph
  bool untracked_ = false;              // some of it has been launched, and event_ does not tell of its end
  bool on_own_stream_ = false;          // it was on stream_
  std::optional<uint64_t> captured_;    // the capture of the last one that was captured
  uint32_t counted_ = 0;
  uint64_t calls_ = 0;  // all, captured ones too; equal at all ranks

  // Of the present call.
  cuda::CUstream on_ = nullptr;
  bool is_own_ = false, is_counted_ = false, is_captured_ = false, any_launched_ = false, has_lent_ = false;
  uint32_t hash_ = 0;
  Status status_;
  // What launches use, graphs at any time.
  struct {
    std::optional<cuda::DeviceMemory> scratch, temporary;
    std::vector<cuda::DeviceMemory> outgrown;
    // Programs that have no room in a launch's parameter, by what is in them.  Repeated calls have the same.
    std::map<std::string, cuda::PinnedMemory> programs;
  } used_;

  bool watched_ = false;
  bool given_back_ = true;  // the arena may be given back: nobody writes into it any more
};

}  // namespace tutti

// What kernels of a communicator may read of each other's memory where it lies (loan.h): that of tutti_alloc_device.
//
// A rank publishes what its family has got on a board of the arena that the ranks of a host share.  When another rank
// makes its next call, it maps what is new, enters it in its table on the call's stream, and notes on the board which
// call that was: its kernels know the memory from that call on.  So whoever makes call n lends what has been noted for
// call n or an earlier one; both ends count the calls alike.  Whatever a board says is checked, and what cannot be
// mapped is not noted.  A call that is captured maps nothing; its launch keeps what it lends.
//
// Threads: those that make calls, one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "binding.h"
#include "communicator_parts.h"
#include "loan.h"
#include "reachable_memory.h"

namespace tutti {

class DeviceLoans {
 public:
  // Waits on the stream until the table is there.
  static Result<std::unique_ptr<DeviceLoans>> create(const CommunicatorParts& parts, const cuda::SharedContext& context,
                                                     const std::shared_ptr<cuda::MemoryPool>& pool, cuda::CUstream stream);
  ~DeviceLoans();
  DeviceLoans(const DeviceLoans&) = delete;
  DeviceLoans& operator=(const DeviceLoans&) = delete;

  // By rank.  Before that nothing is lent.
  void know_processes(std::vector<bool> of_this_process) { of_this_process_ = std::move(of_this_process); }

  // Before a call's launch on this stream: publishes, and maps what others have published.
  Status prepare(cuda::CUstream stream);
  // What prepare() has put on streams has been followed there by the launch of this call, the n-th.
  void note(uint64_t call);

  // What the n-th call may lend to all of these ranks; the rest is empty.
  struct Lent {
    cuda::LentRegion regions[cuda::kMostLent] = {};
    bool any() const { return regions[0].bytes > 0; }
  };
  Lent lent(uint64_t call, std::span<const int> peers, const Binding& binding) const;
  const cuda::DeviceRegion* table() const { return reinterpret_cast<const cuda::DeviceRegion*>(table_->data()); }

  // No kernel of this rank reads others' memory any more.
  void let_go() { mapped_.clear(); }
  // For whoever keeps them, so that others can still read them.
  const std::vector<DeviceRegions::Region>& published() const { return published_; }

 private:
  DeviceLoans(const CommunicatorParts& parts, cuda::SharedContext context, std::shared_ptr<cuda::MemoryPool> pool,
              DeviceRegions::Region table, cuda::PinnedMemory entries);
  void publish(const DeviceRegions::Region& region);
  Result<cuda::DeviceRegion> map(size_t rank, const memory::Region& region);
  void map_new(size_t rank);
  bool reaches_all(uint32_t number, uint64_t call, std::span<const int> peers) const;
  cuda::DeviceRegion* entries_of(size_t rank) const {
    return reinterpret_cast<cuda::DeviceRegion*>(entries_.data()) + rank * cuda::kRegionsOfRank;
  }

  const CommunicatorParts& parts_;
  const cuda::SharedContext context_;
  const std::shared_ptr<cuda::MemoryPool> pool_;
  std::vector<bool> of_this_process_;
  const DeviceRegions::Region table_;  // of which nobody is told
  cuda::PinnedMemory entries_;         // what is in the table, or on its way there
  size_t seen_ = 0;                    // of the family's regions
  std::vector<DeviceRegions::Region> published_;
  std::map<const std::byte*, uint32_t> numbers_;  // of those, by where they begin
  std::vector<cuda::PeerMemory> mapped_;
  struct Reading {
    uint32_t looked_at = 0, noted = 0;  // of the regions that it has published
  };
  std::vector<Reading> readings_;  // by rank
};

}  // namespace tutti

// All algorithms that can serve one call take turns; each is timed on every rank.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "job.h"
#include "workload.h"

namespace tutti::tune {

// Buffers that calls take in turn, so that none finds its data in a cache.
class Region {
 public:
  static Result<Region> create(size_t bytes);
  bench::Placed next(const bench::Workload& work);

 private:
  struct Unmap {
    size_t bytes;
    explicit Unmap(size_t n) : bytes(n) {}
    void operator()(std::byte* memory) const;
  };
  explicit Region(std::byte* memory, size_t bytes) : memory_(memory, Unmap(bytes)), bytes_(bytes) {}

  std::unique_ptr<std::byte, Unmap> memory_;
  size_t bytes_, at_ = 0;
};

struct Contestant {
  std::string algorithm;
  double measured_us = 0;   // median over rounds of the slowest rank's mean
  double predicted_us = 0;  // 0: not predicted
};

struct Contest {
  bench::Workload work;
  std::vector<Contestant> contestants;  // fastest first
  std::string chosen;                   // what Tutti would use
  std::string reason;

  const Contestant* of(const std::string& algorithm) const;
};

// Collective.  Without several hosts hierarchical does not take part.
Result<Contest> hold_contest(const bench::Job& job, const bench::Workload& work, Region& region, int hosts, int rounds);

}  // namespace tutti::tune

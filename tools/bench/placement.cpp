#include "placement.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <vector>

#include "owned_fd.h"

namespace tutti::bench {
namespace {

constexpr int kMostPairs = 255;
constexpr uint64_t kBatches = 25, kTrips = 40;  // the median of 25 batches of 40 round trips
constexpr uint64_t kPatienceNs = 100'000'000;   // for the partner to run at all

std::string tag_of(double round_trip_ns) {
  return round_trip_ns < kSameBelowNs ? "SAME" : round_trip_ns < kCrossBelowNs ? "CROSS" : "BUSY";
}

}  // namespace

// Lines 2i and 2i + 1 belong to the pair of ranks i and i + 1.
struct PlacementProbe::Page {
  uint64_t token;  // proves that the page is the one that rank 0 made
  struct alignas(128) Line {
    std::atomic<uint64_t> value;
  } lines[2 * kMostPairs];
};

void PlacementProbe::Unmap::operator()(Page* page) const { munmap(page, sizeof *page); }

std::string placement_between(const Placement& before, const Placement& after) {
  const double a = before.round_trip_ns, b = after.round_trip_ns;
  if (a == 0 || b == 0 || std::max(a, b) > kCrossBelowNs) return before.tag == after.tag ? before.tag : "BUSY";
  return std::max(a, b) > 1.5 * std::min(a, b) ? "MOVED" : tag_of((a + b) / 2);
}

Result<PlacementProbe> PlacementProbe::create(const Job& job, const Roster& roster) {
  PlacementProbe probe;
  probe.verdict_ = roster.hosts() > 1                          ? "HOSTS"
                   : roster.ranks_here() > roster.cores_here() ? "CROWDED"
                   : job.size() == 1                           ? "SAME"
                                                               : "UNKNOWN";
  if (probe.verdict_ != "UNKNOWN" || job.size() > kMostPairs) return probe;

  // Rank 0's page is reached through its descriptor in /proc, which needs no name and leaves nothing behind.
  struct Offer {
    int fd;
    uint64_t token;
  } offer{-1, 0};
  OwnedFd fd;
  if (job.first()) {
    fd.reset(memfd_create("tutti-bench", MFD_CLOEXEC));
    if (fd && ftruncate(fd.get(), sizeof(Page)) == 0) offer = {fd.get(), std::random_device{}() | uint64_t{1} << 32};
  }
  const auto offers = job.gather(offer);
  if (!offers.ok()) return offers.status();
  const auto& [remote, token] = offers->front();
  if (!job.first()) {
    const std::string path = "/proc/" + std::to_string(roster.ranks.front().pid) + "/fd/" + std::to_string(remote);
    fd.reset(open(path.c_str(), O_RDWR | O_CLOEXEC));
  }
  void* memory = fd && remote >= 0 ? mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0) : MAP_FAILED;
  if (memory != MAP_FAILED) probe.page_.reset(static_cast<Page*>(memory));
  if (probe.page_ && job.first()) probe.page_->token = token;
  if (Status s = job.barrier(); !s.ok()) return s;
  const auto reached = job.gather(static_cast<char>(probe.page_ && probe.page_->token == token));
  if (!reached.ok()) return reached.status();
  if (std::ranges::count(*reached, 1) != job.size()) probe.page_.reset();
  return probe;
}

// One side of the exchange between the ranks `pair` and `pair` + 1; the leader's result is the median round trip in ns,
// 0 if the partner did not answer in time.
double PlacementProbe::ping_pong(size_t pair, bool leads, const Stopwatch& watch) {
  std::atomic<uint64_t>& ping = page_->lines[2 * pair].value;
  std::atomic<uint64_t>& pong = page_->lines[2 * pair + 1].value;
  const uint64_t base = looks_ * (kBatches * kTrips + 1);  // values never come back, so a late answer is never mistaken
  const uint64_t deadline = now_ns() + kPatienceNs;
  const auto seen = [&](const std::atomic<uint64_t>& line, uint64_t value) {
    for (unsigned spins = 1; line.load(std::memory_order_acquire) != value; ++spins)
      if (spins % 4096 == 0 && now_ns() > deadline) return false;
    return true;
  };
  std::vector<double> batches;
  for (uint64_t trip = 1; trip <= kBatches * kTrips;) {
    const uint64_t start = ticks();
    for (uint64_t i = 0; i < kTrips; ++i, ++trip) {
      if (leads) ping.store(base + trip, std::memory_order_release);
      if (!seen(leads ? pong : ping, base + trip)) return 0;
      if (!leads) pong.store(base + trip, std::memory_order_release);
    }
    batches.push_back(watch.ns(ticks() - start) / kTrips);
  }
  std::ranges::nth_element(batches, batches.begin() + kBatches / 2);
  return batches[kBatches / 2];
}

Result<Placement> PlacementProbe::look(const Job& job, const Stopwatch& watch) {
  if (!page_) return Placement{verdict_, 0};
  ++looks_;
  double mine = 0;
  bool answered = true;
  for (const int parity : {0, 1}) {  // disjoint pairs at once, then the others
    if (Status s = job.barrier(); !s.ok()) return s;
    const bool leads = job.rank() % 2 == parity;
    const int pair = leads ? job.rank() : job.rank() - 1;
    if (pair < 0 || pair + 1 >= job.size()) continue;
    const double ns = ping_pong(static_cast<size_t>(pair), leads, watch);
    answered = answered && ns > 0;
    mine = std::max(mine, ns);
  }
  const auto all = job.gather(answered ? mine : -1.0);
  if (!all.ok()) return all.status();
  if (std::ranges::min(*all) < 0) return Placement{"BUSY", 0};
  const double worst = std::ranges::max(*all);
  return Placement{tag_of(worst), worst};
}

}  // namespace tutti::bench

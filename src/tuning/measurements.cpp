#include "measurements.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <optional>

#include "algorithms.h"
#include "bytes.h"
#include "outline.h"
#include "pool_shape.h"

namespace tutti {
namespace {

constexpr double kLongestMeasured = 10;  // seconds; as in machine_profile.cpp
constexpr double kMostFactor = 64;
constexpr uint64_t kLargeRing = MachineProfile::kSizes[MachineProfile::kUnit];

using Number = double& (*)(Measurements&);
constexpr std::array<Number, 18> kNumbers{
    [](Measurements& f) -> double& { return f.intra_host.doubling; },
    [](Measurements& f) -> double& { return f.intra_host.ring; },
    [](Measurements& f) -> double& { return f.intra_host.broadcast_large; },
    [](Measurements& f) -> double& { return f.intra_host.rings[0]; },
    [](Measurements& f) -> double& { return f.intra_host.rings[1]; },
    [](Measurements& f) -> double& { return f.intra_host.rings[2]; },
    [](Measurements& f) -> double& { return f.intra_host.rings[3]; },
    [](Measurements& f) -> double& { return f.inter_host.doubling; },
    [](Measurements& f) -> double& { return f.inter_host.ring; },
    [](Measurements& f) -> double& { return f.inter_host.broadcast_large; },
    [](Measurements& f) -> double& { return f.inter_host.rings[0]; },
    [](Measurements& f) -> double& { return f.inter_host.rings[1]; },
    [](Measurements& f) -> double& { return f.inter_host.rings[2]; },
    [](Measurements& f) -> double& { return f.inter_host.rings[3]; },
    [](Measurements& f) -> double& { return f.inter_host.processor_byte_s; },
    [](Measurements& f) -> double& { return f.copy_byte_s; },
    [](Measurements& f) -> double& { return f.reduce_byte_s; },
    [](Measurements& f) -> double& { return f.cores; }};
constexpr size_t kCores = kNumbers.size() - 1;

// The largest of each: a collective waits for its slowest rank.
Measurements slowest(const std::vector<Measurements>& all) {
  Measurements most;
  for (Measurements measurements : all)
    for (const Number number : kNumbers) number(most) = std::max(number(most), number(measurements));
  return most;
}

// The factor, up to `most`, with which `seconds(factor)`, which grows with it, becomes `wanted`: by false position,
// since it grows almost evenly.
template <class Fn>
double solve(double wanted, double most, Fn seconds) {
  double low = 0, high = 1, below = seconds(low) - wanted, above = seconds(high) - wanted;
  if (below >= 0) return 0;
  for (; above < 0; above = seconds(high) - wanted) {
    if (high >= most) return most;
    low = high;
    below = above;
    high = std::min(2 * high, most);
  }
  double middle = high;
  for (int i = 0; i < 12 && above > 0; ++i) {
    middle = low + (high - low) * below / (below - above);
    const double here = seconds(middle) - wanted;
    if (std::abs(here) < wanted / 1000) break;
    (here < 0 ? low : high) = middle;
    (here < 0 ? below : above) = here;
  }
  return middle;
}

// The ring between the two ranks that were measured.
class TwoRanks {
 public:
  TwoRanks(const RouteTerms& terms, bool intra_host) : terms_(terms), team_(2) {
    if (!intra_host) team_.host = {0, 1};
    outline_ = outline_of(algorithms()[*find_algorithm(Collective::all_reduce, "ring")], team_, 0);
  }
  double seconds(const MachineProfile& profile, uint64_t bytes) const {
    const Cut pieces = cut(terms_, bytes / outline_->blocks(), outline_->widest_run());
    return predict(*outline_, machine_for(profile, team_, bytes), {bytes, pieces.lanes, pieces.stripe_bytes, kEffort}).seconds +
           profile.call_s;
  }

 private:
  static constexpr uint64_t kEffort = 128;
  const RouteTerms& terms_;
  Team team_;
  std::optional<Outline> outline_;
};

// Sets the cost of a class of links, and of memory if slots are handed over.
void conclude_link(const LinkTimes& times, const RouteTerms& terms, bool intra_host, LinkCost& link, MachineProfile& profile) {
  const double hop = std::clamp(times.ring - times.doubling, times.doubling / 10, times.doubling);
  link.overhead_s = hop / 3;  // nothing tells the three apart: sending, being under way, and receiving
  link.latency_s = hop / 3;
  profile.call_s = std::max(profile.call_s, times.doubling - hop);
  link.processor_byte_s = 0;
  link.byte_s = link.streams ? std::max(times.broadcast_large - 2 * times.doubling, 0.0) / static_cast<double>(kLargeRing) : 0;
  const TwoRanks two(terms, intra_host);
  const MachineProfile alone = profile;
  const double most = link.byte_s;
  // Behind a slow link the processor shows in no time of two ranks, but more ranks may share its cores.
  const bool known = link.streams && times.processor_byte_s > 0;
  if (known) link.processor_byte_s = times.processor_byte_s;
  const auto with = [&](double factor) {
    if (known) {
      // The broadcast saw it, too: what is farther off was disturbed.
      link.byte_s = most * std::clamp(factor, 0.5, 2.0);
    } else if (link.streams) {
      link.processor_byte_s = most * factor;
    } else {
      profile.copy_byte_s = alone.copy_byte_s * factor;
      profile.reduce_byte_s = alone.reduce_byte_s * factor;
    }
    return two.seconds(profile, kLargeRing);
  };
  with(solve(times.rings[MachineProfile::kUnit], kMostFactor, with));
  MachineProfile::Scale& scale = intra_host ? profile.intra_host_scale : profile.inter_host_scale;
  for (size_t i = 0; i < scale.size(); ++i) {
    if (i == MachineProfile::kUnit || times.rings[i] == 0) continue;
    const auto scaled = [&](double factor) {
      scale[i] = factor;
      return two.seconds(profile, MachineProfile::kSizes[i]);
    };
    scaled(solve(times.rings[i], kMostFactor, scaled));
  }
}

}  // namespace

std::string encode_measurements(const Measurements& measurements) {
  Measurements f = measurements;
  ByteWriter writer;
  for (const Number number : kNumbers) writer.number(std::bit_cast<uint64_t>(number(f)));
  writer.number(f.machine);
  return writer.take();
}

Result<Measurements> decode_measurements(std::string_view bytes) {
  Measurements measurements;
  ByteReader reader(bytes);
  bool possible = true;
  for (size_t i = 0; i < kNumbers.size(); ++i) {
    double& value = kNumbers[i](measurements);
    value = std::bit_cast<double>(reader.number<uint64_t>());
    possible &= value >= 0 && value <= (i == kCores ? 1e6 : kLongestMeasured);  // false for a not-a-number
  }
  measurements.machine = reader.number<uint64_t>();
  if (!possible || !reader.ok() || !reader.rest().empty())
    return Status(Code::mismatch, "a rank sent measurements that this version of Tutti cannot read");
  return measurements;
}

MachineProfile conclude(const std::vector<Measurements>& all, const RouteTerms& terms, bool intra_host_streams) {
  MachineProfile profile = MachineProfile::standard(intra_host_streams);
  const Measurements most = slowest(all);
  profile.cores = std::max(1.0, most.cores);
  if (most.copy_byte_s > 0) profile.copy_byte_s = most.copy_byte_s;
  if (most.reduce_byte_s > 0) profile.reduce_byte_s = most.reduce_byte_s;
  profile.call_s = 0;
  if (most.intra_host.doubling > 0) conclude_link(most.intra_host, terms, true, profile.intra_host, profile);
  if (most.inter_host.doubling > 0) conclude_link(most.inter_host, terms, false, profile.inter_host, profile);
  std::map<uint64_t, std::vector<int>> hosts_of_machine;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    auto& hosts = hosts_of_machine[all[rank].machine];
    const int host = terms.team.host_of(static_cast<int>(rank));
    if (std::ranges::find(hosts, host) == hosts.end()) hosts.push_back(host);
    profile.neighbours = std::max(profile.neighbours, static_cast<double>(hosts.size()));
  }
  return profile;
}

}  // namespace tutti

#include "machine_profile.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>

#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kMeasuredFor = "measured for ";
constexpr double kMostScale = 64;
constexpr double kLongest = 10;  // seconds; whatever takes longer is no property of a machine

struct Field {
  std::string_view name;
  double& (*of)(MachineProfile& profile);
  double least = 0, most = kLongest;
};
using P = MachineProfile;
constexpr std::array kFields{
    Field{"intra_host.overhead", [](P& p) -> double& { return p.intra_host.overhead_s; }},
    Field{"intra_host.latency", [](P& p) -> double& { return p.intra_host.latency_s; }},
    Field{"intra_host.byte", [](P& p) -> double& { return p.intra_host.byte_s; }},
    Field{"intra_host.processor_byte", [](P& p) -> double& { return p.intra_host.processor_byte_s; }},
    Field{"inter_host.overhead", [](P& p) -> double& { return p.inter_host.overhead_s; }},
    Field{"inter_host.latency", [](P& p) -> double& { return p.inter_host.latency_s; }},
    Field{"inter_host.byte", [](P& p) -> double& { return p.inter_host.byte_s; }},
    Field{"inter_host.processor_byte", [](P& p) -> double& { return p.inter_host.processor_byte_s; }},
    Field{"call", [](P& p) -> double& { return p.call_s; }},
    Field{"reduce_byte", [](P& p) -> double& { return p.reduce_byte_s; }},
    Field{"copy_byte", [](P& p) -> double& { return p.copy_byte_s; }},
    Field{"switch", [](P& p) -> double& { return p.switch_s; }},
    Field{"cores", [](P& p) -> double& { return p.cores; }, 1, 1e6},
    Field{"intra_host.4K", [](P& p) -> double& { return p.intra_host_scale[0]; }, 0, kMostScale},
    Field{"intra_host.64K", [](P& p) -> double& { return p.intra_host_scale[1]; }, 0, kMostScale},
    Field{"intra_host.4M", [](P& p) -> double& { return p.intra_host_scale[3]; }, 0, kMostScale},
    Field{"inter_host.4K", [](P& p) -> double& { return p.inter_host_scale[0]; }, 0, kMostScale},
    Field{"inter_host.64K", [](P& p) -> double& { return p.inter_host_scale[1]; }, 0, kMostScale},
    Field{"inter_host.4M", [](P& p) -> double& { return p.inter_host_scale[3]; }, 0, kMostScale},
    Field{"neighbours", [](P& p) -> double& { return p.neighbours; }, 1, 1e6},
};

Status corrupt(const std::string& why) { return Status(Code::invalid_argument, why); }

}  // namespace

MachineProfile MachineProfile::standard(bool intra_host_streams) {
  MachineProfile p;
  p.intra_host = intra_host_streams ? LinkCost{2e-6, 5e-6, 0.1e-9, 0.15e-9, true} : LinkCost{0.05e-6, 0.2e-6, 0, 0, false};
  p.inter_host = {3e-6, 20e-6, 0.8e-9, 0.2e-9, true};
  p.call_s = 0.3e-6;
  p.reduce_byte_s = 0.12e-9;
  p.copy_byte_s = 0.1e-9;
  p.switch_s = 1e-6;
  p.cores = static_cast<double>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1l));
  return p;
}

std::vector<std::string> profile_lines(const MachineProfile& profile, std::string_view measured_for) {
  MachineProfile p = profile;
  std::vector<std::string> lines{std::string(kMeasuredFor).append(measured_for)};
  for (const Field& field : kFields) {
    char number[32];
    // As many digits as are needed.
    const auto end = std::to_chars(std::begin(number), std::end(number), field.of(p)).ptr;
    lines.push_back(std::string(field.name).append(" ").append(number, end));
  }
  return lines;
}

std::string_view measured_for(const std::vector<std::string>& lines) {
  if (lines.empty() || !lines[0].starts_with(kMeasuredFor)) return {};
  return std::string_view(lines[0]).substr(kMeasuredFor.size());
}

Result<MachineProfile> read_profile(const std::vector<std::string>& lines) {
  if (measured_for(lines).empty() || lines.size() != kFields.size() + 1)
    return corrupt("it is no machine profile of this version of Tutti");
  MachineProfile p;
  for (size_t i = 0; i < kFields.size(); ++i) {
    const Field& field = kFields[i];
    const std::string_view line = lines[i + 1];
    if (!line.starts_with(field.name) || line.substr(field.name.size(), 1) != " ")
      return corrupt("expected machine " + std::string(field.name) + ", not " + in_quotes(line));
    const std::string_view number = line.substr(field.name.size() + 1);
    double value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc() || end != number.data() + number.size() || !(value >= field.least && value <= field.most))
      return corrupt("machine " + std::string(field.name) + ": " + in_quotes(number) + " is no possible value");
    field.of(p) = value;
  }
  return p;
}

std::string describe(const MachineProfile& profile, bool several_hosts) {
  std::string text;
  const auto add = [&](const char* format, double value) {
    char part[100];
    std::snprintf(part, sizeof part, format, value);
    text += part;
  };
  const auto add_rate = [&](const char* format, double byte_s) {
    if (byte_s > 0) add(format, 1e-9 / byte_s);
  };
  const auto add_link = [&](const LinkCost& link) {
    add("latency %.2f µs", link.latency_s * 1e6);
    add(", a message %.2f µs at each end", link.overhead_s * 1e6);
    add_rate(", the link %.2f GB/s", link.byte_s);
    add_rate(", the processor at each end %.2f GB/s", link.processor_byte_s);
    text += "; ";
  };
  text += "intra-host ";
  add_link(profile.intra_host);
  if (several_hosts) {
    text += "inter-host ";
    add_link(profile.inter_host);
  }
  add_rate("copying %.2f GB/s, ", profile.copy_byte_s);
  add_rate("reducing %.2f GB/s, ", profile.reduce_byte_s);
  add("a call %.2f µs", profile.call_s * 1e6);
  return text;
}

double scale_at(const MachineProfile::Scale& scale, uint64_t bytes) {
  const auto& sizes = MachineProfile::kSizes;
  if (bytes <= sizes.front()) return scale.front();
  for (size_t i = 1; i < sizes.size(); ++i) {
    if (bytes >= sizes[i]) continue;
    const double from = std::log2(sizes[i - 1]), to = std::log2(sizes[i]);
    return std::lerp(scale[i - 1], scale[i], (std::log2(bytes) - from) / (to - from));
  }
  return scale.back();
}

Machine machine_for(const MachineProfile& profile, const Team& team, uint64_t bytes) {
  const double intra = scale_at(profile.intra_host_scale, bytes), inter = scale_at(profile.inter_host_scale, bytes);
  Machine machine;
  machine.host = team.host;
  machine.intra_host = profile.intra_host;
  machine.inter_host = profile.inter_host;
  machine.intra_host.byte_s *= intra;
  machine.intra_host.processor_byte_s *= intra;
  machine.inter_host.byte_s *= inter;
  machine.inter_host.processor_byte_s *= inter;
  machine.interface_byte_s = machine.inter_host.byte_s;  // one stream is taken to fill it
  machine.cores = static_cast<int>(profile.cores);
  // Ranks that wait take turns in looking for messages; whoever has become ready comes after those on its core.
  const auto hosts = team.ranks_by_host();
  const auto most = std::ranges::max_element(hosts, {}, [](const auto& ranks) { return ranks.size(); })->size();
  const double sharing = std::min(static_cast<double>(most) * profile.neighbours, static_cast<double>(team.size));
  machine.switch_s = profile.switch_s * std::max(sharing / profile.cores - 1, 0.0);
  const double memory = profile.intra_host.streams ? 1 : intra;
  machine.reduce_byte_s = profile.reduce_byte_s * memory;
  machine.copy_byte_s = profile.copy_byte_s * memory;
  machine.one_machine = profile.neighbours > 1;
  return machine;
}

}  // namespace tutti

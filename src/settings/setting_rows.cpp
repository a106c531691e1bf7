// The table of settings.
#include <algorithm>
#include <array>
#include <iterator>

#include "byte_units.h"
#include "net_address.h"
#include "settings.h"
#include "vocabulary.h"
#include "words.h"

namespace tutti {
namespace {

constexpr uint64_t kShortestTimeout = 1'000'000;                 // 1 ms
constexpr uint64_t kLongestTimeout = 1000 * 3'600'000'000'000u;  // 1000 h
constexpr size_t kLongestText = 4096;
constexpr size_t kLongestHostId = 100;
constexpr uint64_t kSmallestPiece = 64 << 10, kLargestPiece = 1 << 30, kPage = 4096;
constexpr uint64_t kSmallestSlot = 4096, kLargestSlot = 1 << 20, kLargestDeviceSlot = 4 << 20;
static_assert(kMostRanks == 65536);  // as the rows of TUTTI_RANK and TUTTI_SIZE say

Status not_accepted(const std::string& why) { return Status(Code::invalid_argument, why); }

Status read_number(std::string_view text, uint64_t least, uint64_t most, int& value) {
  const auto number = parse_number(text);
  if (!number) return not_accepted(in_quotes(text) + " is no whole number");
  if (*number < least) return not_accepted(std::string(text) + " is too small");
  if (*number > most) return not_accepted(std::string(text) + " is too large");
  value = static_cast<int>(*number);
  return {};
}

Status read_optional_number(std::string_view text, uint64_t least, uint64_t most, int& value) {
  if (!text.empty()) return read_number(text, least, most, value);
  value = -1;
  return {};
}

Status read_switch(std::string_view text, bool& value) {
  if (text != "0" && text != "1") return not_accepted(in_quotes(text) + " is neither 0 nor 1");
  value = text == "1";
  return {};
}

Status read_on_off(std::string_view text, bool& value) {
  if (text != "on" && text != "off") return not_accepted(in_quotes(text) + " is neither on nor off");
  value = text == "on";
  return {};
}

Status read_text(std::string_view text, std::string& value) {
  if (text.size() > kLongestText) return not_accepted("the text is longer than " + std::to_string(kLongestText) + " bytes");
  value = text;
  return {};
}

Status read_timeout(std::string_view text, uint64_t& value) {
  const auto duration = parse_duration(text);
  if (!duration.ok()) return duration.status();
  if (*duration < kShortestTimeout) return not_accepted(in_quotes(text) + " is shorter than 1ms");
  if (*duration > kLongestTimeout) return not_accepted(in_quotes(text) + " is longer than 1000h");
  value = *duration;
  return {};
}

Status read_slot_bytes(std::string_view text, size_t& value) {
  const auto bytes = parse_bytes(text);
  if (!bytes.ok()) return bytes.status();
  const bool power_of_two = (*bytes & (*bytes - 1)) == 0;
  if (*bytes != 0 && (!power_of_two || *bytes < kSmallestSlot || *bytes > kLargestSlot))
    return not_accepted(in_quotes(text) + (power_of_two ? " is out of range" : " is no power of two"));
  value = *bytes;
  return {};
}

Status read_device_use(std::string_view text, DeviceUse& value) {
  constexpr std::string_view kWords[] = {"off", "auto", "staged", "kernels"};  // in the order of DeviceUse
  const auto found = std::ranges::find(kWords, text);
  if (found == std::end(kWords)) return not_accepted(in_quotes(text) + " is none of them" + suggestion(text, kWords));
  value = static_cast<DeviceUse>(found - std::begin(kWords));
  return {};
}

Status read_device_protocol(std::string_view text, std::optional<DeviceProtocol>& value) {
  const auto found = std::ranges::find(kDeviceProtocols, text);
  value.reset();
  if (text == "auto") return {};
  if (found == std::end(kDeviceProtocols))
    return not_accepted(in_quotes(text) + " is none of them" + suggestion(text, kDeviceProtocols));
  value = static_cast<DeviceProtocol>(found - std::begin(kDeviceProtocols));
  return {};
}

Status read_device_slot(std::string_view text, size_t& value) {
  const auto bytes = parse_bytes(text);
  if (!bytes.ok()) return bytes.status();
  if (*bytes != 0 && (*bytes < kPage || *bytes > kLargestDeviceSlot || *bytes % kPage != 0))
    return not_accepted(in_quotes(text) + " is neither 0 nor a multiple of 4K up to 4M");
  value = *bytes;
  return {};
}

Status read_piece_bytes(std::string_view text, size_t& value) {
  const auto bytes = parse_bytes(text);
  if (!bytes.ok()) return bytes.status();
  if (*bytes < kSmallestPiece || *bytes > kLargestPiece) return not_accepted(in_quotes(text) + " is out of range");
  value = (*bytes + kPage - 1) / kPage * kPage;
  return {};
}

Status read_log_level(std::string_view text, LogLevel& value) {
  constexpr std::string_view kWords[] = {"none", "warn", "info", "trace"};  // in the order of LogLevel
  for (size_t i = 0; i < std::size(kWords); ++i) {
    if (text != kWords[i]) continue;
    value = static_cast<LogLevel>(i);
    return {};
  }
  return not_accepted(in_quotes(text) + " is no level" + suggestion(text, kWords));
}

// Which names exist is checked by check_transports().
Status read_transports(std::string_view text, TransportSet& value) {
  TransportSet set;
  if (text != "auto") {
    set.excludes = text.starts_with('^');
    for (const std::string_view word : split(set.excludes ? text.substr(1) : text, ',')) set.names.emplace_back(trim(word));
  }
  value = std::move(set);
  return {};
}

Status read_algorithm(std::string_view text, std::vector<AlgorithmRule>& value) {
  if (text.size() > kLongestText) return not_accepted("the rules are longer than " + std::to_string(kLongestText) + " bytes");
  auto rules = parse_algorithm_rules(text);
  if (!rules.ok()) return rules.status();
  value = std::move(*rules);
  return {};
}

Status read_store(std::string_view text, std::string& value) {
  constexpr std::string_view kFile = "file:";
  if (text.empty()) {
    value.clear();
    return {};
  }
  if (text.starts_with(kFile)) {
    if (!text.substr(kFile.size()).starts_with('/')) return not_accepted(in_quotes(text) + " has no absolute path after file:");
  } else if (const auto parts = parse_host_port(text); !parts.ok()) {
    return parts.status();
  }
  return read_text(text, value);
}

Status read_host_id(std::string_view text, std::string& value) {
  if (text.size() > kLongestHostId) return not_accepted("the text is longer than " + std::to_string(kLongestHostId) + " bytes");
  return read_text(text, value);
}

constexpr std::array<SettingRow, kSettings> kRows{{
    {"TUTTI_ALGORITHM", "rules", "",
     "rules, separated by commas: [collective:][^]name[@from-[to]]; names: ring, tree, recursive, doubling, direct, exchange, "
     "hierarchical, flat",
     "Which algorithm serves which call, by collective and by bytes of data (from ≤ bytes < to); ^ forbids one. Examples: `ring`, "
     "`^tree`, `recursive@0-64K,ring@64K-`, `all_reduce:direct`. Empty: chosen for each call. TUTTI_DETERMINISTIC beats it.",
     true, [](std::string_view text, Settings& s) { return read_algorithm(text, s.algorithm); }},
    {"TUTTI_TRANSPORT", "words", "auto",
     "auto (all), or names of transports, separated by commas; ^ before the list excludes instead",
     "The transports that may be used; `tutti-info` lists them.", false,
     [](std::string_view text, Settings& s) { return read_transports(text, s.transport); }},
    {"TUTTI_INTERFACE", "text", "",
     "eth,ib (prefixes), =eth0 (exactly), ^docker,lo (all but these prefixes), ^=eth0 (all but exactly)",
     "The network interface that other hosts connect to: the first one that is up and matches. Empty: the one that routes to the "
     "rendezvous. It also says which RDMA devices may be used, by their own names (mlx5_0, ^rxe) or those of their interfaces.",
     false, [](std::string_view text, Settings& s) { return read_text(text, s.interface); }},
    {"TUTTI_LANES", "number", "0", "0 (automatic) to 64", "Stripes of every block that are in flight at once.", true,
     [](std::string_view text, Settings& s) { return read_number(text, 0, 64, s.lanes); }},
    {"TUTTI_SLOT_BYTES", "size", "0", "0 (automatic), or a power of two from 4K to 1M",
     "Size of a message slot. Slots are smaller where all of a rank's would exceed 16 MiB, and larger where a message of many "
     "ranks "
     "needs it.",
     true, [](std::string_view text, Settings& s) { return read_slot_bytes(text, s.slot_bytes); }},
    {"TUTTI_THREADS", "number", "0", "0 (automatic) to 64",
     "Threads that work on one large reduction of this rank. 0: as many as the cores it may run on, divided among the ranks of "
     "this host that share them.",
     false, [](std::string_view text, Settings& s) { return read_number(text, 0, 64, s.threads); }},
    {"TUTTI_TIMEOUT", "duration", "10m", "1ms to 1000h: seconds, or a number with ms, s, m or h",
     "A call without any progress for this long fails and names the late rank. Time in which the whole job, or the machine, was "
     "stopped does not count. It also bounds how long tutti_comm_destroy waits.",
     false, [](std::string_view text, Settings& s) { return read_timeout(text, s.timeout_ns); }},
    {"TUTTI_BOOTSTRAP_TIMEOUT", "duration", "2m", "1ms to 1000h: seconds, or a number with ms, s, m or h",
     "The longest time that creating a communicator may take.", false,
     [](std::string_view text, Settings& s) { return read_timeout(text, s.bootstrap_timeout_ns); }},
    {"TUTTI_DEBUG", "word", "warn", "none, warn, info or trace", "How much is logged.", false,
     [](std::string_view text, Settings& s) { return read_log_level(text, s.debug); }},
    {"TUTTI_DEBUG_FILE", "path", "", "a path; %h is the host, %p the process id, %r the rank",
     "The file that log lines are appended to. Empty: stderr.", false,
     [](std::string_view text, Settings& s) { return read_text(text, s.debug_file); }},
    {"TUTTI_DETERMINISTIC", "switch", "0", "0 or 1",
     "1: results do not depend on algorithm, message size, lanes or transport either.", true,
     [](std::string_view text, Settings& s) { return read_switch(text, s.deterministic); }},
    {"TUTTI_TUNING", "word", "on", "on or off",
     "on: the machine is measured when a communicator is created (a few milliseconds), and each call is served by the algorithm "
     "that "
     "is predicted to be fastest. off: by fixed sizes.",
     true, [](std::string_view text, Settings& s) { return read_on_off(text, s.tuning); }},
    {"TUTTI_TUNING_FILE", "path", "", "a path that rank 0 can read",
     "A file of rules, as tutti-tune writes it, for which algorithm serves which calls. TUTTI_ALGORITHM beats it.", true,
     [](std::string_view text, Settings& s) { return read_text(text, s.tuning_file); }},
    {"TUTTI_TUNING_CACHE", "path", "", "a directory",
     "Where rank 0 keeps what was measured of the machine, so that later communicators need not measure it again. Empty: nowhere.",
     true, [](std::string_view text, Settings& s) { return read_text(text, s.tuning_cache); }},
    {"TUTTI_TOPOLOGY_DUMP", "path", "", "a path", "Where rank 0 writes what it found out about the machine.", false,
     [](std::string_view text, Settings& s) { return read_text(text, s.topology_dump); }},
    {"TUTTI_HOSTID", "text", "", "at most 100 bytes",
     "Replaces the identity of the host: ranks with different ones do not share memory.", false,
     [](std::string_view text, Settings& s) { return read_host_id(text, s.host_id); }},
    {"TUTTI_RANK", "number", "", "0 to 65535, less than TUTTI_SIZE", "This process's rank, where no launcher says it.", false,
     [](std::string_view text, Settings& s) { return read_optional_number(text, 0, kMostRanks - 1, s.rank); }, "tutti_config.rank"},
    {"TUTTI_SIZE", "number", "", "1 to 65536", "The number of ranks, where no launcher says it.", false,
     [](std::string_view text, Settings& s) { return read_optional_number(text, 1, kMostRanks, s.size); }, "tutti_config.size"},
    {"TUTTI_STORE", "address", "", "host:port, or file:/path that all ranks see",
     "Where the ranks meet, where no launcher says it; rank 0 listens on host:port.", false,
     [](std::string_view text, Settings& s) { return read_store(text, s.store); }, "tutti_config.store"},
    {"TUTTI_TCP_CONNECTIONS", "number", "1", "1 to 16", "TCP connections between two ranks.", true,
     [](std::string_view text, Settings& s) { return read_number(text, 1, 16, s.tcp_connections); }},
    {"TUTTI_TCP_CONGESTION", "text", "", "system, or a name from net.ipv4.tcp_available_congestion_control, such as cubic",
     "The congestion control of TCP connections that carry data. Empty: reno where the system's is bbr or cubic and the way there "
     "and back takes at most 2 ms, since both misjudge the bursts of collective calls; otherwise, and with `system`, the system's.",
     false, [](std::string_view text, Settings& s) { return read_text(text, s.tcp_congestion); }},
    {"TUTTI_RDMA_GID", "number", "", "0 to 255",
     "Which address (GID) of RDMA ports other ranks are given, by its index; `tutti-info` lists them. Empty: chosen by type (RoCE "
     "v2 "
     "before v1) and route.",
     false, [](std::string_view text, Settings& s) { return read_optional_number(text, 0, 255, s.rdma_gid); }},
    {"TUTTI_CUDA", "text", "auto", "auto, off, staged or kernels",
     "What is done for memory of CUDA devices, which is recognized, unless off, in processes that have loaded CUDA when a "
     "communicator is created, and once a call names a stream. staged: its data go through the host's memory. auto: kernels "
     "reduce and move them where all ranks' kernels run at once and reach each other's memory. kernels: also where processes "
     "share a device by turns, which is slow.",
     true, [](std::string_view text, Settings& s) { return read_device_use(text, s.cuda); }},
    {"TUTTI_CUDA_LANES", "number", "0", "0 (automatic) to 128",
     "Blocks of threads by which a rank's kernel runs. Those of all ranks on a device must fit there at once.", true,
     [](std::string_view text, Settings& s) { return read_number(text, 0, 128, s.cuda_lanes); }},
    {"TUTTI_CUDA_SLOT_BYTES", "size", "0", "0 (automatic), or a multiple of 4K up to 4M",
     "Size of a slot of flagged messages in a device's memory, of which there are two for each lane of each other rank.", true,
     [](std::string_view text, Settings& s) { return read_device_slot(text, s.cuda_slot_bytes); }},
    {"TUTTI_CUDA_PROTOCOL", "text", "auto", "auto, flagged or stamped",
     "How messages of kernels travel. flagged: data, and then a word that they are there, for any size. stamped: each 8 bytes are "
     "4 of data and a stamp, so that nothing is waited for but the data; for small sizes. auto: by size.",
     true, [](std::string_view text, Settings& s) { return read_device_protocol(text, s.cuda_protocol); }},
    {"TUTTI_CUDA_PIECE_BYTES", "size", "4M", "from 64K to 1G",
     "Data of devices that go through the host's memory do so in pieces of this size; three each way are under way, in memory of "
     "the rank's own.",
     true, [](std::string_view text, Settings& s) { return read_piece_bytes(text, s.cuda_piece_bytes); }},
    {"TUTTI_CUDA_LIBRARY", "path", "libcuda.so.1", "a name or a path as dlopen takes it", "CUDA's driver library.", false,
     [](std::string_view text, Settings& s) { return read_text(text, s.cuda_library); }},
    {"TUTTI_CONF_FILE", "path", "", "a path", "A file with lines `TUTTI_X=value`, for what the environment does not set.", false,
     [](std::string_view text, Settings& s) { return read_text(text, s.conf_file); },
     "the environment, or give its lines as settings"},
}};

}  // namespace

std::span<const SettingRow, kSettings> setting_rows() { return kRows; }

}  // namespace tutti

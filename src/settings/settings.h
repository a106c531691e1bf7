// The settings of a user.  One table (setting_rows.cpp) is the source of every name, default, meaning and accepted
// value.  The loader, the error sentences, docs/environment.md and tutti-info's listing all read it.
//
// Precedence: what the program gives for one communicator, then the environment, then the file that TUTTI_CONF_FILE
// names, then the default.  An empty value means the default.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "algorithm_rules.h"
#include "log.h"
#include "status.h"
#include "tuning_rules.h"

namespace tutti {

// The transports that a user allows, by name: those listed, or all but those.
struct TransportSet {
  bool excludes = true;
  std::vector<std::string> names;
  bool allows(std::string_view name) const;
  bool asks_for(std::string_view name) const { return !excludes && allows(name); }  // by name
  bool operator==(const TransportSet&) const = default;
};

// What is done for memory of CUDA devices.
enum class DeviceUse : uint8_t {
  off,        // it is not recognized
  automatic,  // kernels where all ranks' kernels run at once and reach each other's memory, else by way of the host's
  staged,     // always by way of the host's memory
  kernels,    // kernels also where those of several processes share a device by turns
};

struct Settings;

struct SettingRow {
  std::string_view name;      // "TUTTI_LANES"
  std::string_view type;      // "number"
  std::string_view standard;  // the default, as a user would write it; "" where there is none
  std::string_view accepts;   // what a value may be
  std::string_view meaning;
  bool shapes_wire;                                            // rank 0's value is used by all ranks
  Status (*parse)(std::string_view text, Settings& settings);  // "" where `standard` is "": back to the default
  std::string_view instead = {};  // where a program cannot give it for one communicator: what it can give
};
inline constexpr size_t kSettings = 29;
std::span<const SettingRow, kSettings> setting_rows();

// A setting's value as it was written, and where: "default", "environment", "/etc/tutti.conf:7", "rank 0".
struct SettingOrigin {
  std::string text, source;
  bool operator==(const SettingOrigin&) const = default;
};

struct Settings {
  Settings();  // every default, from the table

  std::vector<AlgorithmRule> algorithm;
  TransportSet transport;
  std::string interface;  // see choose_local_address
  int lanes = 0;          // 0: automatic
  size_t slot_bytes = 0;  // 0: automatic
  int threads = 0;        // 0: automatic
  uint64_t timeout_ns = 0;
  uint64_t bootstrap_timeout_ns = 0;
  LogLevel debug = LogLevel::warn;
  std::string debug_file;  // a pattern, see open_log_file
  bool deterministic = false;
  bool tuning = true;
  std::string tuning_file, tuning_cache;  // paths; "": none
  std::string topology_dump;
  std::string host_id;  // see host_id()
  int rank = -1;        // -1: not set
  int size = -1;        // -1: not set
  std::string store;    // "host:port" or "file:/path"
  int tcp_connections = 0;
  int rdma_gid = -1;           // -1: automatic
  DeviceUse cuda = DeviceUse::automatic;
  int cuda_lanes = 0;          // 0: automatic
  size_t cuda_slot_bytes = 0;  // 0: automatic
  std::optional<DeviceProtocol> cuda_protocol;  // none: by size
  size_t cuda_piece_bytes = 0;
  std::string cuda_library;    // as dlopen() takes it
  std::string tcp_congestion;  // empty: what suits the path; "system": the system's
  std::string conf_file;

  std::array<SettingOrigin, kSettings> origins;  // in the order of setting_rows()
};

// Variables by name.
using Environment = std::map<std::string, std::string, std::less<>>;
Environment tutti_environment();  // those of this process whose names begin with TUTTI_

// "name = value" lines of a settings file, or what a program gives: name → (value, "path:line").
struct GivenSetting {
  std::string text, source;
};
using GivenSettings = std::map<std::string, GivenSetting, std::less<>>;

// Adds "TUTTI_LANES=4", which a program gives for one communicator.  An error for what is no setting, or none that a
// communicator may have of its own, and for what was already given.
Status give_setting(std::string_view text, const std::string& source, GivenSettings& given);

// The first wrong value is an error that names variable, value, source, what is accepted and the nearest accepted word.
// A TUTTI_ name that does not exist becomes a warning that suggests the nearest one.
Result<Settings> load_settings(const Environment& environment, std::vector<std::string>& warnings, const GivenSettings& given = {});

// Compares TUTTI_TRANSPORT with the transports that exist, which this room does not know.  An error, like those of
// load_settings, if the list names another transport or leaves none.
Status check_transports(const Settings& settings, std::span<const std::string_view> known);

// # begins a comment line.
Result<GivenSettings> parse_settings_file(std::string_view content, const std::string& path);

// The settings that shape the wire, as rank 0 hands them to the other ranks at bootstrap; at most kLongestWireSettings
// bytes.
inline constexpr size_t kLongestWireSettings = 16384;
std::string encode_wire_settings(const Settings& settings);
// Adopts them.  A local value that was set and differs is named in `warnings`.  On error `settings` is unchanged.
Status apply_wire_settings(std::string_view encoded, Settings& settings, std::vector<std::string>& warnings);

// docs/environment.md
std::string environment_document();

}  // namespace tutti

#include "report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "byte_units.h"
#include "spec.h"

namespace tutti::info {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// Rows with their columns aligned; the last one is as wide as it is.
std::string table(const Rows& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line = " ";
    for (size_t i = 0; i < row.size(); ++i)
      line += " " + row[i] + (i + 1 < row.size() ? std::string(widths[i] - row[i].size() + 1, ' ') : "");
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string state(const TransportFacts& transport) {
  return !transport.built ? "not built" : transport.allowed ? "ready" : "excluded by TUTTI_TRANSPORT";
}

std::string machine(const Facts& facts) {
  Rows rows{{"host", facts.host + " (" + facts.host_id + ")"},
            {"processor", facts.topology.processor.empty() ? "unknown" : facts.topology.processor},
            {"topology", facts.topology.summary() + " (" + facts.topology.source + ")"}};
  for (size_t i = 0; i < facts.topology.l3_threads.size(); ++i)
    rows.push_back({"L3 " + std::to_string(i), "hardware threads " + facts.topology.l3_threads[i]});
  const std::string place = describe(facts.locality);
  rows.push_back({"this process", place.empty() ? "is bound to no part of the machine" : "runs within " + place});
  rows.push_back({"kernels", facts.kernels});
  return "\nMachine\n" + table(rows);
}

std::string network(const Facts& facts) {
  Rows rows;
  for (const Interface& interface : facts.interfaces) {
    const bool chosen = facts.address && facts.address->address == interface.address;
    rows.push_back(
        {interface.name, interface.up ? "up" : "down", interface.address.host(), chosen ? "chosen: " + facts.address->reason : ""});
  }
  return "\nInterfaces\n" + table(rows);
}

std::string others_of(const CudaDeviceFacts& device) {
  std::string text;
  for (const int peer : device.reaches) text += (text.empty() ? "" : ", ") + std::to_string(peer);
  return text.empty() ? "reaches no other" : "reaches " + text;
}

std::string cuda(const CudaFacts& facts) {
  Rows rows;
  rows.push_back({"driver", facts.driver_version ? "of CUDA " + version_text(*facts.driver_version) + " (" + facts.library + ")"
                                                 : facts.state});
  if (facts.driver_version && !facts.state.empty()) rows.push_back({"devices", facts.state});
  std::string text = table(rows);
  rows.clear();
  for (const CudaDeviceFacts& device : facts.devices) {
    const std::string number = "device " + std::to_string(device.number);
    if (device.trouble.empty())
      rows.push_back({number, device.name, device.capability,
                      describe_bytes(device.memory_bytes) + ", " + describe_bytes(device.free_bytes) + " free", device.pci_bus_id,
                      device.uuid, others_of(device), device.mps ? "MPS" : "no MPS",
                      device.kernels.empty() ? "kernels" : "no kernels: " + device.kernels});
    else
      rows.push_back({number, device.trouble});
  }
  return "\nCUDA\n" + text + table(rows);
}

std::string memory(const Facts& facts) {
  Rows rows;
  for (const MemoryFacts& m : facts.memory)
    rows.push_back({std::to_string(m.ranks) + (m.ranks == 1 ? " rank" : " ranks"), describe_bytes(m.at_creation) + " at creation",
                    describe_bytes(m.after_all_reduce) + " after an all-reduce of 1 MiB"});
  return "\nMemory of one communicator on one rank (ranks of one process)\n" + table(rows);
}

}  // namespace

std::string as_text(const Facts& facts) {
  std::string text = "Tutti " + facts.version + "\n";
  Rows rows;
  for (const auto& [name, value] : facts.build) rows.push_back({name, value});
  text += table(rows) + machine(facts);

  rows.clear();
  for (const TransportFacts& transport : facts.transports) rows.push_back({transport.name, state(transport), transport.reach});
  text += "\nTransports\n" + table(rows);
  rows.clear();
  for (const TransportFacts& transport : facts.transports)
    for (const TransportDevice& device : transport.devices) rows.push_back({transport.name, device.name, device.state});
  text += table(rows) + network(facts) + cuda(facts.cuda);
  if (!facts.memory.empty()) text += memory(facts);

  rows.clear();
  for (const CodecName& codec : codec_names()) rows.push_back({std::string(codec.name), std::string(codec.summary)});
  text += "\nCodecs (docs/compression.md)\n" + table(rows);

  rows.clear();
  for (size_t i = 0; i < kSettings; ++i) {
    const SettingOrigin& origin = facts.settings.origins[i];
    rows.push_back({std::string(setting_rows()[i].name), origin.text.empty() ? "-" : origin.text, origin.source});
  }
  text += "\nSettings (docs/environment.md says what they mean)\n" + table(rows);
  for (const std::string& warning : facts.warnings) text += "warning: " + warning + "\n";
  return text;
}

namespace {

nlohmann::ordered_json devices_of(const TransportFacts& transport) {
  auto devices = nlohmann::ordered_json::array();
  for (const TransportDevice& device : transport.devices) devices.push_back({{"name", device.name}, {"state", device.state}});
  return devices;
}

nlohmann::ordered_json cuda_json(const CudaFacts& facts) {
  using nlohmann::ordered_json;
  ordered_json json{{"library", facts.library}, {"state", facts.state}};
  json["driver_version"] = facts.driver_version ? ordered_json(version_text(*facts.driver_version)) : ordered_json(nullptr);
  json["devices"] = ordered_json::array();
  for (const CudaDeviceFacts& device : facts.devices)
    json["devices"].push_back({{"device", device.number},
                               {"name", device.name},
                               {"compute_capability", device.capability},
                               {"memory_bytes", device.memory_bytes},
                               {"free_bytes", device.free_bytes},
                               {"pci_bus_id", device.pci_bus_id},
                               {"uuid", device.uuid},
                               {"reaches", device.reaches},
                               {"mps", device.mps},
                               {"has_kernels", device.trouble.empty() && device.kernels.empty()},
                               {"why_no_kernels", device.kernels},
                               {"trouble", device.trouble}});
  return json;
}

}  // namespace

std::string as_json(const Facts& facts) {
  using nlohmann::ordered_json;
  ordered_json json;
  json["version"] = facts.version;
  for (const auto& [name, value] : facts.build) json["build"][name] = value;
  const Topology& topology = facts.topology;
  json["host"] = {{"name", facts.host}, {"id", facts.host_id}};
  json["topology"] = ordered_json{{"source", topology.source},
                                  {"processor", topology.processor},
                                  {"packages", topology.packages},
                                  {"numa_nodes", topology.numa_nodes},
                                  {"cores", topology.cores},
                                  {"hardware_threads", topology.hardware_threads},
                                  {"usable_threads", topology.usable_threads},
                                  {"cpu_quota", topology.cpu_quota},
                                  {"l3_bytes", topology.l3_bytes},
                                  {"l3_threads", topology.l3_threads}};
  json["locality"] = ordered_json{
      {"numa", facts.locality.numa}, {"l3", facts.locality.l3}, {"core", facts.locality.core}, {"thread", facts.locality.thread}};
  json["kernels"] = facts.kernels;
  json["transports"] = ordered_json::array();
  for (const TransportFacts& t : facts.transports)
    json["transports"].push_back(
        ordered_json{{"name", t.name}, {"built", t.built}, {"allowed", t.allowed}, {"reach", t.reach}, {"devices", devices_of(t)}});
  json["cuda"] = cuda_json(facts.cuda);
  json["interfaces"] = ordered_json::array();
  for (const Interface& i : facts.interfaces)
    json["interfaces"].push_back(ordered_json{{"name", i.name}, {"up", i.up}, {"address", i.address.host()}});
  if (facts.address)
    json["address"] = ordered_json{
        {"address", facts.address->address.host()}, {"interface", facts.address->interface}, {"reason", facts.address->reason}};
  json["memory"] = ordered_json::array();
  for (const MemoryFacts& m : facts.memory)
    json["memory"].push_back(
        ordered_json{{"ranks", m.ranks}, {"at_creation", m.at_creation}, {"after_all_reduce", m.after_all_reduce}});
  json["codecs"] = ordered_json::array();
  for (const CodecName& codec : codec_names())
    json["codecs"].push_back(ordered_json{{"name", std::string(codec.name)}, {"summary", std::string(codec.summary)}});
  for (size_t i = 0; i < kSettings; ++i) {
    const SettingRow& row = setting_rows()[i];
    const SettingOrigin& origin = facts.settings.origins[i];
    json["settings"][std::string(row.name)] =
        ordered_json{{"value", origin.text}, {"source", origin.source}, {"type", row.type}, {"default", row.standard}};
  }
  json["warnings"] = facts.warnings;
  json["errors"] = facts.errors;
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace tutti::info

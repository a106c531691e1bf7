// A Machine as JSON.
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "scenario.h"
#include "words.h"

namespace tutti {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
using Field = std::pair<std::string_view, double T::*>;

constexpr std::array<Field<LinkCost>, 4> kLinkFields{{{"overhead_s", &LinkCost::overhead_s},
                                                      {"latency_s", &LinkCost::latency_s},
                                                      {"byte_s", &LinkCost::byte_s},
                                                      {"processor_byte_s", &LinkCost::processor_byte_s}}};
constexpr std::array<Field<Machine>, 4> kMachineFields{{{"interface_byte_s", &Machine::interface_byte_s},
                                                        {"switch_s", &Machine::switch_s},
                                                        {"reduce_byte_s", &Machine::reduce_byte_s},
                                                        {"copy_byte_s", &Machine::copy_byte_s}}};

Status wrong(const std::string& key, const std::string& what) {
  return Status(Code::invalid_argument, in_quotes(key) + " " + what);
}

// `found`: whether the key is one of the fields.
template <class T, size_t n>
Status read_number(const std::string& key, const Json& value, const std::array<Field<T>, n>& fields, T& into, bool& found) {
  for (const auto& [name, member] : fields) {
    if (key != name) continue;
    found = true;
    if (!value.is_number() || value.get<double>() < 0 || value.get<double>() > 1)
      return wrong(key, "must be a number of seconds, 0 to 1");
    into.*member = value.get<double>();
  }
  return {};
}

Status read_link(const std::string& key, const Json& json, LinkCost& link) {
  if (!json.is_object()) return wrong(key, "must be an object");
  for (const auto& [name, value] : json.items()) {
    bool found = name == "streams";
    if (found && !value.is_boolean()) return wrong(name, "must be true or false");
    if (found) link.streams = value.get<bool>();
    if (Status status = read_number(name, value, kLinkFields, link, found); !status.ok()) return status;
    if (!found) return wrong(name, "is no member of " + in_quotes(key));
  }
  return {};
}

Json link_json(const LinkCost& link) {
  Json json;
  for (const auto& [name, member] : kLinkFields) json[std::string(name)] = link.*member;
  json["streams"] = link.streams;
  return json;
}

}  // namespace

Status read_machine(const std::string& text, Machine& machine) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object())
    return Status(Code::invalid_argument, "this is no JSON object; tutti-plan simulate --show-machine prints one");
  for (const auto& [name, value] : json.items()) {
    bool found = false;
    Status status;
    if (name == "inside" || name == "between") {
      found = true;
      status = read_link(name, value, name == "inside" ? machine.intra_host : machine.inter_host);
    } else if (name == "one_machine") {
      found = true;
      if (!value.is_boolean()) return wrong(name, "must be true or false");
      machine.one_machine = value.get<bool>();
    } else if (name == "cores") {
      found = true;
      if (!value.is_number_unsigned() || value.get<uint64_t>() > 4096) return wrong(name, "must be a whole number up to 4096");
      machine.cores = value.get<int>();
    } else {
      status = read_number(name, value, kMachineFields, machine, found);
    }
    if (!status.ok()) return status;
    if (!found) return wrong(name, "is nothing that describes a machine");
  }
  return {};
}

std::string write_machine(const Machine& machine) {
  Json json;
  json["inside"] = link_json(machine.intra_host);
  json["between"] = link_json(machine.inter_host);
  for (const auto& [name, member] : kMachineFields) json[std::string(name)] = machine.*member;
  json["cores"] = machine.cores;
  json["one_machine"] = machine.one_machine;
  return json.dump(2) + "\n";
}

}  // namespace tutti

#include "settings.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "files.h"
#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kPrefix = "TUTTI_";
constexpr std::string_view kPythonPrefix = "TUTTI_PYTHON_";  // the Python package's, which looks after them itself
constexpr std::string_view kConfFile = "TUTTI_CONF_FILE";
constexpr size_t kLargestFile = 1 << 20;

std::optional<size_t> row_named(std::string_view name) {
  const auto rows = setting_rows();
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].name == name) return i;
  return std::nullopt;
}

std::string no_setting(std::string_view name, std::string_view source) {
  std::array<std::string_view, kSettings> names;
  std::transform(setting_rows().begin(), setting_rows().end(), names.begin(), [](const SettingRow& row) { return row.name; });
  return in_quotes(name) + " (" + std::string(source) + ") is no setting of Tutti" + suggestion(name, names);
}

Status refusal(const SettingRow& row, const SettingOrigin& given, const std::string& why, std::string_view accepts) {
  return Status(Code::invalid_argument, std::string(row.name) + "=" + in_quotes(given.text) + " (" + given.source + "): " + why +
                                            (why.ends_with('?') ? " Accepted: " : ". Accepted: ") + std::string(accepts));
}

// Sets row `index` to `text`; an empty text is the default.
Status assign(Settings& settings, size_t index, std::string_view given, const std::string& source) {
  const SettingRow& row = setting_rows()[index];
  const std::string_view text = trim(given);
  const auto refuse = [&](const std::string& why) { return refusal(row, {std::string(text), source}, why, row.accepts); };
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }))
    return refuse("it holds a control character");
  const std::string_view value = text.empty() ? row.standard : text;
  if (const Status status = row.parse(value, settings); !status.ok()) return refuse(status.message());
  settings.origins[index] = {std::string(value), source};
  return {};
}

}  // namespace

Settings::Settings() {
  for (size_t i = 0; i < kSettings; ++i) {
    const Status status = assign(*this, i, "", "default");
    if (!status.ok()) origins[i].text = status.message();  // a default that its own row refuses: the tests look for it
  }
}

Environment tutti_environment() {
  Environment found;
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (text.starts_with(kPrefix) && equals != std::string_view::npos)
      found.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return found;
}

// A line "TUTTI_X=value"; `expected`: what else may stand there.
static Result<std::string_view> add_line(std::string_view line, const std::string& source, const char* expected,
                                         GivenSettings& settings) {
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos)
    return Status(Code::invalid_argument, source + ": " + in_quotes(line) + " is no setting; expected TUTTI_X=value" + expected);
  const std::string_view name = trim(line.substr(0, equals));
  const auto [place, is_new] = settings.emplace(name, GivenSetting{std::string(trim(line.substr(equals + 1))), source});
  if (!is_new)
    return Status(Code::invalid_argument, source + ": " + in_quotes(name) + " was already set at " + place->second.source);
  return name;
}

Status give_setting(std::string_view text, const std::string& source, GivenSettings& given) {
  const auto name = add_line(text, source, "", given);
  if (!name.ok()) return name.status();
  const auto row = row_named(*name);
  if (!row) return Status(Code::invalid_argument, no_setting(*name, source));
  if (const std::string_view instead = setting_rows()[*row].instead; !instead.empty())
    return Status(Code::invalid_argument,
                  std::string(*name) + " (" + source + ") is no setting of single communicators; use " + std::string(instead));
  return {};
}

Result<GivenSettings> parse_settings_file(std::string_view content, const std::string& path) {
  GivenSettings settings;
  size_t number = 0;
  for (std::string_view line : split(content, '\n')) {
    const std::string source = path + ":" + std::to_string(++number);
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    if (const auto added = add_line(line, source, " or # comment", settings); !added.ok()) return added.status();
  }
  return settings;
}

Result<Settings> load_settings(const Environment& environment, std::vector<std::string>& warnings, const GivenSettings& given) {
  Settings settings;
  GivenSettings file;
  if (const auto named = environment.find(kConfFile); named != environment.end() && !trim(named->second).empty()) {
    const std::string path(trim(named->second));
    const auto content = read_file(path, kLargestFile, "the settings file");
    if (!content.ok()) return content.status();
    auto parsed = parse_settings_file(*content, path);
    if (!parsed.ok()) return parsed.status();
    file = std::move(*parsed);
  }
  for (const auto& [name, value] : file) {
    const auto row = row_named(name);
    if (!row || name == kConfFile) {
      warnings.push_back(row ? name + " (" + value.source + ") has no effect inside a settings file"
                             : no_setting(name, value.source));
    } else if (Status status = assign(settings, *row, value.text, value.source); !status.ok()) {
      if (!environment.contains(name) && !given.contains(name)) return status;
    }
  }
  for (const auto& [name, value] : environment) {
    const auto row = row_named(name);
    if (!row) {
      if (name.starts_with(kPrefix) && !name.starts_with(kPythonPrefix)) warnings.push_back(no_setting(name, "environment"));
    } else if (Status status = assign(settings, *row, value, "environment"); !status.ok()) {
      if (!given.contains(name)) return status;
    }
  }
  for (const auto& [name, value] : given)
    if (Status status = assign(settings, *row_named(name), value.text, value.source); !status.ok()) return status;
  if (settings.rank >= 0 && settings.size >= 0 && settings.rank >= settings.size)
    return Status(Code::invalid_argument,
                  "TUTTI_RANK=" + std::to_string(settings.rank) + " must be less than TUTTI_SIZE=" + std::to_string(settings.size));
  return settings;
}

bool TransportSet::allows(std::string_view name) const {
  return excludes != (std::find(names.begin(), names.end(), name) != names.end());
}

Status check_transports(const Settings& settings, std::span<const std::string_view> known) {
  const size_t index = *row_named("TUTTI_TRANSPORT");
  const SettingRow& row = setting_rows()[index];
  const SettingOrigin& given = settings.origins[index];
  std::string accepts;
  for (const std::string_view name : known) accepts.append(name).append(", ");
  accepts += "separated by commas; ^ before the list excludes instead";
  for (const std::string& name : settings.transport.names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      return refusal(row, given, in_quotes(name) + " is no transport" + suggestion(name, known), accepts);
  if (std::none_of(known.begin(), known.end(), [&](std::string_view name) { return settings.transport.allows(name); }))
    return refusal(row, given, in_quotes(given.text) + " leaves no transport", accepts);
  return {};
}

std::string encode_wire_settings(const Settings& settings) {
  std::string encoded;
  for (size_t i = 0; i < kSettings; ++i) {
    const SettingRow& row = setting_rows()[i];
    if (row.shapes_wire) encoded.append(row.name).append("=").append(settings.origins[i].text).append("\n");
  }
  return encoded;
}

Status apply_wire_settings(std::string_view encoded, Settings& settings, std::vector<std::string>& warnings) {
  const auto foreign = [] { return Status(Code::mismatch, "rank 0 sent settings that this version of Tutti cannot read"); };
  if (encoded.size() > kLongestWireSettings) return foreign();
  const auto sent = parse_settings_file(encoded, "rank 0");
  if (!sent.ok()) return foreign();
  Settings agreed = settings;
  std::vector<std::string> differences;
  size_t taken = 0;
  for (size_t i = 0; i < kSettings; ++i) {
    const SettingRow& row = setting_rows()[i];
    if (!row.shapes_wire) continue;
    const auto entry = sent->find(row.name);
    if (entry == sent->end() || !assign(agreed, i, entry->second.text, "rank 0").ok()) return foreign();
    ++taken;
    const SettingOrigin& own = settings.origins[i];
    if (own.text == agreed.origins[i].text) {
      agreed.origins[i] = own;
    } else if (own.source != "default") {
      differences.push_back(std::string(row.name) + "=" + in_quotes(own.text) + " (" + own.source +
                            ") is not used: all ranks use rank 0's " + in_quotes(agreed.origins[i].text));
    }
  }
  if (taken != sent->size()) return foreign();
  settings = std::move(agreed);
  warnings.insert(warnings.end(), differences.begin(), differences.end());
  return {};
}

// "`TUTTI_RANK`, `TUTTI_SIZE` …": settings that a program cannot give for one communicator.
static std::string not_given() {
  std::string names;
  for (const SettingRow& row : setting_rows())
    if (!row.instead.empty()) names.append(names.empty() ? "`" : ", `").append(row.name).append("`");
  return names;
}

std::string environment_document() {
  std::string text =
      std::string() +
      "# Environment\n\n"
      "Generated by `tutti-info --environment-doc` from the table in `src/settings/setting_rows.cpp`.\n\n"
      "A setting comes from the environment, else from the file that `TUTTI_CONF_FILE` names (lines `TUTTI_X=value`; lines that "
      "begin\n"
      "with `#` are comments), else it is the default. An empty value means the default. A value that is not accepted is an error; "
      "a\n"
      "name that begins with `TUTTI_` and is not listed here is a warning. `tutti-info` prints every setting with its value and "
      "source.\n"
      "Names that begin with `TUTTI_PYTHON_` are the Python package's ([pytorch.md](pytorch.md)).\n\n"
      "A program may give settings for one communicator and all that are split off it, in `tutti_config.settings`; they beat the\n"
      "environment. There an unknown name is an error, and so are " +
      not_given() +
      ".\n\n"
      "Sizes take K, M, G or T for powers of 1024. Where the last column says so, rank 0's value is used by all ranks of a\n"
      "communicator.\n\n"
      "| name | default | accepted | meaning | rank 0 decides |\n"
      "|---|---|---|---|---|\n";
  for (const SettingRow& row : setting_rows()) {
    text.append("| `").append(row.name).append("` | ");
    if (!row.standard.empty()) text.append("`").append(row.standard).append("`");
    text.append(" | ").append(row.accepts).append(" | ").append(row.meaning).append(" | ").append(row.shapes_wire ? "yes" : "");
    text.append(" |\n");
  }
  return text;
}

}  // namespace tutti

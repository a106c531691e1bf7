#include "settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tutti {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Settings loaded(const Environment& environment, std::vector<std::string>* warnings = nullptr) {
  std::vector<std::string> heard;
  const auto result = load_settings(environment, heard);
  EXPECT_TRUE(result.ok()) << result.status().message();
  if (warnings != nullptr) {
    *warnings = heard;
  } else {
    EXPECT_THAT(heard, IsEmpty());
  }
  return result.ok() ? *result : Settings();
}

std::string refusal(const Environment& environment) {
  std::vector<std::string> warnings;
  const auto result = load_settings(environment, warnings);
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::invalid_argument);
  return result.status().message();
}

const SettingOrigin& origin(const Settings& settings, std::string_view name) {
  for (size_t i = 0; i < kSettings; ++i)
    if (setting_rows()[i].name == name) return settings.origins[i];
  ADD_FAILURE() << name;
  return settings.origins[0];
}

TEST(GivenSettings, HideWrongOnesOfTheEnvironment) {
  GivenSettings given;
  ASSERT_TRUE(give_setting("TUTTI_LANES=2", "the program", given).ok());
  std::vector<std::string> warnings;
  const auto settings = load_settings({{"TUTTI_LANES", "many"}, {"TUTTI_THREADS", "3"}}, warnings, given);
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  EXPECT_EQ(settings->lanes, 2);
  EXPECT_EQ(settings->threads, 3);
  EXPECT_EQ(origin(*settings, "TUTTI_LANES"), (SettingOrigin{"2", "the program"}));
  EXPECT_EQ(origin(*settings, "TUTTI_THREADS").source, "environment");
}

// A settings file of the given content, for one test.
class SettingsFile : public testing::Test {
 protected:
  SettingsFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tutti-settings-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    path_ = (directory_ / "tutti.conf").string();
  }
  ~SettingsFile() override { std::filesystem::remove_all(directory_); }
  void write(const std::string& content) const { std::ofstream(path_) << content; }

  std::filesystem::path directory_;
  std::string path_;
};

TEST(Settings, Defaults) {
  const Settings settings = loaded({});
  EXPECT_THAT(settings.algorithm, IsEmpty());
  EXPECT_EQ(settings.transport, TransportSet());
  EXPECT_EQ(settings.interface, "");
  EXPECT_EQ(settings.lanes, 0);
  EXPECT_EQ(settings.slot_bytes, 0u);
  EXPECT_EQ(settings.timeout_ns, 600'000'000'000u);
  EXPECT_EQ(settings.bootstrap_timeout_ns, 120'000'000'000u);
  EXPECT_EQ(settings.debug, LogLevel::warn);
  EXPECT_FALSE(settings.deterministic);
  EXPECT_EQ(settings.rank, -1);
  EXPECT_EQ(settings.size, -1);
  EXPECT_EQ(settings.tcp_connections, 1);
  for (size_t i = 0; i < kSettings; ++i) {
    EXPECT_EQ(settings.origins[i].source, "default");
    EXPECT_EQ(settings.origins[i].text, setting_rows()[i].standard) << "a default that its own row refuses";
  }
}

TEST(Settings, EveryRowReadsItsValue) {
  const Settings settings = loaded({{"TUTTI_ALGORITHM", "all_reduce:ring@64K-,^tree"},
                                    {"TUTTI_TRANSPORT", "shm, tcp"},
                                    {"TUTTI_INTERFACE", "^docker,lo"},
                                    {"TUTTI_LANES", "64"},
                                    {"TUTTI_SLOT_BYTES", "128K"},
                                    {"TUTTI_TIMEOUT", "500ms"},
                                    {"TUTTI_BOOTSTRAP_TIMEOUT", "90"},
                                    {"TUTTI_DEBUG", "trace"},
                                    {"TUTTI_DEBUG_FILE", "/tmp/tutti.%h.%p"},
                                    {"TUTTI_DETERMINISTIC", "1"},
                                    {"TUTTI_TUNING", "off"},
                                    {"TUTTI_TUNING_FILE", "/etc/tuning"},
                                    {"TUTTI_TUNING_CACHE", "/var/cache"},
                                    {"TUTTI_TOPOLOGY_DUMP", "/tmp/topology"},
                                    {"TUTTI_HOSTID", "left"},
                                    {"TUTTI_RANK", "3"},
                                    {"TUTTI_SIZE", "8"},
                                    {"TUTTI_STORE", "[::1]:29500"},
                                    {"TUTTI_TCP_CONNECTIONS", " 16 "}});
  EXPECT_THAT(settings.algorithm, ElementsAre(AlgorithmRule{.collective = Collective::all_reduce, .name = "ring", .from = 65536},
                                              AlgorithmRule{.exclude = true, .name = "tree"}));
  EXPECT_EQ(settings.transport, (TransportSet{false, {"shm", "tcp"}}));
  EXPECT_EQ(settings.interface, "^docker,lo");
  EXPECT_EQ(settings.lanes, 64);
  EXPECT_EQ(settings.slot_bytes, 131072u);
  EXPECT_EQ(settings.timeout_ns, 500'000'000u);
  EXPECT_EQ(settings.bootstrap_timeout_ns, 90'000'000'000u);
  EXPECT_EQ(settings.debug, LogLevel::trace);
  EXPECT_EQ(settings.debug_file, "/tmp/tutti.%h.%p");
  EXPECT_TRUE(settings.deterministic);
  EXPECT_FALSE(settings.tuning);
  EXPECT_EQ(settings.tuning_file, "/etc/tuning");
  EXPECT_EQ(settings.tuning_cache, "/var/cache");
  EXPECT_EQ(settings.topology_dump, "/tmp/topology");
  EXPECT_EQ(settings.host_id, "left");
  EXPECT_EQ(settings.rank, 3);
  EXPECT_EQ(settings.size, 8);
  EXPECT_EQ(settings.store, "[::1]:29500");
  EXPECT_EQ(settings.tcp_connections, 16);
  EXPECT_EQ(origin(settings, "TUTTI_LANES"), (SettingOrigin{"64", "environment"}));
  EXPECT_EQ(origin(settings, "TUTTI_CONF_FILE").source, "default");
}

constexpr std::string_view kTransports[] = {"memory", "shm", "tcp"};

// Those of kTransports that a value allows: "shm tcp".
std::string allowed(const std::string& value) {
  const Settings settings = loaded({{"TUTTI_TRANSPORT", value}});
  EXPECT_TRUE(check_transports(settings, kTransports).ok()) << value;
  std::string text;
  for (const std::string_view name : kTransports)
    if (settings.transport.allows(name)) text.append(text.empty() ? "" : " ").append(name);
  return text;
}

std::string transport_refusal(const std::string& value) {
  return check_transports(loaded({{"TUTTI_TRANSPORT", value}}), kTransports).message();
}

TEST(Settings, TransportLists) {
  EXPECT_EQ(allowed(""), "memory shm tcp");
  EXPECT_EQ(allowed("auto"), "memory shm tcp");
  EXPECT_EQ(allowed("^tcp"), "memory shm");
  EXPECT_EQ(allowed("^memory, shm"), "tcp");
  EXPECT_EQ(allowed("tcp"), "tcp");
  EXPECT_EQ(transport_refusal("^memory,shm,tcp"),
            "TUTTI_TRANSPORT=\"^memory,shm,tcp\" (environment): \"^memory,shm,tcp\" leaves no transport. Accepted: memory, shm, "
            "tcp, separated by "
            "commas; ^ before the list excludes instead");
  EXPECT_THAT(transport_refusal("smh"), HasSubstr("\"smh\" is no transport; did you mean \"shm\"?"));
  EXPECT_THAT(transport_refusal("shm,"), HasSubstr("\"\" is no transport"));
  EXPECT_THAT(transport_refusal("auto,shm"), HasSubstr("\"auto\" is no transport"));
}

TEST(Settings, ARefusalNamesEverything) {
  EXPECT_EQ(refusal({{"TUTTI_DEBUG", "inof"}}),
            "TUTTI_DEBUG=\"inof\" (environment): \"inof\" is no level; did you mean \"info\"? Accepted: none, warn, info or trace");
  EXPECT_EQ(refusal({{"TUTTI_LANES", "65"}}), "TUTTI_LANES=\"65\" (environment): 65 is too large. Accepted: 0 (automatic) to 64");
}

TEST(Settings, RefusedValues) {
  const std::vector<std::pair<std::string, std::string>> bad{{"TUTTI_ALGORITHM", "rign"},
                                                             {"TUTTI_LANES", "-1"},
                                                             {"TUTTI_LANES", "four"},
                                                             {"TUTTI_SLOT_BYTES", "2K"},
                                                             {"TUTTI_SLOT_BYTES", "2M"},
                                                             {"TUTTI_SLOT_BYTES", "65537"},
                                                             {"TUTTI_SLOT_BYTES", "64X"},
                                                             {"TUTTI_TIMEOUT", "0"},
                                                             {"TUTTI_TIMEOUT", "10 parsecs"},
                                                             {"TUTTI_TIMEOUT", "1001h"},
                                                             {"TUTTI_BOOTSTRAP_TIMEOUT", "1us"},
                                                             {"TUTTI_DETERMINISTIC", "yes"},
                                                             {"TUTTI_RANK", "-1"},
                                                             {"TUTTI_RANK", "65536"},
                                                             {"TUTTI_SIZE", "0"},
                                                             {"TUTTI_SIZE", "65537"},
                                                             {"TUTTI_STORE", "node7"},
                                                             {"TUTTI_STORE", "node7:0"},
                                                             {"TUTTI_STORE", "file:store"},
                                                             {"TUTTI_STORE", "file:"},
                                                             {"TUTTI_TCP_CONNECTIONS", "0"},
                                                             {"TUTTI_TCP_CONNECTIONS", "17"},
                                                             {"TUTTI_INTERFACE", "eth\n0"},
                                                             {"TUTTI_HOSTID", std::string(101, 'x')},
                                                             {"TUTTI_DEBUG_FILE", std::string(4097, 'x')}};
  for (const auto& [name, value] : bad)
    EXPECT_THAT(refusal({{name, value}}), AllOf(HasSubstr(name + "=\""), HasSubstr("(environment): "), HasSubstr("Accepted: ")));
}

TEST(Settings, RankMustBeBelowSize) {
  EXPECT_EQ(loaded({{"TUTTI_RANK", "3"}}).rank, 3);
  EXPECT_EQ(refusal({{"TUTTI_RANK", "4"}, {"TUTTI_SIZE", "4"}}), "TUTTI_RANK=4 must be less than TUTTI_SIZE=4");
}

TEST(Settings, EmptyMeansDefault) {
  const Settings settings = loaded({{"TUTTI_LANES", ""}, {"TUTTI_TIMEOUT", " "}, {"TUTTI_RANK", ""}, {"TUTTI_CONF_FILE", ""}});
  EXPECT_EQ(settings.lanes, 0);
  EXPECT_EQ(settings.timeout_ns, 600'000'000'000u);
  EXPECT_EQ(settings.rank, -1);
  EXPECT_EQ(origin(settings, "TUTTI_TIMEOUT"), (SettingOrigin{"10m", "environment"}));
}

TEST(Settings, UnknownNamesAreWarnedOf) {
  std::vector<std::string> warnings;
  loaded({{"TUTTI_ALGORITM", "ring"}, {"TUTTI_WEATHER", "sunny"}, {"TUTTI_PYTHON_CACHE", "/c"}, {"HOME", "/root"}}, &warnings);
  EXPECT_THAT(warnings, ElementsAre("\"TUTTI_ALGORITM\" (environment) is no setting of Tutti; did you mean \"TUTTI_ALGORITHM\"?",
                                    "\"TUTTI_WEATHER\" (environment) is no setting of Tutti"));
}

TEST(Settings, TheProcessEnvironment) {
  ASSERT_EQ(setenv("TUTTI_LANES", "5", 1), 0);
  const Environment environment = tutti_environment();
  unsetenv("TUTTI_LANES");
  ASSERT_TRUE(environment.contains("TUTTI_LANES"));
  EXPECT_EQ(environment.at("TUTTI_LANES"), "5");
  EXPECT_FALSE(environment.contains("PATH"));
}

TEST_F(SettingsFile, TheEnvironmentWins) {
  write("# a comment\n\n  TUTTI_LANES = 4 \r\nTUTTI_INTERFACE=eth#0\nTUTTI_DEBUG=info\nTUTTI_HOSTID=left");
  const Settings settings = loaded({{"TUTTI_CONF_FILE", path_}, {"TUTTI_DEBUG", "trace"}, {"TUTTI_HOSTID", ""}});
  EXPECT_EQ(settings.lanes, 4);
  EXPECT_EQ(settings.interface, "eth#0");
  EXPECT_EQ(settings.debug, LogLevel::trace);
  EXPECT_EQ(settings.host_id, "");  // set to nothing: the default, not the file's value
  EXPECT_EQ(origin(settings, "TUTTI_LANES"), (SettingOrigin{"4", path_ + ":3"}));
  EXPECT_EQ(origin(settings, "TUTTI_DEBUG"), (SettingOrigin{"trace", "environment"}));
  EXPECT_EQ(origin(settings, "TUTTI_CONF_FILE"), (SettingOrigin{path_, "environment"}));
}

TEST_F(SettingsFile, ErrorsNameTheLine) {
  write("\nTUTTI_TIMEOUT=soon\n");
  EXPECT_THAT(refusal({{"TUTTI_CONF_FILE", path_}}),
              HasSubstr("TUTTI_TIMEOUT=\"soon\" (" + path_ + ":2): \"soon\" is no duration"));
  // Not used, not refused.
  EXPECT_EQ(loaded({{"TUTTI_CONF_FILE", path_}, {"TUTTI_TIMEOUT", "7s"}}).timeout_ns, 7'000'000'000u);
  write("TUTTI_LANES\n");
  EXPECT_THAT(refusal({{"TUTTI_CONF_FILE", path_}}),
              HasSubstr(path_ + ":1: \"TUTTI_LANES\" is no setting; expected TUTTI_X=value"));
  write("TUTTI_LANES=1\nTUTTI_LANES=2\n");
  EXPECT_THAT(refusal({{"TUTTI_CONF_FILE", path_}}), HasSubstr(path_ + ":2: \"TUTTI_LANES\" was already set at " + path_ + ":1"));
}

TEST_F(SettingsFile, UnknownNamesAreWarnedOf) {
  write("TUTI_LANES=1\nTUTTI_CONF_FILE=/etc/other\n");
  std::vector<std::string> warnings;
  loaded({{"TUTTI_CONF_FILE", path_}}, &warnings);
  EXPECT_THAT(warnings, testing::UnorderedElementsAre(
                            "\"TUTI_LANES\" (" + path_ + ":1) is no setting of Tutti; did you mean \"TUTTI_LANES\"?",
                            "TUTTI_CONF_FILE (" + path_ + ":2) has no effect inside a settings file"));
}

TEST_F(SettingsFile, UnreadableFiles) {
  std::vector<std::string> warnings;
  const auto absent = load_settings({{"TUTTI_CONF_FILE", path_}}, warnings);
  ASSERT_FALSE(absent.ok());
  EXPECT_THAT(absent.status().message(), AllOf(HasSubstr(path_), HasSubstr("No such file or directory")));
  EXPECT_FALSE(load_settings({{"TUTTI_CONF_FILE", directory_.string()}}, warnings).ok());
  EXPECT_THAT(load_settings({{"TUTTI_CONF_FILE", "/dev/zero"}}, warnings).status().message(), HasSubstr("larger than 1 MiB"));
}

TEST(WireSettings, RankZeroDecides) {
  const Settings zero = loaded({{"TUTTI_ALGORITHM", "^tree"}, {"TUTTI_LANES", "8"}, {"TUTTI_DEBUG", "trace"}});
  Settings mine =
      loaded({{"TUTTI_LANES", "4"}, {"TUTTI_SLOT_BYTES", "64K"}, {"TUTTI_DETERMINISTIC", "0"}, {"TUTTI_HOSTID", "left"}});
  std::vector<std::string> warnings;
  const Status status = apply_wire_settings(encode_wire_settings(zero), mine, warnings);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(mine.algorithm, zero.algorithm);
  EXPECT_EQ(mine.lanes, 8);
  EXPECT_EQ(mine.slot_bytes, 0u);
  EXPECT_EQ(mine.debug, LogLevel::warn);
  EXPECT_EQ(mine.host_id, "left");
  EXPECT_EQ(origin(mine, "TUTTI_LANES"), (SettingOrigin{"8", "rank 0"}));
  EXPECT_EQ(origin(mine, "TUTTI_DETERMINISTIC"), (SettingOrigin{"0", "environment"}));
  EXPECT_THAT(warnings, ElementsAre("TUTTI_LANES=\"4\" (environment) is not used: all ranks use rank 0's \"8\"",
                                    "TUTTI_SLOT_BYTES=\"64K\" (environment) is not used: all ranks use rank 0's \"0\""));
}

TEST(WireSettings, AnEmptyValueReplacesToo) {
  Settings mine = loaded({{"TUTTI_ALGORITHM", "ring"}});
  std::vector<std::string> warnings;
  ASSERT_TRUE(apply_wire_settings(encode_wire_settings(Settings()), mine, warnings).ok());
  EXPECT_THAT(mine.algorithm, IsEmpty());
  EXPECT_EQ(warnings.size(), 1u);
}

TEST(WireSettings, TheLongestFits) {
  std::string rules = "ring@0-64K";
  while (rules.size() < 4080) rules += ",ring@0-64K";
  const std::string path(4096, 'x');
  EXPECT_LE(
      encode_wire_settings(loaded({{"TUTTI_ALGORITHM", rules}, {"TUTTI_TUNING_FILE", path}, {"TUTTI_TUNING_CACHE", path}})).size(),
      kLongestWireSettings);
}

TEST(WireSettings, HostileBytesChangeNothing) {
  const std::string good = encode_wire_settings(Settings());
  std::vector<std::string> bad{"",
                               "x",
                               good + "TUTTI_LANES=1\n",
                               good + "TUTTI_DEBUG=info\n",
                               good + "TUTTI_NEW=1\n",
                               good.substr(0, good.size() / 2),
                               good + std::string(kLongestWireSettings, '#'),
                               std::string(100, '\0')};
  std::string wrong_value = good;
  wrong_value.replace(wrong_value.find("TUTTI_LANES=0"), 13, "TUTTI_LANES=9999");
  bad.push_back(wrong_value);
  for (const std::string& text : bad) {
    Settings mine = loaded({{"TUTTI_LANES", "4"}});
    std::vector<std::string> warnings;
    const Status status = apply_wire_settings(text, mine, warnings);
    EXPECT_EQ(status.code(), Code::mismatch) << text;
    EXPECT_EQ(mine.lanes, 4);
    EXPECT_EQ(mine.origins, loaded({{"TUTTI_LANES", "4"}}).origins);
    EXPECT_THAT(warnings, IsEmpty());
  }
}

TEST(SettingRows, OnlyTheseShapeTheWire) {
  std::vector<std::string_view> names;
  for (const SettingRow& row : setting_rows())
    if (row.shapes_wire) names.push_back(row.name);
  EXPECT_THAT(names, ElementsAre("TUTTI_ALGORITHM", "TUTTI_LANES", "TUTTI_SLOT_BYTES", "TUTTI_DETERMINISTIC", "TUTTI_TUNING",
                                 "TUTTI_TUNING_FILE", "TUTTI_TUNING_CACHE", "TUTTI_TCP_CONNECTIONS", "TUTTI_CUDA",
                                 "TUTTI_CUDA_LANES", "TUTTI_CUDA_SLOT_BYTES", "TUTTI_CUDA_PROTOCOL", "TUTTI_CUDA_PIECE_BYTES"));
}

TEST(SettingRows, TheDocumentIsUpToDate) {
  std::ostringstream file;
  file << std::ifstream(ENVIRONMENT_DOCUMENT).rdbuf();
  EXPECT_EQ(file.str(), environment_document()) << "run: tutti-info --environment-doc > docs/environment.md";
}

TEST(SettingRows, TheDocumentIsATable) {
  for (const SettingRow& row : setting_rows()) {
    for (const std::string_view text : {row.name, row.type, row.standard, row.accepts, row.meaning})
      EXPECT_EQ(text.find_first_of("|\n"), std::string_view::npos) << row.name;
    EXPECT_THAT(environment_document(), HasSubstr("| `" + std::string(row.name) + "` |"));
  }
}

}  // namespace
}  // namespace tutti

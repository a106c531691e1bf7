// tutti-info as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "outcome.h"

namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// `before`: assignments to environment variables.  `after`: options and redirections.
Outcome info(const std::string& before, const std::string& after) {
  return outcome_of("env " + before + " " TUTTI_INFO " " + after);
}

nlohmann::json json_of(const Outcome& run) { return nlohmann::json::parse(run.output, nullptr, false); }

TEST(Info, Version) {
  const Outcome run = info("", "--version");
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.output, TUTTI_VERSION "\n");
}

TEST(Info, EnvironmentDocumentIsTheOneInDocs) {
  std::ostringstream document;
  document << std::ifstream(ENVIRONMENT_DOCUMENT).rdbuf();
  EXPECT_EQ(info("", "--environment-doc").output, document.str());
}

TEST(Info, Text) {
  const Outcome run = info("TUTTI_LANES=4", "");
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.output, AllOf(HasSubstr("Tutti " TUTTI_VERSION "\n"), HasSubstr("\nMachine\n"), HasSubstr("\nTransports\n"),
                                HasSubstr("\nInterfaces\n"), HasSubstr("\nMemory of one communicator"), HasSubstr("\nSettings"),
                                HasSubstr("\nCodecs"), HasSubstr("terngrad")));
  EXPECT_THAT(run.output, testing::ContainsRegex("TUTTI_LANES +4 +environment"));
}

TEST(Info, Json) {
  const auto json = json_of(info("TUTTI_TRANSPORT=^tcp TUTTI_HOSTID=left", "--json"));
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["version"], TUTTI_VERSION);
  EXPECT_EQ(json["host"]["id"], "set:left");
  EXPECT_GE(json["topology"]["cores"], 1);
  std::vector<std::string> names;
  for (const auto& transport : json["transports"]) names.push_back(transport["name"]);
  EXPECT_THAT(names, ElementsAre("memory", "shm", "rdma", "tcp", "ucx"));
  for (const auto& transport : json["transports"]) EXPECT_EQ(transport["allowed"], transport["name"] != "tcp") << transport;
  EXPECT_EQ(json["settings"]["TUTTI_TRANSPORT"]["value"], "^tcp");
  EXPECT_EQ(json["settings"]["TUTTI_TRANSPORT"]["source"], "environment");
  EXPECT_EQ(json["settings"]["TUTTI_TIMEOUT"]["value"], "10m");
  EXPECT_EQ(json["settings"]["TUTTI_TIMEOUT"]["source"], "default");
  ASSERT_THAT(json["memory"], SizeIs(2));
  for (const auto& memory : json["memory"]) EXPECT_GE(memory["after_all_reduce"], memory["at_creation"]);
  EXPECT_THAT(json["errors"], IsEmpty());
}

// Those that are declared last, too.
TEST(Info, TellsWhatTheBuildHas) {
  const auto json = json_of(info("", "--json"));
  ASSERT_TRUE(json.is_object());
  for (const char* name : {"transport shm", "hwloc", "tutti-plan", "kernel benchmarks", "compare openmpi"})
    EXPECT_TRUE(json["build"].contains(name)) << name;
}

TEST(Info, WrongSettingsAreToldAndTheRestIsShown) {
  const Outcome run = info("TUTTI_LANES=many TUTTI_INTREFACE=lo", "2>&1");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, AllOf(HasSubstr("tutti-info: TUTTI_LANES=\"many\" (environment): \"many\" is no whole number."),
                                HasSubstr("\nMachine\n")));
  const Outcome misspelt = info("TUTTI_INTREFACE=lo", "2>&1");
  EXPECT_EQ(misspelt.status, 0);
  EXPECT_THAT(misspelt.output, HasSubstr("did you mean \"TUTTI_INTERFACE\"?"));
}

TEST(Info, AnInterfaceThatDoesNotExist) {
  const Outcome run = info("TUTTI_INTERFACE==absent0", "2>&1");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("TUTTI_INTERFACE=\"=absent0\" matches no interface"));
}

// The file that is no library is found first.
TEST(Info, ALibraryOfATransportThatCannotBeLoaded) {
  if (!json_of(info("", "--json"))["transports"].back()["built"]) GTEST_SKIP() << "this build has no ucx";
  const std::string folder = testing::TempDir() + "info-test-" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder + "/libucp.so.0") << "no library\n";
  const auto said = [&](const std::string& transports) {
    const auto json = json_of(info("LD_LIBRARY_PATH=" + folder + " TUTTI_TRANSPORT=" + transports, "--json"));
    EXPECT_THAT(json["errors"], IsEmpty());
    return json["transports"].back()["devices"][0]["state"].get<std::string>();
  };
  EXPECT_EQ(said(""), "not loaded, since tcp connects all ranks and stands before ucx");
  EXPECT_THAT(said("^tcp"),
              AllOf(HasSubstr("libucp.so.0 cannot be loaded: "), HasSubstr("; install UCX 1.13 or later (Debian: libucx0)")));
  std::filesystem::remove_all(folder);
}

}  // namespace

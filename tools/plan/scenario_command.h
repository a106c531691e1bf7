// The options that describe a scenario, shared by the commands that simulate.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "scenario.h"
#include "status.h"

namespace tutti {

// Texts that still have to be understood, see understood().
struct ScenarioTexts {
  std::string ranks = "8", slot, stripe;
  ScenarioOptions options;
};

void add_scenario_options(CLI::App& command, ScenarioTexts& texts);
Result<Scenario> scenario_of(const ScenarioTexts& texts);

}  // namespace tutti

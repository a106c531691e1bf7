// What the programs of this folder find out: facts, as a table and as JSON, each a line that is written
// at once: {fact, value, unit, note} or {fact, error}, {planned}, {done}.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tutti::gpu {

class Findings {
 public:
  explicit Findings(const std::string& path) : file_(path) {}
  void number(const std::string& fact, double value, const std::string& unit, const std::string& note = "");
  void text(const std::string& fact, const std::string& value);
  // Runs find(); what it throws is the fact.
  template <class Find>
  void attempt(const std::string& fact, Find find) {
    try {
      find();
    } catch (const std::exception& error) {
      failed(fact, error.what());
    }
  }
  void failed(const std::string& fact, const std::string& why);
  // A failure that nothing promised is no failure of the phase.
  bool all_found() const { return failures_ == 0; }
  // What is about to be measured; a way is done when all of it has been.
  void planned(const std::vector<std::string>& ways);
  void done(const std::string& way);

 private:
  void write(const nlohmann::ordered_json& row);

  std::ofstream file_;
  int failures_ = 0;
};

}  // namespace tutti::gpu

// What the programs of this folder find out: a list of facts, as a table and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace tutti::gpu {

class Findings {
 public:
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
  void write(const std::string& path) const;  // JSON: a list of {fact, value, unit, note} or {fact, error}

 private:
  nlohmann::ordered_json facts_ = nlohmann::ordered_json::array();
  int failures_ = 0;
};

}  // namespace tutti::gpu

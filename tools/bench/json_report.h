// The same results for programs: the document that nccl-tests writes with -J, with more in each row.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "measure.h"
#include "memcpy_limit.h"

namespace tutti::bench {

class JsonReport {
 public:
  // Opens the file at once, so that a bad path is known before the measurement.
  static Result<JsonReport> create(const std::string& path, int argc, char** argv);

  // `devices`: by rank; empty: buffers are in the host's memory.
  void describe(const Options& options, const Roster& roster, const std::vector<DeviceInfo>& devices, const Rotation& rotation,
                const MemcpyLimit& limit);
  void add(const Row& row, const std::string& requested_algorithm);
  Status write(const std::vector<Row>& rows);

 private:
  std::string path_;
  nlohmann::ordered_json document_;
};

}  // namespace tutti::bench

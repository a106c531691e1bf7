#include "tuning.h"

#include <fcntl.h>
#include <unistd.h>

#include "bytes.h"
#include "build_config.h"
#include "communicator.h"
#include "files.h"
#include "probe.h"
#include "standard_floats.h"

namespace tutti {
namespace {

// What rank 0 read, or why it could not.
struct Readings {
  std::string error, rules, profile;
};

// Every rank walks the plans of all of them: a ring of 64 takes 10 ms, one of 128 four times as long, for each size on each rank.
constexpr int kMostForeseen = 64;
constexpr size_t kLongestReading = 40 << 10;  // an exchanged blob holds 64 KiB

std::string encode(const Readings& readings) {
  ByteWriter writer;
  for (const std::string* text : {&readings.error, &readings.rules, &readings.profile}) {
    writer.number(static_cast<uint32_t>(text->size()));
    writer.text(*text);
  }
  return writer.take();
}

Result<Readings> decode_readings(std::string_view bytes) {
  Readings readings;
  ByteReader reader(bytes.substr(0, kLongestReading));
  for (std::string* text : {&readings.error, &readings.rules, &readings.profile}) *text = reader.text(reader.number<uint32_t>());
  if (!reader.ok() || !reader.rest().empty())
    return Status(Code::mismatch, "rank 0 sent tuning data that this version of Tutti cannot read");
  return readings;
}

// The tuning file, after a look at whether it can be read.
Result<std::string> read_rules(const std::string& path) {
  auto text = read_file(path, kLongestTuningFile, "the tuning file");
  if (!text.ok()) return text;
  if (const auto rules = parse_tuning_file(*text, path); !rules.ok()) return rules.status();
  return text;
}

class Agreement {
 public:
  Agreement(Communicator& comm, Bootstrap& bootstrap)
      : comm_(comm), parts_(comm.parts()), settings_(parts_.settings), bootstrap_(bootstrap) {}

  Result<std::shared_ptr<const Tuning>> run() {
    tuning_.predicts =
        settings_.tuning && !settings_.deterministic && !parts_.local_arena && parts_.size > 1 && parts_.size <= kMostForeseen;
    tuning_.profile = MachineProfile::standard(parts_.inside_streams);
    tuning_.source = "standard";
    if (!settings_.tuning_file.empty() || (tuning_.predicts && !settings_.tuning_cache.empty()))
      if (Status status = share_readings(); !status.ok()) return status;
    if (tuning_.predicts && !cached_)
      if (Status status = measure(); !status.ok()) return status;
    tuning_.profile.inside.streams = parts_.inside_streams;
    tuning_.profile.between.streams = true;
    return std::make_shared<const Tuning>(std::move(tuning_));
  }

 private:
  // For whom a measured profile holds: this build, this host, and hosts and links of the same kind.
  std::string key() const {
    return std::string("Tutti " TUTTI_BUILD " on ") + parts_.host_id + ", " + std::to_string(parts_.team.hosts()) + " hosts, " +
           std::to_string(parts_.size) + " ranks, " + (parts_.inside_streams ? "streams" : "memory") + " inside";
  }

  Readings read() {
    Readings readings;
    if (!settings_.tuning_file.empty()) {
      auto rules = read_rules(settings_.tuning_file);
      if (!rules.ok()) readings.error = rules.status().message();
      if (rules.ok()) readings.rules = std::move(*rules);
    }
    if (!tuning_.predicts || settings_.tuning_cache.empty()) return readings;
    const auto profile = read_profile(profile_path(settings_.tuning_cache, key()), key());
    if (profile.ok())
      readings.profile = encode_profile(*profile, key());
    else
      parts_.log.info("the machine is measured: " + profile.status().message());
    return readings;
  }

  Status share_readings() {
    const auto all = bootstrap_.exchange(parts_.rank == 0 ? encode(read()) : "");
    if (!all.ok()) return all.status();
    const auto readings = decode_readings((*all)[0]);
    if (!readings.ok()) return readings.status();
    if (!readings->error.empty())
      return Status(Code::invalid_argument, "TUTTI_TUNING_FILE at rank 0: " + printable(readings->error));
    if (!settings_.tuning_file.empty()) {
      auto rules = parse_tuning_file(readings->rules, settings_.tuning_file);
      if (!rules.ok()) return rules.status();
      tuning_.rules = std::move(*rules);
    }
    if (readings->profile.empty()) return {};
    // The key is rank 0's affair.
    const size_t first = readings->profile.find('\n') + 1, second = readings->profile.find('\n', first);
    const auto profile = decode_profile(readings->profile, std::string_view(readings->profile).substr(first, second - first));
    if (!profile.ok())
      return Status(Code::mismatch, "rank 0 sent a machine profile that this rank refuses: " + profile.status().message());
    tuning_.profile = *profile;
    tuning_.source = "read from " + settings_.tuning_cache;
    cached_ = true;
    return {};
  }

  Status measure() {
    const auto mine = probe(comm_, parts_.team);
    if (!mine.ok()) return mine.status();
    const auto blobs = bootstrap_.exchange(encode_measurements(*mine));
    if (!blobs.ok()) return blobs.status();
    std::vector<Measurements> all;
    for (const std::string& blob : *blobs) {
      const auto measurements = decode_measurements(blob);
      if (!measurements.ok()) return measurements.status();
      all.push_back(*measurements);
    }
    tuning_.profile = conclude(all, comm_.terms(), parts_.inside_streams);
    tuning_.source = "measured at bootstrap";
    if (parts_.rank != 0 || settings_.tuning_cache.empty()) return {};
    const Status written = write_profile(profile_path(settings_.tuning_cache, key()), tuning_.profile, key());
    if (!written.ok()) parts_.log.warn("TUTTI_TUNING_CACHE: " + written.message());
    return {};
  }

  Communicator& comm_;
  const CommunicatorParts& parts_;
  const Settings& settings_;
  Bootstrap& bootstrap_;
  Tuning tuning_;
  bool cached_ = false;
};

}  // namespace

Result<std::shared_ptr<const Tuning>> agree_on_tuning(Communicator& comm, Bootstrap& bootstrap) {
  const kernels::StandardFloats mode;  // all ranks must conclude the same
  return Agreement(comm, bootstrap).run();
}

}  // namespace tutti

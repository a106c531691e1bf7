#include "tuning.h"

#include "build_config.h"
#include "bytes.h"
#include "clock.h"
#include "communicator.h"
#include "probe.h"
#include "standard_floats.h"
#include "table.h"
#include "tuning_cache.h"
#include "words.h"

namespace tutti {
namespace {

// The texts of TUTTI_TUNING_FILE and of the cache that rank 0 read, or why it could not.
struct Readings {
  std::string error, rules, cached;
};

// As much as a blob holds; a cache that finds no room is not used.
constexpr size_t kLongestReadings = 2 * kLongestTuningFile;
constexpr size_t kLongestError = 1024;

std::string encode(const Readings& readings) {
  ByteWriter writer;
  for (const std::string* text : {&readings.error, &readings.rules, &readings.cached}) {
    writer.number(static_cast<uint32_t>(text->size()));
    writer.text(*text);
  }
  return writer.take();
}

Result<Readings> decode_readings(std::string_view bytes) {
  Readings readings;
  ByteReader reader(bytes.substr(0, kLongestReadings));
  for (std::string* text : {&readings.error, &readings.rules, &readings.cached}) *text = reader.text(reader.number<uint32_t>());
  if (!reader.ok() || !reader.rest().empty())
    return Status(Code::mismatch, "rank 0 sent tuning data that this version of Tutti cannot read");
  return readings;
}

// The calls of the probe, by a communicator that is not in use yet.
class PairCallsOf final : public PairCalls {
 public:
  explicit PairCallsOf(Communicator& comm) : comm_(comm) {}
  int rank() const override { return comm_.rank(); }
  size_t prepare(const Plan& plan, Collective collective) override {
    prepared_.push_back({comm_.prepare_pair(plan, collective), collective});
    return prepared_.size() - 1;
  }
  Status run(size_t prepared, const void* input, void* output, uint64_t bytes) override {
    return comm_.run_pair(prepared_[prepared].compiled, prepared_[prepared].collective, input, output, bytes);
  }
  StreamMeter* meter(int peer) override { return comm_.parts().transport_of[static_cast<size_t>(peer)]->meter(); }

 private:
  struct Prepared {
    Compiled compiled;
    Collective collective;
  };
  Communicator& comm_;
  std::vector<Prepared> prepared_;
};

class Agreement {
 public:
  Agreement(Communicator& comm, Bootstrap& bootstrap, Tuning tuning)
      : comm_(comm), parts_(comm.parts()), settings_(parts_.settings), bootstrap_(bootstrap), tuning_(std::move(tuning)) {}

  Result<std::shared_ptr<const Tuning>> run() {
    tuning_.predicts = settings_.tuning && !settings_.deterministic && !parts_.local_arena && parts_.size > 1;
    tuning_.profile = MachineProfile::standard(parts_.intra_host_streams);
    tuning_.source = "standard";
    if (!settings_.tuning_file.empty() || (tuning_.predicts && !settings_.tuning_cache.empty()))
      if (Status status = share_readings(); !status.ok()) return status;
    if (tuning_.predicts && tuning_.table.empty()) {
      if (Status status = measure(); !status.ok()) return status;
      if (Status status = share_table("measured at bootstrap"); !status.ok()) return status;
      keep();
    }
    return finish();
  }

  Result<std::shared_ptr<const Tuning>> inherit() {
    if (tuning_.shape == key()) return finish();
    tuning_.table.clear();
    if (tuning_.predicts && parts_.size > 1)
      if (Status status = share_table(tuning_.source); !status.ok()) return status;
    return finish();
  }

 private:
  // For whom a profile and its table hold: this build, this host, and communicators of the same shape.  Whether it is
  // that of another communicator of theirs, all ranks answer alike.
  std::string key() const {
    const RouteTerms& terms = comm_.terms();
    uint64_t hosts = 0;
    for (int rank = 0; rank < terms.size; ++rank) hosts = hosts * 31 + static_cast<uint64_t>(terms.team.host_of(rank));
    return std::string("Tutti " TUTTI_BUILD " on ") + parts_.host_id + ", " + std::to_string(terms.team.hosts()) + " hosts, " +
           std::to_string(terms.size) + " ranks in order " + std::to_string(hosts) + ", " +
           std::to_string(terms.lanes) + " lanes, " +
           std::to_string(terms.slots) + " slots of " + std::to_string(terms.slot_bytes) + ", " +
           "intra-host " + (parts_.intra_host_streams ? "streams" : "memory");
  }

  Readings read() const {
    Readings readings;
    if (!settings_.tuning_file.empty()) {
      auto rules = read_tuning_text(settings_.tuning_file);
      Status status = rules.ok() ? parse_tuning_file(*rules, settings_.tuning_file).status() : rules.status();
      if (!status.ok()) readings.error = status.message().substr(0, kLongestError);
      if (status.ok()) readings.rules = std::move(*rules);
    }
    if (!tuning_.predicts || settings_.tuning_cache.empty()) return readings;
    auto cached = read_cached();
    if (!cached.ok()) parts_.log.info("the machine is measured: " + cached.status().message());
    if (cached.ok() && readings.rules.size() + cached->size() + 3 * sizeof(uint32_t) <= kLongestReadings)
      readings.cached = std::move(*cached);
    return readings;
  }

  Result<std::string> read_cached() const {
    const std::string path = cache_path(settings_.tuning_cache, key());
    auto text = read_tuning_text(path);
    if (!text.ok()) return text;
    const auto file = parse_tuning_file(*text, path);
    if (!file.ok()) return file.status();
    if (const std::string_view other = measured_for(file->machine); other != key())
      return Status(Code::invalid_argument, path + ": it was written for " + in_quotes(other) + ", this is " + in_quotes(key()));
    if (const auto profile = read_profile(file->machine); !profile.ok())
      return Status(Code::invalid_argument, path + ": " + profile.status().message());
    if (file->rules.empty()) return Status(Code::invalid_argument, path + ": it has no table");
    return text;
  }

  Status share_readings() {
    const auto all = bootstrap_.exchange(parts_.rank == 0 ? encode(read()) : "");
    if (!all.ok()) return all.status();
    const auto readings = decode_readings((*all)[0]);
    if (!readings.ok()) return readings.status();
    if (!readings->error.empty())
      return Status(Code::invalid_argument, "TUTTI_TUNING_FILE at rank 0: " + printable(readings->error));
    if (!settings_.tuning_file.empty()) {
      auto file = parse_tuning_file(readings->rules, settings_.tuning_file);
      if (!file.ok()) return file.status();
      tuning_.rules = std::move(file->rules);
    }
    return readings->cached.empty() ? Status() : take_table(readings->cached, "read from " + settings_.tuning_cache);
  }

  // Only rank 0 draws a conclusion from them.
  Status measure() {
    PairCallsOf calls(comm_);
    const auto mine = probe(calls, parts_.team);
    if (!mine.ok()) return mine.status();
    const auto blobs = bootstrap_.exchange(encode_measurements(*mine));
    if (!blobs.ok()) return blobs.status();
    if (parts_.rank != 0) return {};
    std::vector<Measurements> all;
    for (const std::string& blob : *blobs) {
      const auto measurements = decode_measurements(blob);
      if (!measurements.ok()) return measurements.status();
      all.push_back(*measurements);
    }
    tuning_.profile = conclude(all, comm_.terms(), parts_.intra_host_streams);
    return {};
  }

  // Rank 0, too, reads what it has written, so that all know the same.
  Status share_table(const std::string& source) {
    if (parts_.rank == 0) {
      set_streams(tuning_.profile);
      text_ = parts_.domain->tables.of(key(), [this] { return make_table(); });
    }
    const auto all = bootstrap_.exchange(text_);
    if (!all.ok()) return all.status();
    return take_table((*all)[0], source);
  }

  std::string make_table() const {
    const uint64_t start = now_ns();
    auto table = table_of(comm_.terms(), tuning_.profile);
    const auto seconds = static_cast<double>(now_ns() - start) * 1e-9;
    parts_.log.info("table of predictions: " + std::to_string(table.size()) + " lines in " + in_words(seconds));
    return format_tuning_file({std::move(table), profile_lines(tuning_.profile, key())});
  }

  Status take_table(std::string_view text, const std::string& source) {
    const auto refused = [](const Status& status) {
      return Status(Code::mismatch, "rank 0 sent a table of predictions that this rank refuses: " + status.message());
    };
    auto file = parse_tuning_file(text, "the table");
    if (!file.ok()) return refused(file.status());
    const auto profile = read_profile(file->machine);
    if (!profile.ok()) return refused(profile.status());
    tuning_.profile = *profile;
    tuning_.table = std::move(file->rules);
    tuning_.shape = key();
    tuning_.source = source;
    return {};
  }

  void keep() const {
    if (parts_.rank != 0 || settings_.tuning_cache.empty()) return;
    const Status written = write_tuning_text(cache_path(settings_.tuning_cache, key()), text_);
    if (!written.ok()) parts_.log.warn("TUTTI_TUNING_CACHE: " + written.message());
  }

  void set_streams(MachineProfile& profile) const {
    profile.intra_host.streams = parts_.intra_host_streams;
    profile.inter_host.streams = true;
  }

  Result<std::shared_ptr<const Tuning>> finish() {
    set_streams(tuning_.profile);
    return std::make_shared<const Tuning>(std::move(tuning_));
  }

  Communicator& comm_;
  const CommunicatorParts& parts_;
  const Settings& settings_;
  Bootstrap& bootstrap_;
  Tuning tuning_;
  std::string text_;  // at rank 0, of the table
};

}  // namespace

Result<std::shared_ptr<const Tuning>> agree_on_tuning(Communicator& comm, Bootstrap& bootstrap) {
  const kernels::StandardFloats mode;  // denormals and rounding of the caller's choice would change what is measured
  return Agreement(comm, bootstrap, {}).run();
}

Result<std::shared_ptr<const Tuning>> inherit_tuning(Communicator& comm, Bootstrap& bootstrap, const Tuning& parent) {
  const kernels::StandardFloats mode;
  return Agreement(comm, bootstrap, parent).inherit();
}

}  // namespace tutti

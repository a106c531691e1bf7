#include "options.h"

#include "byte_units.h"
#include "command_line.h"
#include "tutti/tutti.h"
#include "words.h"

namespace tutti::tune {
namespace {

constexpr int kMostRanks = 4096;

Status wrong(const std::string& sentence) { return Status(Code::invalid_argument, sentence); }

Status read_size(const char* option, const std::string& text, uint64_t& value) {
  const auto bytes = parse_bytes(text);
  if (!bytes.ok() || *bytes < 1 || *bytes > uint64_t{1} << 40)
    return wrong(std::string(option) + " takes a size such as 64K, not " + in_quotes(text) + ".");
  value = *bytes;
  return {};
}

Status read_kinds(const std::vector<std::string>& words, Options& options) {
  if (words.empty()) return {};
  options.kinds.clear();
  for (const std::string& word : words) {
    if (word == "all") {
      options.kinds = {bench::Kind::all_reduce, bench::Kind::reduce_scatter, bench::Kind::all_gather, bench::Kind::broadcast,
                       bench::Kind::reduce,     bench::Kind::gather,         bench::Kind::scatter,    bench::Kind::barrier};
      return {};
    }
    const auto kind = bench::kind_named(word);
    if (!kind || *kind == bench::Kind::send_recv)
      return wrong("There is no collective " + in_quotes(word) + " to choose algorithms for" +
                   suggestion(word, bench::kind_names()) + ".");
    options.kinds.push_back(*kind);
  }
  return {};
}

}  // namespace

std::vector<uint64_t> Options::sizes() const {
  std::vector<uint64_t> sizes;
  for (uint64_t bytes = min_bytes; bytes <= max_bytes; bytes *= factor) sizes.push_back(bytes);
  return sizes;
}

std::optional<int> parse_options(int argc, char** argv, bool silent, Options& options) {
  CLI::App app{
      "Measures every algorithm over sizes, prints which is fastest beside what Tutti would choose, and writes a file for "
      "TUTTI_TUNING_FILE.  Starts its own ranks on this machine, or joins those of mpirun, srun or torchrun.",
      "tutti-tune"};
  std::vector<std::string> kinds;
  std::string min = "4", max = "64M";
  int ranks = 0, factor = 4;
  app.add_option("collectives", kinds, "all_reduce, broadcast, …, or all; default: all_reduce");
  app.add_option("--ranks", ranks, "Processes to start; default: one per core, at least 2")->check(CLI::Range(2, kMostRanks));
  app.add_option("--transport", options.transport, "shm, tcp, rdma or ucx; default: what Tutti chooses");
  app.add_option("-b,--minbytes", min, "Smallest size, such as 4 or 64K")->capture_default_str();
  app.add_option("-e,--maxbytes", max, "Largest size")->capture_default_str();
  app.add_option("-f,--stepfactor", factor, "Factor between sizes")->capture_default_str()->check(CLI::Range(2, 1 << 20));
  app.add_option("--rounds", options.rounds, "Turns that each algorithm gets; their median counts")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("-o,--output", options.output, "Write the tuning file here");
  app.add_option("-J,--json", options.json, "Write all times, measured and predicted, here");
  app.set_version_flag("--version", std::string("tutti-tune ") + tutti_version());
  return bench::parse_command_line(app, argc, argv, silent, [&]() -> Status {
    if (ranks > 0) options.ranks = ranks;
    options.factor = static_cast<uint64_t>(factor);
    if (Status s = read_size("-b", min, options.min_bytes); !s.ok()) return s;
    if (Status s = read_size("-e", max, options.max_bytes); !s.ok()) return s;
    if (options.max_bytes < options.min_bytes)
      return wrong("The largest size, -e " + max + ", is below the smallest, -b " + min + ".");
    return read_kinds(kinds, options);
  });
}

}  // namespace tutti::tune

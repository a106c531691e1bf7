#include "bench_options.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <span>

#include "byte_units.h"
#include "command_line.h"
#include "spec.h"
#include "words.h"

namespace tutti::bench {
namespace {

constexpr std::array<std::string_view, 3> kLaunches{"blocking", "stream", "graph"};

// The command line as text; reading the text is ours, so that every complaint is a sentence.
struct Texts {
  std::string collective, ranks, transport, algorithm, min = "4", max, step, factor, iterations, warmup = "5", check = "1";
  std::string types = "float", ops = "sum", root = "0", across = "3", json, rotate, bind = "core";
  std::string launch = "blocking";
  std::optional<std::string> device;  // empty: any
  std::optional<std::string> codec;   // an empty one is a mistake, not none
  bool osu = false, huge_pages = false, threads = false;
};

std::string listed_codecs() {
  std::vector<std::string_view> names;
  for (const CodecName& codec : codec_names()) names.push_back(codec.name);
  return listed(names);
}

void declare(CLI::App& app, Texts& texts) {
  app.add_option("collective", texts.collective,
                 "all_reduce, reduce_scatter, all_gather, broadcast, reduce, gather, scatter, "
                 "all_to_all, scan, exscan, barrier or send_recv");
  app.add_option("--ranks", texts.ranks, "Ranks to start; default: one per core, at least 2");
  app.add_flag("--threads", texts.threads, "Start the ranks as threads of one process instead of processes");
  app.add_option("--bind", texts.bind,
                 "core: each rank that is started gets cores of its own if there are enough; none: the system places them")
      ->capture_default_str();
  app.add_option("--transport", texts.transport, "shm, tcp, rdma or ucx; default: what Tutti chooses");
  app.add_option("--algorithm", texts.algorithm, "A name, a rule as of TUTTI_ALGORITHM, or \"all\": one table for each");
  app.add_option(
      "--codec", texts.codec,
      "Compress what travels in all_reduce: a codec as docs/compression.md describes them, such as topk:ratio=0.01; one of " +
          listed_codecs());
  app.add_option("-b,--minbytes", texts.min, "Smallest size, such as 4 or 64K")->capture_default_str();
  app.add_option("-e,--maxbytes", texts.max, "Largest size; default: 64M");
  app.add_option("-i,--stepbytes", texts.step, "Step between sizes in bytes, instead of -f");
  app.add_option("-f,--stepfactor", texts.factor, "Factor between sizes; default: 4");
  app.add_option("-n,--iters", texts.iterations, "Timed iterations; default: about half a second per size, at most 1000");
  app.add_option("-w,--warmup_iters", texts.warmup, "Iterations before the timed ones")->capture_default_str();
  app.add_option("-c,--check", texts.check, "How many of the last iterations are checked on every rank; 0: none")
      ->capture_default_str();
  app.add_option("-d,--datatype", texts.types,
                 "int8, uint8, int16, uint16, int32, uint32, int64, uint64, half, float, double, bfloat16, "
                 "a list with commas, or all")
      ->capture_default_str();
  app.add_option("-o,--op", texts.ops, "sum, prod, min, max, avg, band, bor, bxor, a list with commas, or all")
      ->capture_default_str();
  app.add_option("-r,--root", texts.root, "Root of broadcast, reduce, gather and scatter, or all")->capture_default_str();
  app.add_option("-a,--average", texts.across, "The time of a size: 0 of rank 0, 1 average, 2 minimum, 3 maximum over ranks")
      ->capture_default_str();
  app.add_option("-J,--json", texts.json, "Also write the results to this file");
  app.add_option("--rotate", texts.rotate, "Memory per rank that the buffers rotate over; default: enough to leave the caches");
  app.add_flag("--huge-pages", texts.huge_pages, "Ask for huge pages for the buffers, as memory of many allocators has them");
  app.add_option("--device", texts.device,
                 "Buffers in CUDA devices' memory: the ranks of a host have these in turn, such as 0 or 0,2; without numbers: all")
      ->expected(0, 1);
  app.add_option("--launch", texts.launch,
                 "With --device. blocking: each call is waited for; stream: calls are put on a stream, and waited for together; "
                 "graph: they are captured into a graph, and its launch is waited for")
      ->capture_default_str();
  app.add_flag("--osu", texts.osu, "Print the columns of the OSU benchmarks");
  app.set_version_flag("--version", std::string("tutti-bench ") + tutti_version());
}

Status wrong(const std::string& sentence) { return Status(Code::invalid_argument, sentence); }

Status unknown(const char* what, std::string_view text, std::span<const std::string_view> known) {
  const std::string hint = suggestion(text, known);
  return wrong(std::string("There is no ") + what + " " + in_quotes(text) +
               (hint.empty() ? "; known are " + listed(known) + "." : hint));
}

Status read_count(const char* option, const std::string& text, int least, int& value) {
  const auto number = parse_number(text);
  if (!number || *number < static_cast<uint64_t>(least) || *number > std::numeric_limits<int>::max())
    return wrong(std::string(option) + " takes a number from " + std::to_string(least) + " up, not " + in_quotes(text) + ".");
  value = static_cast<int>(*number);
  return {};
}

Status read_size(const char* option, const std::string& text, uint64_t least, uint64_t& value) {
  const auto bytes = parse_bytes(text);
  if (!bytes.ok() || *bytes < least)
    return wrong(std::string(option) + " takes a size of at least " + std::to_string(least) + " such as 64K, not " +
                 in_quotes(text) + ".");
  value = *bytes;
  return {};
}

Status read_sizes(const Texts& texts, Options& options) {
  if (Status s = read_size("-b", texts.min, 1, options.min_bytes); !s.ok()) return s;
  options.max_bytes = std::max(options.max_bytes, options.min_bytes);
  if (!texts.max.empty())
    if (Status s = read_size("-e", texts.max, 1, options.max_bytes); !s.ok()) return s;
  if (options.max_bytes < options.min_bytes)
    return wrong("The largest size, -e " + texts.max + ", is below the smallest, -b " + texts.min + ".");
  if (!texts.step.empty())
    if (Status s = read_size("-i", texts.step, 1, options.step_bytes); !s.ok()) return s;
  int factor = texts.step.empty() ? 4 : 1;
  if (!texts.factor.empty())
    if (Status s = read_count("-f", texts.factor, 1, factor); !s.ok()) return s;
  if (factor > 1 && options.step_bytes > 0) return wrong("Give -i or -f, not both.");
  if (factor == 1 && options.step_bytes == 0 && options.min_bytes < options.max_bytes)
    return wrong("Sizes do not grow by a factor of 1: give -i as well, or another -f.");
  options.factor = static_cast<uint64_t>(factor);
  if (!texts.rotate.empty()) return read_size("--rotate", texts.rotate, 1, options.rotate_bytes);
  return {};
}

// "all", or names between commas; `find` turns a name into a value.
template <class Value, size_t N, class Find>
Status read_list(const char* what, const std::string& text, const std::array<Value, N>& everything,
                 const std::vector<std::string_view>& names, Find find, std::vector<Value>& values) {
  values.clear();
  if (text == "all") values.assign(everything.begin(), everything.end());
  if (text == "all") return {};
  for (const std::string_view word : split(text, ',')) {
    const auto value = find(trim(word));
    if (!value) return unknown(what, word, names);
    values.push_back(*value);
  }
  if (values.empty()) return wrong("The list of " + std::string(what) + "s is empty.");
  return {};
}

Status read_choices(const Texts& texts, Options& options) {
  const auto kind = kind_named(texts.collective);
  if (!kind) return unknown("collective", texts.collective, kind_names());
  options.kind = *kind;
  std::vector<std::string_view> type_names, op_names;
  for (const tutti_dtype type : kAllTypes) type_names.push_back(type_name(type));
  for (const tutti_op op : kAllOps) op_names.push_back(op_name(op));
  if (Status s = read_list("data type", texts.types, kAllTypes, type_names, type_named, options.types); !s.ok()) return s;
  if (Status s = read_list("operator", texts.ops, kAllOps, op_names, op_named, options.ops); !s.ok()) return s;
  for (const tutti_op op : options.ops)
    if (std::ranges::none_of(options.types, [op](tutti_dtype type) { return is_defined(op, type); }) && texts.ops != "all")
      return wrong(std::string(op_name(op)) + " is an operator on the bits of integers: give an integer type with -d.");
  if (options.ops == std::vector{TUTTI_AVG} && (options.kind == Kind::scan || options.kind == Kind::exscan))
    return wrong("There is no avg of scans.");
  int number = 0;
  if (texts.root == "all") {
    options.root.reset();
  } else {
    if (Status s = read_count("-r", texts.root, 0, number); !s.ok()) return s;
    options.root = number;
  }
  if (Status s = read_count("-a", texts.across, 0, number); !s.ok()) return s;
  if (number > 3) return wrong("-a takes 0 (rank 0), 1 (average), 2 (minimum) or 3 (maximum), not " + texts.across + ".");
  options.across = static_cast<Across>(number);
  return {};
}

Status read_codec(const Texts& texts, Options& options) {
  if (!texts.codec) return {};
  options.codec = *texts.codec;
  if (const auto spec = parse_codec(options.codec); !spec.ok()) return wrong("--codec: " + spec.status().message() + ".");
  const auto adds = [](tutti_op op) { return op == TUTTI_SUM || op == TUTTI_AVG; };
  const auto floats = [](tutti_dtype type) { return type == TUTTI_FLOAT32 || type == TUTTI_FLOAT16 || type == TUTTI_BFLOAT16; };
  if (options.kind != Kind::all_reduce || !std::ranges::all_of(options.ops, adds) || !std::ranges::all_of(options.types, floats))
    return wrong("--codec compresses all_reduce of sum or avg over float, half or bfloat16 only.");
  return {};
}

// After the collective.
Status read_device(const Texts& texts, Options& options) {
  const auto launch = std::ranges::find(kLaunches, texts.launch);
  if (launch == kLaunches.end()) return unknown("launch", texts.launch, kLaunches);
  options.launch = static_cast<Launch>(launch - kLaunches.begin());
  options.on_device = texts.device.has_value();
  if (!options.on_device)
    return options.launch == Launch::blocking ? Status() : wrong("--launch " + texts.launch + " takes --device as well.");
  for (const std::string_view word : texts.device->empty() ? std::vector<std::string_view>() : split(*texts.device, ',')) {
    int device = 0;
    if (Status s = read_count("--device", std::string(trim(word)), 0, device); !s.ok()) return s;
    options.devices.push_back(device);
  }
  if (texts.huge_pages) return wrong("--huge-pages are the host's: they do not go with --device.");
  if (options.kind == Kind::barrier && options.launch != Launch::stream)
    return wrong("A barrier has no buffers, and goes through the host's memory: with --device it takes --launch stream.");
  if (!options.codec.empty() && options.launch != Launch::blocking)
    return wrong("A codec serves one call at a time: --codec takes --launch blocking.");
  if (options.kind == Kind::send_recv && options.launch != Launch::blocking)
    return wrong("Messages are not put on streams: send_recv takes --launch blocking.");
  return {};
}

Status read(const Texts& texts, Options& options) {
  if (texts.collective.empty())
    return wrong(kind_named(texts.device.value_or("")) ? "The collective comes first: what follows --device names devices."
                                                       : "collective is required.");
  if (Status s = read_choices(texts, options); !s.ok()) return s;
  if (Status s = read_codec(texts, options); !s.ok()) return s;
  if (Status s = read_device(texts, options); !s.ok()) return s;
  if (Status s = read_sizes(texts, options); !s.ok()) return s;
  if (Status s = read_count("-w", texts.warmup, 0, options.warmup); !s.ok()) return s;
  if (Status s = read_count("-c", texts.check, 0, options.check); !s.ok()) return s;
  int number = 0;
  if (!texts.iterations.empty()) {
    if (Status s = read_count("-n", texts.iterations, 1, number); !s.ok()) return s;
    options.iterations = number;
  }
  if (!texts.ranks.empty()) {
    if (Status s = read_count("--ranks", texts.ranks, 1, number); !s.ok()) return s;
    options.ranks = number;
  }
  if (texts.bind != "core" && texts.bind != "none") return wrong("--bind takes core or none, not " + in_quotes(texts.bind) + ".");
  options.binds = texts.bind == "core";
  options.threads = texts.threads;
  options.transport = texts.transport;
  options.algorithm = texts.algorithm;
  options.json = texts.json;
  options.osu = texts.osu;
  options.huge_pages = texts.huge_pages;
  if (options.ranks && options.root && *options.root >= *options.ranks)
    return wrong("Root " + texts.root + " is not one of the " + texts.ranks + " ranks.");
  return {};
}

}  // namespace

std::string_view name(Launch launch) { return kLaunches[static_cast<size_t>(launch)]; }

std::vector<uint64_t> Options::sizes() const {
  std::vector<uint64_t> sizes;
  for (uint64_t bytes = min_bytes; bytes <= max_bytes;) {
    sizes.push_back(bytes);
    const uint64_t next = step_bytes > 0 ? bytes + step_bytes : bytes * factor;
    if (next <= bytes) break;  // wrapped
    bytes = next;
  }
  return sizes;
}

std::optional<int> parse_options(int argc, char** argv, bool silent, Options& options) {
  CLI::App app{
      "Measures Tutti's collectives and checks their results.  Starts its own ranks on this machine, or joins those of "
      "mpirun, srun or torchrun.",
      "tutti-bench"};
  app.get_formatter()->column_width(28);
  Texts texts;
  declare(app, texts);
  return parse_command_line(app, argc, argv, silent, [&] { return read(texts, options); });
}

}  // namespace tutti::bench

// The text of codecs: a table of names, a table of settings, and what they allow.
#include "spec.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>

#include "standard_floats.h"
#include "words.h"

namespace tutti {
namespace {

constexpr uint32_t kLeastGroup = 32, kLeastChunk = 256, kMost = 65536, kChunk = 4096;

Status refused(const std::string& why) { return Status(Code::invalid_argument, why); }

// ---- names ----

struct Name {
  CodecName name;
  CodecSpec spec;
};

// In the order in which describe() prefers them.
const std::vector<Name>& names() {
  constexpr CodecKind kCast = CodecKind::cast, kQuantize = CodecKind::quantize;
  constexpr Rounding kStochastic = Rounding::stochastic;
  static const std::vector<Name> all = {
      {{"fp16", "IEEE half precision: 2 times fewer bytes, numbers beyond 65504 are clipped"},
       {.kind = kCast, .type = CastType::fp16}},
      {{"bf16", "bfloat16: 2 times fewer bytes, the range of float32"}, {.kind = kCast, .type = CastType::bf16}},
      {{"fp8_e4m3", "8-bit floats with 3 bits of mantissa, scaled by group: 4 times"}, {.kind = kCast, .type = CastType::fp8_e4m3}},
      {{"fp8_e5m2", "8-bit floats with 2 bits of mantissa, scaled by group: 4 times"}, {.kind = kCast, .type = CastType::fp8_e5m2}},
      {{"int8", "whole numbers of -127 … 127, scaled by group: 4 times"}, {.kind = kQuantize}},
      {{"int4", "whole numbers of -7 … 7, scaled by group: 8 times"}, {.kind = kQuantize, .levels = 7, .bits = 4}},
      {{"int2", "-1, 0, 1, scaled by group: 15 times"}, {.kind = kQuantize, .levels = 1, .bits = 2}},
      {{"qsgd", "rounded at random, so that errors average out (QSGD with the greatest magnitude): 8 times"},
       {.kind = kQuantize, .levels = 7, .bits = 4, .rounding = kStochastic}},
      {{"terngrad", "-1, 0, 1 rounded at random, clipped at 2.5 standard deviations (TernGrad): 15 times"},
       {.kind = kQuantize, .levels = 1, .bits = 2, .clip_sigma = 2.5, .rounding = kStochastic, .feedback = 0}},
      {{"sign", "one bit a number and the mean magnitude of the group (EF-signSGD): 30 times"}, {.kind = CodecKind::sign}},
      {{"topk", "the numbers of greatest magnitude (Deep Gradient Compression with momentum=, clip_norm=, warmup=)"},
       {.kind = CodecKind::topk}},
      {{"randomk", "numbers chosen at random, the same ones on all ranks"}, {.kind = CodecKind::randomk}},
      {{"cast", "16-bit and 8-bit floats, by type="}, {.kind = kCast}},
      {{"quantize", "whole numbers, by bits= or levels="}, {.kind = kQuantize}},
  };
  return all;
}

std::string_view kind_name(CodecKind kind) {
  constexpr std::string_view kNames[] = {"cast", "quantize", "sign", "topk", "randomk"};
  return kNames[static_cast<size_t>(kind)];
}

// ---- settings ----

constexpr std::string_view kTypes[] = {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2"};  // each in the order of its enumeration
constexpr std::string_view kRoundings[] = {"nearest", "stochastic"};
constexpr std::string_view kRanges[] = {"absmax", "minmax"};
constexpr std::string_view kValues[] = {"fp32", "fp16", "bf16", "int8"};

template <class Word, Word CodecSpec::*kField, const auto& kWords>
Status read_word(std::string_view text, CodecSpec& spec) {
  const auto found = std::find(std::begin(kWords), std::end(kWords), text);
  if (found == std::end(kWords)) return refused(in_quotes(text) + " is not " + listed(kWords) + suggestion(text, kWords));
  spec.*kField = static_cast<Word>(found - std::begin(kWords));
  return {};
}
template <class Word, Word CodecSpec::*kField, const auto& kWords>
std::string write_word(const CodecSpec& spec) {
  return std::string(kWords[static_cast<size_t>(spec.*kField)]);
}

template <class Number, Number CodecSpec::*kField>
Status read_number(std::string_view text, CodecSpec& spec) {
  const auto number = parse_number(text);
  if (!number) return refused(in_quotes(text) + " is no whole number");
  if (*number > std::numeric_limits<Number>::max()) return refused(std::string(text) + " is too large");
  spec.*kField = static_cast<Number>(*number);
  return {};
}
template <class Number, Number CodecSpec::*kField>
std::string write_number(const CodecSpec& spec) {
  return std::to_string(spec.*kField);
}

template <double CodecSpec::*kField>
Status read_real(std::string_view text, CodecSpec& spec) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || !std::isfinite(number)) return refused(in_quotes(text) + " is no number");
  spec.*kField = number;
  return {};
}
template <double CodecSpec::*kField>
std::string write_real(const CodecSpec& spec) {
  char text[32];
  return {text, std::to_chars(text, std::end(text), spec.*kField).ptr};  // the shortest that is read back the same
}

template <class Field, Field CodecSpec::*kField>
Status read_switch(std::string_view text, CodecSpec& spec) {
  if (text != "0" && text != "1") return refused(in_quotes(text) + " is neither 0 nor 1");
  spec.*kField = static_cast<Field>(text == "1");
  return {};
}
template <class Field, Field CodecSpec::*kField>
std::string write_switch(const CodecSpec& spec) {
  const int value = spec.*kField;
  return value < 0 ? "" : value != 0 ? "1" : "0";  // -1, by the codec, has no text
}

constexpr uint32_t most_levels(uint32_t bits) { return (1u << (bits - 1)) - 1; }
uint32_t least_bits(uint32_t levels) { return levels <= most_levels(2) ? 2 : levels <= most_levels(4) ? 4 : 8; }

Status read_bits(std::string_view text, CodecSpec& spec) {
  if (text != "2" && text != "4" && text != "8") return refused(in_quotes(text) + " is not 2, 4 or 8");
  spec.bits = static_cast<uint32_t>(text[0] - '0');
  spec.levels = most_levels(spec.bits);
  return {};
}
Status read_levels(std::string_view text, CodecSpec& spec) {
  Status status = read_number<uint32_t, &CodecSpec::levels>(text, spec);
  spec.bits = least_bits(spec.levels);
  return status;
}

struct Setting {
  std::string_view key;
  std::string_view kinds;  // the kinds that have it: c(ast), q(uantize), s(ign), t(opk), r(andomk)
  Status (*read)(std::string_view text, CodecSpec& spec);
  std::string (*write)(const CodecSpec& spec);  // "": cannot be written

  bool of(CodecKind kind) const { return kinds.find(kind_name(kind)[0]) != std::string_view::npos; }
};

using Spec = CodecSpec;
constexpr Setting kSettings[] = {
    {"type", "c", read_word<CastType, &Spec::type, kTypes>, write_word<CastType, &Spec::type, kTypes>},
    {"bits", "q", read_bits, write_number<uint32_t, &Spec::bits>},
    {"levels", "q", read_levels, write_number<uint32_t, &Spec::levels>},
    {"clip", "q", read_real<&Spec::clip_sigma>, write_real<&Spec::clip_sigma>},
    {"round", "cq", read_word<Rounding, &Spec::rounding, kRoundings>, write_word<Rounding, &Spec::rounding, kRoundings>},
    {"range", "q", read_word<Range, &Spec::range, kRanges>, write_word<Range, &Spec::range, kRanges>},
    {"group", "cqs", read_number<uint32_t, &Spec::group>, write_number<uint32_t, &Spec::group>},
    {"ratio", "tr", read_real<&Spec::ratio>, write_real<&Spec::ratio>},
    {"k", "tr", read_number<uint32_t, &Spec::k>, write_number<uint32_t, &Spec::k>},
    {"chunk", "tr", read_number<uint32_t, &Spec::chunk>, write_number<uint32_t, &Spec::chunk>},
    {"values", "tr", read_word<ValueType, &Spec::values, kValues>, write_word<ValueType, &Spec::values, kValues>},
    {"momentum", "t", read_real<&Spec::momentum>, write_real<&Spec::momentum>},
    {"clip_norm", "t", read_real<&Spec::clip_norm>, write_real<&Spec::clip_norm>},
    {"masking", "t", read_switch<bool, &Spec::masking>, write_switch<bool, &Spec::masking>},
    {"warmup", "t", read_number<uint32_t, &Spec::warmup_steps>, write_number<uint32_t, &Spec::warmup_steps>},
    {"feedback", "cqstr", read_switch<int, &Spec::feedback>, write_switch<int, &Spec::feedback>},
    {"seed", "cqstr", read_number<uint64_t, &Spec::seed>, write_number<uint64_t, &Spec::seed>},
};

// ---- reading ----

Status read_setting(std::string_view text, std::vector<std::string_view>& given, CodecSpec& spec) {
  std::vector<std::string_view> keys;
  for (const Setting& setting : kSettings)
    if (setting.of(spec.kind)) keys.push_back(setting.key);
  const size_t equals = text.find('=');
  const std::string_view key = trim(text.substr(0, equals));
  if (key.empty()) return refused("a setting is missing; there are " + listed(keys));
  const auto has = [&](std::string_view word) { return std::find(given.begin(), given.end(), word) != given.end(); };
  if (std::find(keys.begin(), keys.end(), key) == keys.end())
    return refused(in_quotes(key) + " is no setting of " + std::string(kind_name(spec.kind)) + suggestion(key, keys) +
                   " (there are " + listed(keys) + ")");
  if (equals == std::string_view::npos) return refused(std::string(key) + " has no value; write " + std::string(key) + "=…");
  if (has(key)) return refused(std::string(key) + " is given twice");
  given.push_back(key);
  if (has("bits") && has("levels")) return refused("bits and levels are both given; each follows from the other");
  const Setting& setting =
      *std::find_if(std::begin(kSettings), std::end(kSettings), [&](const Setting& s) { return s.key == key; });
  const Status status = setting.read(trim(text.substr(equals + 1)), spec);
  return status.ok() ? status : refused(std::string(key) + "=: " + status.message());
}

Result<CodecSpec> read(std::string_view text) {
  constexpr std::string_view kAuto = "auto:";
  std::string_view rest = trim(text);
  const bool automatic = rest.starts_with(kAuto);
  if (automatic) rest.remove_prefix(kAuto.size());
  const size_t colon = rest.find(':');
  const std::string_view word = trim(rest.substr(0, colon));
  std::vector<std::string_view> words;
  for (const Name& name : names()) {
    words.push_back(name.name.name);
    if (name.name.name != word) continue;
    CodecSpec spec = name.spec;
    spec.automatic = automatic;
    if (colon == std::string_view::npos) return spec;
    std::vector<std::string_view> given;
    for (const std::string_view setting : split(rest.substr(colon + 1), ','))
      if (Status status = read_setting(setting, given, spec); !status.ok()) return status;
    if (Status status = check(spec); !status.ok()) return status;
    return spec;
  }
  if (word.empty()) return refused("the name of a codec is missing; there are " + listed(words));
  return refused(in_quotes(word) + " is no codec" + suggestion(word, words) + " (there are " + listed(words) + ")");
}

// ---- what is allowed ----

bool power_of_two(uint32_t number, uint32_t least) { return std::has_single_bit(number) && number >= least && number <= kMost; }
// Not-a-numbers are not.
bool within(double number, double least, double most) { return number >= least && number <= most; }

std::string no_power_of_two(std::string_view key, uint32_t number, uint32_t least) {
  return std::string(key) + "=" + std::to_string(number) + " is no power of two from " + std::to_string(least) + " to " +
         std::to_string(kMost);
}

Status check_dense(const CodecSpec& spec) {
  if (spec.group != 0 && !power_of_two(spec.group, kLeastGroup)) return refused(no_power_of_two("group", spec.group, kLeastGroup));
  const bool fp8 = spec.type == CastType::fp8_e4m3 || spec.type == CastType::fp8_e5m2;
  if (spec.kind == CodecKind::cast && !fp8 && spec.group != 0) return refused("group= needs fp8: fp16 and bf16 have no scale");
  if (spec.kind == CodecKind::cast && !fp8 && spec.rounding != Rounding::nearest)
    return refused("round=stochastic needs fp8: fp16 and bf16 round to nearest");
  if (spec.kind != CodecKind::quantize) return {};
  if (spec.levels < 1 || spec.levels > most_levels(8))
    return refused("levels=" + std::to_string(spec.levels) + " is not in 1 … 127");
  if (spec.bits != least_bits(spec.levels))
    return refused(std::to_string(spec.bits) + " bits do not go with levels=" + std::to_string(spec.levels) + ", which takes " +
                   std::to_string(least_bits(spec.levels)));
  if (spec.clip_sigma != 0 && !within(spec.clip_sigma, 1, 100))
    return refused("clip=" + write_real<&Spec::clip_sigma>(spec) + " is neither 0 nor in 1 … 100 standard deviations");
  if (spec.clip_sigma != 0 && spec.range == Range::minmax) return refused("clip= needs range=absmax: it clips about zero");
  return {};
}

Status check_sparse(const CodecSpec& spec) {
  if (!within(spec.ratio, 1e-6, 1)) return refused("ratio=" + write_real<&Spec::ratio>(spec) + " is not in 0.000001 … 1");
  if (spec.chunk != 0 && !power_of_two(spec.chunk, kLeastChunk)) return refused(no_power_of_two("chunk", spec.chunk, kLeastChunk));
  const uint32_t chunk = spec.chunk != 0 ? spec.chunk : kChunk;
  if (spec.k > chunk)
    return refused("k=" + std::to_string(spec.k) + " is more than a chunk of " + std::to_string(chunk) + " has; set chunk=");
  if (spec.k != 0 && spec.ratio != CodecSpec().ratio) return refused("k and ratio are both given; say one");
  if (!(spec.momentum >= 0 && spec.momentum < 1))
    return refused("momentum=" + write_real<&Spec::momentum>(spec) + " is not in 0 … 1, 1 excluded");
  if (!within(spec.clip_norm, 0, 1e30)) return refused("clip_norm=" + write_real<&Spec::clip_norm>(spec) + " is not in 0 … 1e30");
  if (spec.momentum > 0 && spec.feedback == 0) return refused("momentum= needs feedback: it corrects what the residual keeps");
  if (spec.momentum > 0 && spec.automatic)
    return refused(
        "momentum= does not go with auto: – where a call is not compressed its sum has no momentum, and the optimizer, which "
        "has none either, cannot tell; decide yourself, or leave momentum to the optimizer");
  if (spec.momentum == 0 && spec.clip_norm != 0)
    return refused("clip_norm= needs momentum=: it limits what the velocity takes up; without, clip the gradient before the call");
  if (spec.momentum == 0 && !spec.masking) return refused("masking=0 needs momentum=: there is no velocity to mask");
  return {};
}

Status check_all(const CodecSpec& spec) {
  for (const Setting& setting : kSettings) {
    if (!setting.of(spec.kind) && setting.write(spec) != setting.write(CodecSpec()))
      return refused(std::string(setting.key) + " is no setting of " + std::string(kind_name(spec.kind)));
  }
  if (spec.feedback < -1 || spec.feedback > 1) return refused("feedback is neither 0 nor 1, nor -1 for the codec's own");
  return spec.kind == CodecKind::topk || spec.kind == CodecKind::randomk ? check_sparse(spec) : check_dense(spec);
}

// The settings that make `spec` of `base`, or nothing if they cannot be said.
std::optional<std::vector<std::string>> difference(const CodecSpec& spec, const CodecSpec& base) {
  std::vector<std::string> settings;
  const bool of_bits = spec.levels == most_levels(spec.bits);
  for (const Setting& setting : kSettings) {
    if (setting.key == (of_bits ? "levels" : "bits")) continue;
    const std::string text = setting.write(spec);
    if (text == setting.write(base)) continue;
    if (text.empty() || !setting.of(spec.kind)) return std::nullopt;
    settings.push_back(std::string(setting.key) + "=" + text);
  }
  return settings;
}

}  // namespace

Result<CodecSpec> parse_codec(std::string_view text) {
  const kernels::StandardFloats mode;  // ranks must read the same numbers
  auto spec = read(text);
  if (spec.ok()) return spec;
  return refused("in the codec " + in_quotes(text) + ", " + spec.status().message());
}

Status check(const CodecSpec& spec) { return check_all(spec); }

std::string describe(const CodecSpec& spec) {
  std::string shortest;
  size_t least = std::size(kSettings) + 1;
  for (const Name& name : names()) {
    const auto settings = name.spec.kind == spec.kind ? difference(spec, name.spec) : std::nullopt;
    if (!settings || settings->size() >= least) continue;
    least = settings->size();
    shortest = name.name.name;
    for (size_t i = 0; i < settings->size(); ++i) shortest += (i == 0 ? ":" : ",") + (*settings)[i];
  }
  return (spec.automatic ? "auto:" : "") + shortest;
}

const std::vector<CodecName>& codec_names() {
  static const std::vector<CodecName> all = [] {
    std::vector<CodecName> list;
    for (const Name& name : names()) list.push_back(name.name);
    return list;
  }();
  return all;
}

}  // namespace tutti

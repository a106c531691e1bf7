#include "codec_trial.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "bench_types.h"
#include "bytes.h"

namespace tutti::bench {
namespace {

constexpr size_t kStatistical = 4096;  // elements from which averages of random rounding may be relied upon

// ‖found - calls · exact‖ and ‖exact‖.
struct Distance {
  double error = 0, exact = 0;
};
template <class Found>
Distance distance(const Gradients& gradients, size_t elements, int calls, Found found) {
  double error = 0, exact = 0;
  for (size_t i = 0; i < elements; ++i) {
    const double sum = gradients.sum(i, 0), apart = found(i) - calls * sum;
    error += apart * apart;
    exact += sum * sum;
  }
  return {std::sqrt(error), std::sqrt(exact)};
}

// The error that rounding of sums and outputs may add in a call, relative to the exact sum.
double rounding(const Workload& work) {
  const double unit = work.type == TUTTI_FLOAT32 ? 0x1p-24 : work.type == TUTTI_FLOAT16 ? 0x1p-11 : 0x1p-8;
  return unit + 2 * (work.ranks + 1) * 0x1p-24;
}

// A hash of words of 4 bytes, the last one filled up with zeros.
uint64_t digest(const std::byte* bytes, size_t n) {
  Hash hash;
  for (size_t i = 0; i < n; i += sizeof(uint32_t)) {
    uint32_t word = 0;
    std::memcpy(&word, bytes + i, std::min(sizeof word, n - i));
    hash.add(uint64_t{word});
  }
  return hash.value();
}

}  // namespace

Result<CodecHandle> open_codec(const std::string& spec, const Workload& work) {
  tutti_codec* codec = nullptr;
  const tutti_status status = tutti_codec_create(&codec, spec.c_str(), work.count, work.type);
  if (status != TUTTI_SUCCESS) return Status(static_cast<Code>(status), tutti_last_error(nullptr));
  return CodecHandle(codec);
}

CodecTrial::CodecTrial(const Job& job, const Workload& work, const std::string& spec, const std::string& algorithm,
                       const Rotation& rotation)
    : job_(job),
      work_(work),
      text_(spec),
      algorithm_(algorithm),
      rotation_(rotation),
      spec_(*parse_codec(spec)),
      gradients_(work.type, work.count, work.rank, work.ranks) {
  const auto codec = make_codec(spec_);
  feedback_ = uses_feedback(spec_, *codec);
  random_ = spec_.rounding == Rounding::stochastic;
}

Status CodecTrial::one_call(const Workload& work, bool in_place, tutti_codec* codec) {
  const size_t slot_bytes = work.buffer_bytes();
  const Placed data = seen(work, in_place);
  gradients_.fill(data.input, work.count, 0);
  tutti_call_options options;
  tutti_call_options_init(&options);
  if (!algorithm_.empty()) options.algorithm = algorithm_.c_str();
  options.codec = codec;
  if (!codec) return job_.failure(call(job_.comm(), work, data, &options));
  if (Status s = rotation_.send(0, slot_bytes); !s.ok()) return s;
  const tutti_status status = call(job_.comm(), work, place(work, rotation_.slot(0, slot_bytes), in_place), &options);
  return status == TUTTI_SUCCESS ? rotation_.fetch(0, slot_bytes) : job_.failure(status);
}

Result<CodecTrial::Carried> CodecTrial::carry(bool in_place, tutti_codec* codec) {
  const uint64_t before = job_.stats().sent_bytes;
  if (Status s = one_call(work_, in_place, codec); !s.ok()) return s;
  const tutti_stats stats = job_.stats();
  const auto sent = job_.gather(stats.sent_bytes - before);
  if (!sent.ok()) return sent.status();
  return Carried{std::ranges::max(*sent), stats};
}

Result<double> CodecTrial::norms(tutti_codec* codec) const {
  double mine = 0, sum = 0;
  if (const tutti_status s = tutti_codec_norm(codec, &mine); s != TUTTI_SUCCESS)
    return Status(static_cast<Code>(s), tutti_last_error(nullptr));
  const auto all = job_.gather(mine);
  if (!all.ok()) return all.status();
  for (const double norm : *all) sum += norm;
  return sum;
}

Result<bool> CodecTrial::equal_on_all_ranks(uint64_t mine) const {
  const auto all = job_.gather(mine);
  if (!all.ok()) return all.status();
  return std::ranges::all_of(*all, [&](uint64_t digest) { return digest == mine; });
}

Status CodecTrial::first_call(bool in_place, CodecFigures& figures) {
  auto codec = open_codec(text_, work_);
  if (!codec.ok()) return codec.status();
  const auto coded = carry(in_place, codec->get());
  if (!coded.ok()) return coded.status();
  figures.spec = tutti_codec_spec(codec->get());
  figures.how = coded->stats.last_codec;
  figures.wire_bytes = coded->sent;
  const std::byte* output = seen(work_, in_place).output;
  const uint64_t bits = digest(output, work_.bytes());
  const auto alike = equal_on_all_ranks(bits);
  if (!alike.ok()) return alike.status();
  const double divisor = work_.op == TUTTI_AVG ? work_.ranks : 1;
  const std::vector<float> found = widened(work_.type, output, work_.count);
  const Distance apart = distance(gradients_, work_.count, 1, [&](size_t i) { return static_cast<double>(found[i]) * divisor; });
  figures.error_once = apart.exact > 0 ? apart.error / apart.exact : apart.error;
  figures.kept_promises = *alike && std::isfinite(apart.error);

  const auto kept = norms(codec->get());
  if (!kept.ok()) return kept.status();
  if (feedback_ && spec_.clip_norm == 0) figures.kept_promises &= apart.error <= *kept + rounding(work_) * apart.exact;
  if (!feedback_ && !random_) {
    CodecSpec twin = spec_;
    twin.feedback = 1;
    auto other = open_codec(describe(twin), work_);
    if (!other.ok()) return other.status();
    if (Status s = one_call(work_, in_place, other->get()); !s.ok()) return s;
    figures.kept_promises &= digest(output, work_.bytes()) == bits;
  }
  // The same call without a codec.
  const std::string asked = std::exchange(algorithm_, coded->stats.last_algorithm);
  const auto plain = carry(in_place, nullptr);
  algorithm_ = asked;
  if (!plain.ok()) return plain.status();
  figures.plain_bytes = plain->sent;
  return {};
}

Status CodecTrial::many_calls(CodecFigures& figures) {
  Workload work = work_;
  work.count = std::min(work.count, kMeanElements);
  auto codec = open_codec(text_, work);
  if (!codec.ok()) return codec.status();
  const double divisor = work.op == TUTTI_AVG ? work.ranks : 1;
  const std::byte* output = seen(work, false).output;
  std::vector<double> sums(work.count);
  double first = 0;
  for (int t = 1; t <= kCodecCalls; ++t) {
    if (Status s = one_call(work, false, codec->get()); !s.ok()) return s;
    const std::vector<float> found = widened(work.type, output, work.count);
    for (size_t i = 0; i < work.count; ++i) sums[i] += static_cast<double>(found[i]) * divisor;
    if (t == 1) first = distance(gradients_, work.count, 1, [&](size_t i) { return sums[i]; }).error;
  }
  const Distance apart = distance(gradients_, work.count, kCodecCalls, [&](size_t i) { return sums[i]; });
  figures.error_mean = apart.error / kCodecCalls / (apart.exact > 0 ? apart.exact : 1);
  const auto kept = norms(codec->get());
  if (!kept.ok()) return kept.status();
  const double slack = kCodecCalls * rounding(work) * apart.exact;
  if (feedback_) figures.kept_promises &= apart.error <= *kept + slack;
  if (!feedback_ && random_ && work.count >= kStatistical)
    figures.kept_promises &= apart.error <= 2 * std::sqrt(kCodecCalls) * first + slack;
  return {};
}

Result<CodecFigures> CodecTrial::run(bool in_place) {
  CodecFigures figures;
  if (Status s = first_call(in_place, figures); !s.ok()) return s;
  if (!in_place && spec_.momentum == 0)
    if (Status s = many_calls(figures); !s.ok()) return s;
  const auto kept = job_.gather(static_cast<uint8_t>(figures.kept_promises));
  if (!kept.ok()) return kept.status();
  figures.kept_promises = std::ranges::all_of(*kept, [](uint8_t k) { return k != 0; });
  return figures;
}

}  // namespace tutti::bench

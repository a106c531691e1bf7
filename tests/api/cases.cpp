#include "cases.h"

#include <algorithm>
#include <cstdlib>

#include "algorithms.h"
#include "element_types.h"

namespace tutti::test {

// ---- pairwise cover ----

namespace {

// The set of pairs (parameter i has value a, parameter j has value b), i < j, that no row has yet.
class OpenPairs {
 public:
  explicit OpenPairs(const std::vector<int>& values) : values_(values) {
    for (const int n : values) first_.push_back(total_), total_ += static_cast<size_t>(n);
    open_.assign(total_ * total_, false);
    for (size_t i = 0; i < values.size(); ++i) {
      for (size_t j = i + 1; j < values.size(); ++j) {
        for (int a = 0; a < values[i]; ++a) {
          for (int b = 0; b < values[j]; ++b) open_[index(i, a, j, b)] = true;
        }
      }
    }
  }

  bool is_open(size_t i, int a, size_t j, int b) const { return i < j ? open_[index(i, a, j, b)] : open_[index(j, b, i, a)]; }

  // Fixes one open pair in `row` (where -1 means not chosen); false when all are covered.
  bool take_one(std::vector<int>& row) {
    for (; next_ < open_.size(); ++next_) {
      if (!open_[next_]) continue;
      place(next_ / total_, row);
      place(next_ % total_, row);
      return true;
    }
    return false;
  }

  void close(const std::vector<int>& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      for (size_t j = i + 1; j < row.size(); ++j) open_[index(i, row[i], j, row[j])] = false;
    }
  }

 private:
  size_t index(size_t i, int a, size_t j, int b) const {
    return (first_[i] + static_cast<size_t>(a)) * total_ + first_[j] + static_cast<size_t>(b);
  }
  void place(size_t flat, std::vector<int>& row) const {
    size_t parameter = values_.size() - 1;
    while (first_[parameter] > flat) --parameter;
    row[parameter] = static_cast<int>(flat - first_[parameter]);
  }

  std::vector<int> values_;
  std::vector<size_t> first_;
  size_t total_ = 0, next_ = 0;
  std::vector<bool> open_;
};

int best_value(const OpenPairs& open, const std::vector<int>& row, size_t parameter, int values, size_t turn) {
  int best = 0, best_gain = -1;
  for (int k = 0; k < values; ++k) {
    const int value = static_cast<int>((static_cast<size_t>(k) + turn) % static_cast<size_t>(values));  // ties go round
    int gain = 0;
    for (size_t other = 0; other < row.size(); ++other) {
      if (other != parameter && row[other] >= 0 && open.is_open(parameter, value, other, row[other])) ++gain;
    }
    if (gain > best_gain) best = value, best_gain = gain;
  }
  return best;
}

}  // namespace

std::vector<std::vector<int>> pairwise(const std::vector<int>& values) {
  OpenPairs open(values);
  std::vector<std::vector<int>> rows;
  for (std::vector<int> row(values.size(), -1); open.take_one(row); row.assign(values.size(), -1)) {
    for (size_t parameter = 0; parameter < values.size(); ++parameter) {
      if (row[parameter] < 0) row[parameter] = best_value(open, row, parameter, values[parameter], rows.size());
    }
    open.close(row);
    rows.push_back(row);
  }
  return rows;
}

// ---- cases ----

namespace {

enum Parameter : size_t { kMethod, kType, kOp, kInPlace, kRanks, kSize, kHow, kValues, kRoot, kScaled, kParts };
constexpr int kSizes = 8;
constexpr int kTypes = 12, kOps = 9, kHows = 3, kRoots = 3;

size_t count_for(int size_class, int ranks, Kind kind, size_t large) {
  const auto p = static_cast<size_t>(ranks);
  switch (size_class) {
    case 0: return 0;
    case 1: return 1;
    case 2: return p - 1;
    case 3: return p;
    case 4: return p + 1;
    case 5: return 17;
    case 6: return 1023;
    default: break;
  }
  const bool per_rank =
      kind != Kind::all_reduce && kind != Kind::broadcast && kind != Kind::reduce && kind != Kind::shift && !is_scan(kind);
  return per_rank ? large / p | 1 : large;
}

std::optional<Collective> collective_of(Kind kind) {
  switch (kind) {
    case Kind::all_reduce: return Collective::all_reduce;
    case Kind::reduce_scatter:
    case Kind::reduce_scatter_v: return Collective::reduce_scatter;
    case Kind::all_gather:
    case Kind::all_gather_v: return Collective::all_gather;
    case Kind::broadcast: return Collective::broadcast;
    case Kind::reduce: return Collective::reduce;
    case Kind::gather:
    case Kind::gather_v: return Collective::gather;
    case Kind::scatter:
    case Kind::scatter_v: return Collective::scatter;
    case Kind::all_to_all:
    case Kind::all_to_all_v: return Collective::all_to_all;
    case Kind::scan: return Collective::scan;
    case Kind::exscan: return Collective::exscan;
    case Kind::barrier: return Collective::barrier;
    case Kind::shift: break;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> algorithms_of(Kind kind) {
  std::vector<std::string> names;
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.collective == collective_of(kind)) names.emplace_back(algorithm.name);
  }
  return names;
}

std::string describe(const Case& c) {
  static constexpr const char* kWords[] = {", blocking", ", start and wait", ", start and test"};
  return describe(c.call) + kWords[static_cast<size_t>(c.how)];
}

CaseSpace::CaseSpace(std::vector<int> ranks, size_t large) : ranks_(std::move(ranks)), large_(large) {
  for (int k = 0; k < kKinds; ++k) {
    const auto kind = static_cast<Kind>(k);
    methods_.push_back({kind, ""});
    for (const std::string& algorithm : algorithms_of(kind)) methods_.push_back({kind, algorithm});
  }
  values_ = {static_cast<int>(methods_.size()), kTypes, kOps, 2, static_cast<int>(ranks_.size()), kSizes, kHows, 2, kRoots, 2, 2};
}

Case CaseSpace::make(const std::vector<int>& row, uint64_t seed) const {
  const Method& method = methods_[static_cast<size_t>(row[kMethod])];
  Case c;
  c.how = static_cast<How>(row[kHow]);
  c.call.kind = method.kind;
  c.call.algorithm = method.algorithm;
  c.call.dtype = static_cast<tutti_dtype>(row[kType]);
  c.call.op = op_for(c.call.kind, c.call.dtype, row[kOp]);
  c.call.in_place = row[kInPlace] == 1 && allows_in_place(method.kind);
  c.call.size = ranks_[static_cast<size_t>(row[kRanks])];
  c.call.count = count_for(row[kSize], c.call.size, method.kind, large_);
  c.call.count -= c.call.count % width_of(c.call);
  c.call.values = static_cast<Values>(row[kValues]);
  c.call.root = row[kRoot] * (c.call.size - 1) / (kRoots - 1);  // first, middle, last
  c.call.scaled = row[kScaled] == 1 && allows_factor(c.call);
  c.call.parts = row[kParts] == 1 && has_parts(method.kind);
  c.call.seed = seed;
  return c;
}

bool CaseSpace::is_redundant(const std::vector<int>& row) const {
  const Kind kind = methods_[static_cast<size_t>(row[kMethod])].kind;
  if (row[kHow] != 0 || row[kValues] != 0) return true;
  if (!is_reduction(kind) && row[kOp] != 0) return true;
  if (is_scan(kind) && row[kOp] == TUTTI_AVG) return true;
  if (row[kOp] >= TUTTI_BAND && row[kOp] < TUTTI_CUSTOM && is_real_dtype(static_cast<tutti_dtype>(row[kType]))) return true;
  if (!has_root(kind) && row[kRoot] != 0) return true;
  if (!is_reduction(kind) && row[kScaled] != 0) return true;
  if (!has_parts(kind) && row[kParts] != 0) return true;
  if (!allows_in_place(kind) && row[kInPlace] != 0) return true;
  return kind == Kind::barrier && (row[kType] != 0 || row[kSize] != 0);
}

std::vector<Case> CaseSpace::pairwise_cover(uint64_t seed) const {
  std::vector<Case> cases;
  for (const auto& row : pairwise(values_)) cases.push_back(make(row, seed + cases.size()));
  return cases;
}

std::vector<Case> CaseSpace::sample(size_t n, uint64_t seed) const {
  std::vector<Case> cases;
  for (uint64_t i = 0; i < n; ++i) {
    std::vector<int> row;
    for (size_t parameter = 0; parameter < values_.size(); ++parameter) {
      row.push_back(static_cast<int>(random_word(seed, i, parameter) % static_cast<uint64_t>(values_[parameter])));
    }
    cases.push_back(make(row, random_word(seed, i, values_.size()) % 1'000'000));
  }
  return cases;
}

std::vector<Case> CaseSpace::product() const {
  std::vector<Case> cases;
  for (std::vector<int> row(values_.size(), 0);;) {
    if (!is_redundant(row)) {
      std::vector<int> turned = row;
      turned[kHow] = static_cast<int>(cases.size() % kHows);
      turned[kValues] = static_cast<int>(cases.size() / kHows % 2);
      cases.push_back(make(turned, cases.size()));
    }
    size_t digit = 0;
    while (digit < row.size() && ++row[digit] == values_[digit]) row[digit++] = 0;
    if (digit == row.size()) return cases;
  }
}

uint64_t random_seed() {
  if (const char* text = std::getenv("API_TEST_SEED")) return std::strtoull(text, nullptr, 10);
  return std::random_device()() % 1'000'000'000;
}

bool full_product_wanted() {
  const char* text = std::getenv("API_TEST_FULL");
  return text != nullptr && *text == '1';
}

}  // namespace tutti::test

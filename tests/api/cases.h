// Which calls are tried: a pairwise cover of all parameters, random samples, or everything.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "arena.h"
#include "test_call.h"

namespace tutti::test {

// Rows of value indices, values[i] possible ones for parameter i, such that every pair of values of any two parameters
// is in a row.  Greedy: each row starts with a pair not covered yet and takes for every other parameter the value that
// covers most new pairs.
std::vector<std::vector<int>> pairwise(const std::vector<int>& values);

struct Case {
  Call call;
  How how = How::blocking;
};
std::string describe(const Case& c);

// The parameters of a case, each a list of values of its own; a case is one value index of each.
class CaseSpace {
 public:
  // `ranks`: the group sizes to try.  `large`: elements of the largest calls.
  CaseSpace(std::vector<int> ranks, size_t large);

  std::vector<Case> pairwise_cover(uint64_t seed) const;
  std::vector<Case> sample(size_t n, uint64_t seed) const;
  // Everything, but for the kind of values and of waiting, which take turns.
  std::vector<Case> product() const;

 private:
  Case make(const std::vector<int>& row, uint64_t seed) const;
  // Differs from another row only in what its collective does not use.
  bool is_redundant(const std::vector<int>& row) const;

  struct Method {
    Kind kind;
    std::string algorithm;
  };
  std::vector<Method> methods_;  // every collective with every algorithm it has, and with none named
  std::vector<int> ranks_;
  size_t large_;
  std::vector<int> values_;  // how many of each parameter
};

// The algorithms that can be named for a collective, from the library's registry; empty for a shift.
std::vector<std::string> algorithms_of(Kind kind);

// API_TEST_SEED or a new one each time.  Whoever uses it prints it.
uint64_t random_seed();
// API_TEST_FULL=1: everything instead of a cover and a sample.
bool full_product_wanted();

}  // namespace tutti::test

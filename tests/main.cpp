// The main function of every test program.  A program holds the tests of a room; --file NAME runs those of one source
// file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace {

bool is_in(const testing::TestInfo& test, std::string_view name) {
  const std::string_view path = test.file();
  return path.substr(path.rfind('/') + 1) == name;
}

// The names of all tests of a file, as a filter; GoogleTest looks up names without wildcards in a hash table.
std::string tests_of(std::string_view file) {
  std::string filter;
  const auto& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const auto& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const auto& test = *suite.GetTestInfo(j);
      if (is_in(test, file)) filter += std::string(suite.name()) + "." + test.name() + ":";
    }
  }
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  if (argc == 3 && argv[1] == std::string_view("--file")) {
    const std::string filter = tests_of(argv[2]);
    if (filter.empty()) {
      std::fprintf(stderr, "%s: no test is in a file named %s\n", argv[0], argv[2]);
      return 2;
    }
    GTEST_FLAG_SET(filter, filter);
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: %s [--file NAME_test.cpp] [options of GoogleTest, see --help]\n", argv[0]);
    return 2;
  }
  return RUN_ALL_TESTS();
}

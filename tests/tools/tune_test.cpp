// tutti-tune as its users run it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class Tune : public testing::Test {
 protected:
  Tune() { EXPECT_NE(mkdtemp(folder_.data()), nullptr); }
  ~Tune() override { std::filesystem::remove_all(folder_); }

  int run(const std::string& arguments, const std::string& environment = "") {
    output_.clear();
    FILE* pipe = popen(("exec env " + environment + " " TUTTI_TUNE " " + arguments + " 2>&1").c_str(), "r");
    EXPECT_NE(pipe, nullptr);
    std::array<char, 4096> piece;
    while (std::fgets(piece.data(), piece.size(), pipe) != nullptr) output_ += piece.data();
    const int ended = pclose(pipe);
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string folder_ = testing::TempDir() + "tune-test-XXXXXX";
  std::string output_;
};

TEST_F(Tune, WritesAFileThatRulesTheNextRun) {
  ASSERT_EQ(run("all_reduce broadcast --ranks 2 -b 64 -e 4K -f 64 --rounds 1 -o " + folder_ + "/rules -J " + folder_ + "/json"), 0)
      << output_;
  EXPECT_THAT(output_, AllOf(HasSubstr("# all_reduce, 2 ranks (shm 1)"), HasSubstr("# broadcast, 2 ranks"),
                             HasSubstr("# Tutti's choice is within 10 % of the fastest at ")));
  EXPECT_THAT(read("rules"), StartsWith("tutti-tuning 1\nall_reduce ranks=2 hosts=1 "));
  EXPECT_THAT(read("rules"), HasSubstr("\nbroadcast ranks=2 hosts=1 "));
  const auto rows = nlohmann::json::parse(read("json"));
  int chosen = 0, ring = 0;
  for (const auto& row : rows) {
    EXPECT_GT(row["measured_us"], 0);
    EXPECT_GT(row["predicted_us"], 0);
    chosen += row["chosen"].get<bool>();
    ring += row["algorithm"] == "ring";
  }
  EXPECT_EQ(chosen, 4);  // two collectives of two sizes
  EXPECT_EQ(ring, 4);

  std::ofstream(folder_ + "/own") << "tutti-tuning 1\nall_reduce use=tree\n";
  ASSERT_EQ(run("--ranks 2 -b 64 -e 64 --rounds 1", "TUTTI_TUNING_FILE=" + folder_ + "/own"), 0) << output_;
  EXPECT_THAT(output_, HasSubstr(" 64  tree "));
}

TEST_F(Tune, Mistakes) {
  EXPECT_EQ(run("all_reduec"), 2);
  EXPECT_THAT(
      output_,
      HasSubstr("tutti-tune: There is no collective \"all_reduec\" to choose algorithms for; did you mean \"all_reduce\"?"));
  EXPECT_EQ(run("-b 1M -e 4"), 2);
  EXPECT_THAT(output_, HasSubstr("The largest size, -e 4, is below the smallest, -b 1M."));
  EXPECT_EQ(run("-f 1"), 2);
  EXPECT_EQ(run("--help"), 0);
  EXPECT_EQ(run("--ranks 2 -b 4 -e 4 --rounds 1 -o /not/there/rules"), 1);
  EXPECT_THAT(output_, HasSubstr("tutti-tune: rank 0: writing /not/there/rules: No such file or directory"));
}

}  // namespace

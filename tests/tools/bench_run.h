// tutti-bench as users and their parsers meet it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

// A run of tutti-bench whose temporary files are in a directory of its own.
class Bench : public testing::Test {
 protected:
  Bench() {
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    setenv("TMPDIR", directory_.c_str(), 1);
  }
  ~Bench() override {
    std::filesystem::remove_all(directory_);
    unsetenv("TMPDIR");
  }

  // Starts it with small buffers; its stderr goes where its stdout goes.
  void start(const std::string& arguments, const std::string& environment = "") {
    output_.clear();
    pipe_ = popen(("exec env " + environment + " " TUTTI_BENCH " " + arguments + " --rotate 1M 2>&1").c_str(), "r");
    ASSERT_NE(pipe_, nullptr);
  }
  // Reads on until a line contains `text`, and returns that line; "" at the end.
  std::string read_until(const std::string& text) {
    char line[4096];
    while (std::fgets(line, sizeof line, pipe_) != nullptr) {
      output_ += line;
      if (std::string_view(line).find(text) != std::string_view::npos) return line;
    }
    return "";
  }
  int finish() {
    char line[4096];
    while (std::fgets(line, sizeof line, pipe_) != nullptr) output_ += line;
    const int ended = pclose(pipe_);
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  }
  int run(const std::string& arguments, const std::string& environment = "") {
    start(arguments, environment);
    return finish();
  }

  // The table's rows, split into columns.
  std::vector<std::vector<std::string>> rows() const {
    std::vector<std::vector<std::string>> rows;
    std::istringstream lines(output_);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with('#')) continue;
      std::istringstream columns(line);
      rows.emplace_back(std::istream_iterator<std::string>(columns), std::istream_iterator<std::string>());
    }
    return rows;
  }
  bool nothing_left() const { return std::filesystem::is_empty(directory_); }

  std::string directory_ = testing::TempDir() + "bench-test-XXXXXX";
  std::string output_;
  FILE* pipe_ = nullptr;
};

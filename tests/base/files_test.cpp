#include "files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  Files() {
    std::string folder = (fs::temp_directory_path() / "tutti-files-XXXXXX").string();
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    path_ = folder + "/file";
  }
  ~Files() override { fs::remove_all(folder_); }
  size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator())); }

  fs::path folder_;
  std::string path_;
};

TEST_F(Files, IsReadAsItWasWrittenAndReplacedWhole) {
  for (const std::string& text : {std::string("first"), std::string(10'000, 'x'), std::string()}) {
    ASSERT_TRUE(replace_file(path_, text, "the note").ok());
    const auto read = read_file(path_, 10'000, "the note");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(*read, text);
    EXPECT_EQ(entries(), 1u);  // no draft is left
  }
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(Files, ALinkIsReplacedNotFollowed) {
  const std::string other = folder_ / "other";
  std::ofstream(other) << "kept";
  fs::create_symlink(other, path_);
  ASSERT_TRUE(replace_file(path_, "new", "the note").ok());
  EXPECT_FALSE(fs::is_symlink(path_));
  EXPECT_EQ(*read_file(other, 100, "the note"), "kept");
}

TEST_F(Files, ARefusedDraftLeavesTheOldFile) {
  ASSERT_TRUE(replace_file(path_, "old", "the note").ok());
  const Status refused = replace_file(path_, "new", "the note", [](const struct stat& draft) {
    EXPECT_EQ(draft.st_uid, ::geteuid());
    EXPECT_EQ(draft.st_size, 0);
    return Status(Code::unsupported, "no");
  });
  EXPECT_EQ(refused.message(), "no");
  EXPECT_EQ(*read_file(path_, 100, "the note"), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, FailuresNameTheFileAndKeepErrno) {
  errno = 0;
  EXPECT_THAT(replace_file(path_ + "/in", "x", "the note").message(),
              AllOf(HasSubstr("writing the note"), HasSubstr("No such file")));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_THAT(read_file(path_, 100, "the note").status().message(), HasSubstr("opening the note " + path_ + ": No such file"));
  fs::create_directory(path_);
  EXPECT_THAT(replace_file(path_, "x", "the note").message(), HasSubstr("renaming the note to " + path_));
  EXPECT_EQ(errno, EISDIR);
  EXPECT_EQ(entries(), 1u);
  EXPECT_THAT(read_file(path_, 100, "the note").status().message(), HasSubstr("reading the note"));
}

TEST_F(Files, ALargerFileIsRefused) {
  ASSERT_TRUE(replace_file(path_, std::string(2048, 'x'), "the note").ok());
  EXPECT_TRUE(read_file(path_, 2048, "the note").ok());
  EXPECT_THAT(read_file(path_, 1024, "the note").status().message(), HasSubstr("is larger than 1 KiB"));
}

TEST_F(Files, TheLimitOnFileSizesIsAsked) {
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{100, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const Status refused = replace_file(path_, std::string(101, 'x'), "the note");
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr("writing the note"), HasSubstr("ulimit -f")));
  EXPECT_EQ(entries(), 0u);
}

}  // namespace
}  // namespace tutti

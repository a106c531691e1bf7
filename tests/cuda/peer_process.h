// cuda_peer as another process, whose device memory a test opens.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "owned_fd.h"
#include "world.h"

namespace tutti::cuda::test {

// The program is at `path` from the folder of this one.
class Peer {
 public:
  explicit Peer(std::vector<std::string> arguments, const std::string& path = "cuda_peer") {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    to_ = OwnedFd(in[1]);
    from_ = OwnedFd(out[0]);
    std::array<char, 4096> self{};
    EXPECT_GT(::readlink("/proc/self/exe", self.data(), self.size() - 1), 0);
    std::string program = self.data();
    program.replace(program.rfind('/') + 1, std::string::npos, path);
    arguments.insert(arguments.begin(), {program, library()});
    std::vector<char*> texts;
    for (std::string& argument : arguments) texts.push_back(argument.data());
    texts.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    EXPECT_EQ(::posix_spawn(&process_, program.c_str(), &actions, nullptr, texts.data(), environ), 0) << program;
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
  }
  Peer(const Peer&) = delete;
  ~Peer() {
    to_.reset();
    from_.reset();
    int status = 0;
    EXPECT_EQ(::waitpid(process_, &status, 0), process_);
    EXPECT_TRUE(WIFEXITED(status));
  }
  std::string line() {
    std::string text;
    for (char c = 0; ::read(from_.get(), &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }
  void tell() { EXPECT_EQ(::write(to_.get(), "x", 1), 1); }

 private:
  pid_t process_ = -1;
  OwnedFd to_, from_;
};

}  // namespace tutti::cuda::test

// The output of a command and its exit status.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>

struct Outcome {
  int status = -1;
  std::string output;
};

inline Outcome outcome_of(const std::string& command) {
  Outcome run;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return run;
  char buffer[4096];
  for (size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) run.output.append(buffer, got);
  const int ended = pclose(pipe);
  run.status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  return run;
}

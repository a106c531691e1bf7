#include "moods.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace fake_cuda {
namespace {

struct Failure {
  Error error = Error::success;
  uint64_t call = 0, calls = 0;
};

// Asking for moods takes no lock: it would order streams that nothing else orders, and hide races from ThreadSanitizer.
struct State {
  std::atomic<const Moods*> moods = nullptr;
  std::mutex mutex;                               // of what follows
  std::vector<std::unique_ptr<const Moods>> all;  // those before may still be read
  std::map<std::string, Failure, std::less<>> failures;
};

void read(State& state, const std::string& text) {
  const std::lock_guard lock(state.mutex);
  auto fresh = std::make_unique<Moods>();
  Moods& moods = *fresh;
  state.failures.clear();
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals), value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name == "late")
      moods.late = true;
    else if (name == "shuffled")
      moods.shuffled = true;
    else if (name == "guarded")
      moods.guarded = true;
    else if (name == "no-ipc")
      moods.ipc = false;
    else if (name == "no-p2p")
      moods.p2p = false;
    else if (name == "no-register")
      moods.register_ = false;
    else if (name == "mps")
      moods.mps = true;
    else if (name == "deaf")
      moods.deaf = true;
    else if (name == "blind")
      moods.blind = true;
    else if (name == "gone")
      moods.gone = true;
    else if (name == "devices")
      moods.devices = std::stoi(value);
    else if (name == "version")
      moods.version = std::stoi(value);
    else if (name == "memory")
      moods.memory = std::stoull(value) << 20;
    else if (name == "fail") {
      const size_t first = value.find(':'), last = value.rfind(':');
      state.failures[value.substr(0, first)] = {static_cast<Error>(std::stoi(value.substr(first + 1, last - first - 1))),
                                                std::stoull(value.substr(last + 1))};
    } else {
      std::fprintf(stderr, "FAKE_CUDA: there is no mood %s\n", word.c_str());
      std::exit(2);
    }
  }
  moods.may_fail = !state.failures.empty();
  state.moods.store(fresh.get(), std::memory_order_release);
  state.all.push_back(std::move(fresh));
}

State& state() {
  static State& made = []() -> State& {
    static State* const first = new State;  // never destroyed: streams outlive static objects
    const char* text = std::getenv("FAKE_CUDA");
    read(*first, text ? text : "");
    return *first;
  }();
  return made;
}

}  // namespace

const Moods& moods() { return *state().moods.load(std::memory_order_acquire); }

void set_moods(const char* text) { read(state(), text); }

Error planned_failure(std::string_view name) {
  if (!moods().may_fail) return Error::success;
  State& now = state();
  const std::lock_guard lock(now.mutex);
  const auto planned = now.failures.find(name);
  if (planned == now.failures.end()) return Error::success;
  Failure& failure = planned->second;
  ++failure.calls;
  return failure.call == 0 || failure.calls == failure.call ? failure.error : Error::success;
}

uint32_t any_number() {
  static std::atomic<uint32_t> threads = 0;
  thread_local std::mt19937 random(threads.fetch_add(1, std::memory_order_relaxed));
  return static_cast<uint32_t>(random());
}

}  // namespace fake_cuda

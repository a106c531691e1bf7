// How the ranks of a process group find each other: through torch's store, or within a group that exists.
#pragma once

#include <tutti/tutti.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "communicator.h"

namespace tutti_torch {

// torch's store as Tutti's C API takes it.
class StoreCallbacks {
 public:
  explicit StoreCallbacks(c10d::Store& store) : store_(store) {}
  const tutti_store_callbacks* get() const { return &callbacks_; }
  const std::string& failure() const { return failure_; }

 private:
  static int set(void* context, const char* key, const void* value, size_t bytes) {
    auto& self = *static_cast<StoreCallbacks*>(context);
    return self.guarded([&] {
      const auto* first = static_cast<const uint8_t*>(value);
      self.store_.set(key, std::vector<uint8_t>(first, first + bytes));
      return 0;
    });
  }

  static int get(void* context, const char* key, void* value, size_t* length, int timeout_ms) {
    auto& self = *static_cast<StoreCallbacks*>(context);
    return self.guarded([&] {
      self.store_.wait({key}, std::chrono::milliseconds(timeout_ms));
      const std::vector<uint8_t> stored = self.store_.get(key);
      if (stored.size() > *length) return 1;
      std::copy(stored.begin(), stored.end(), static_cast<uint8_t*>(value));
      *length = stored.size();
      return 0;
    });
  }

  template <class Function>
  int guarded(Function function) {
    try {
      return function();
    } catch (const c10::Error& error) {
      failure_ = error.what_without_backtrace();
    } catch (const std::exception& error) {
      failure_ = error.what();
    }
    return 1;
  }

  c10d::Store& store_;
  std::string failure_;
  tutti_store_callbacks callbacks_{set, get, this};
};

// The settings of a new communicator: the caller's, and the time that torch gives for creating it, unless the
// environment has another one.
class Settings {
 public:
  Settings(std::vector<std::string> settings, std::chrono::milliseconds timeout) : texts_(std::move(settings)) {
    if (!std::getenv("TUTTI_BOOTSTRAP_TIMEOUT")) {
      texts_.insert(texts_.begin(), "TUTTI_BOOTSTRAP_TIMEOUT=" + std::to_string(to_milliseconds(timeout)) + "ms");
    }
    for (const std::string& text : texts_) list_.push_back(text.c_str());
    list_.push_back(nullptr);
  }
  const char* const* list() const { return list_.data(); }

 private:
  std::vector<std::string> texts_;
  std::vector<const char*> list_;
};

}  // namespace tutti_torch

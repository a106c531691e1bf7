// A library that is loaded when it is first needed, so that one binary runs with it and without it.
#pragma once

#include <dlfcn.h>

#include <string>
#include <type_traits>

#include "status.h"

namespace tutti {

// It stays loaded until the process ends, since such libraries have threads and handlers of their own.
class SharedLibrary {
 public:
  // `name` as dlopen() takes it: "libpmix.so.2".  `flags` beside RTLD_NOW.
  static Result<SharedLibrary> load(const std::string& name, int flags = RTLD_LOCAL) {
    SharedLibrary library(name, ::dlopen(name.c_str(), RTLD_NOW | RTLD_NODELETE | flags));
    if (library.handle_) return library;
    const char* why = ::dlerror();
    return Status(Code::unsupported, name + " cannot be loaded: " + (why ? why : "for no reason that it gives"));
  }

  // By whoever; nothing is loaded.
  static bool is_loaded(const std::string& name) {
    void* handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (handle) ::dlclose(handle);
    return handle != nullptr;
  }

  // Looks up what `function` is to call; without it, complete() is an error.
  template <class Function>
  void find(Function& function, const char* symbol) {
    static_assert(std::is_pointer_v<Function>);
    function = reinterpret_cast<Function>(::dlsym(handle_, symbol));
    if (!function && missing_.empty()) missing_ = symbol;
  }
  Status complete() const {
    if (missing_.empty()) return {};
    return Status(Code::unsupported, name_ + " lacks " + missing_ + ": it is too old, or not what its name says");
  }

 private:
  SharedLibrary(std::string name, void* handle) : name_(std::move(name)), handle_(handle) {}
  std::string name_, missing_;
  void* handle_;
};

}  // namespace tutti

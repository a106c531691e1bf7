// What tests may ask of the fake libibverbs, beside its own functions.
#pragma once

#include <dlfcn.h>

#include <cstdint>

namespace tutti::test {

struct FakeVerbs {
  // Requests take effect late and completions are seen late, in any order between queue pairs; else at once.
  void (*set_moody)(bool moody, uint32_t seed);
  // The next `skip` messages of any queue pair pass, the one after fails as ibv_wc_status `status` says.
  void (*fail_message)(uint64_t skip, int status);
  void (*set_devices)(int devices, int ports);  // 0 to 4, each with 1 or 2 ports; at first one device with one port
  void (*set_port)(int port, bool up);          // of the first device
  void (*set_lockable)(uint64_t bytes);         // ulimit -l
  uint64_t (*locked)();                         // bytes that are registered
  void (*remove_device)();                      // opened devices report that they have failed
  uint64_t (*receivers_not_ready)();            // how often a message found no buffer
  uint64_t (*objects)();                        // that exist: contexts, regions, queue pairs …
};

// Null where the real library is loaded, or none can be.
inline const FakeVerbs* fake_verbs() {
  void* const library = ::dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
  return library ? static_cast<const FakeVerbs*>(::dlsym(library, "tutti_fake_verbs")) : nullptr;
}

}  // namespace tutti::test

#include "probes.h"

#include "gpu.h"

namespace tutti::probes {

// Scope: the system, since the host and other devices are at the other end.
struct Gpu : cuda::Gpu {
  TUTTI_PROBE static void pause() {}
  TUTTI_PROBE static uint32_t load_acquire(const uint32_t* p) {
    uint32_t v;
    asm volatile("ld.acquire.sys.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
  }
  TUTTI_PROBE static void store_release(uint32_t* p, uint32_t v) {
    asm volatile("st.release.sys.u32 [%0], %1;" : : "l"(p), "r"(v) : "memory");
  }
};

extern "C" __global__ void probe_empty(const __grid_constant__ Empty p) { empty(Gpu(), p); }
extern "C" __global__ void probe_large(const __grid_constant__ Large p) { large(Gpu(), p); }
extern "C" __global__ void probe_write(const __grid_constant__ Write p) { write(Gpu(), p); }
extern "C" __global__ void probe_add(const __grid_constant__ Add p) { add(Gpu(), p); }
extern "C" __global__ void probe_poll(const __grid_constant__ Poll p) { poll(Gpu(), p); }
extern "C" __global__ void probe_ping(const __grid_constant__ Ping p) { ping(Gpu(), p); }
extern "C" __global__ void probe_one_shot(const __grid_constant__ OneShot p) { one_shot(Gpu(), p); }

}  // namespace tutti::probes

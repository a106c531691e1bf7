// Whether nvcc, the host's compiler behind it and their headers get on.
#include <cstdint>
#include <cstring>
#include <type_traits>

extern "C" __global__ void probe(uint32_t* to) { *to = std::is_same_v<uint32_t, unsigned>; }

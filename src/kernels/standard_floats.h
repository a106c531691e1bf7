// While a StandardFloats lives, its thread computes in the standard floating-point mode: to nearest even, denormals
// kept, no traps.
//
// A result must not depend on who computes it.  Programs set other modes, fast-math libraries among them, and each
// thread has its own: the caller's, that of the progress thread, that of a worker, which are those of whoever started
// them.  So whatever computes a result, or anything that ranks must agree in, does so under one of these.  The mode
// that was found is put back.
//
// Reading the mode takes about a nanosecond; writing it takes several, and is done only where it differs.
#pragma once

#include <cstdint>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <cfenv>
#endif

namespace tutti::kernels {

#if defined(__x86_64__) || defined(__aarch64__)

class StandardFloats {
 public:
  StandardFloats() : found_(read()) {
    if (differs()) write(kStandard);
  }
  ~StandardFloats() {
    if (differs()) write(found_);
  }
  StandardFloats(const StandardFloats&) = delete;
  StandardFloats& operator=(const StandardFloats&) = delete;

 private:
  // The control register, without intrinsics: the clobber keeps the compiler from moving loads and stores, and with
  // them the arithmetic between, to the other side.
#if defined(__x86_64__)
  using Mode = uint32_t;  // MXCSR
  static constexpr Mode kStandard = 0x1F80;
  static constexpr Mode kFlags = 0x3F;  // exceptions seen so far: no mode
  static Mode read() {
    Mode mode;
    asm volatile("stmxcsr %0" : "=m"(mode) : : "memory");
    return mode;
  }
  static void write(Mode mode) { asm volatile("ldmxcsr %0" : : "m"(mode) : "memory"); }
#else
  using Mode = uint64_t;  // FPCR
  static constexpr Mode kStandard = 0;
  static constexpr Mode kFlags = 0;
  static Mode read() {
    Mode mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
    return mode;
  }
  static void write(Mode mode) { asm volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#endif
  bool differs() const { return (found_ & ~kFlags) != kStandard; }

  const Mode found_;
};

#else

class StandardFloats {
 public:
  StandardFloats() {
    std::fegetenv(&found_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~StandardFloats() { std::fesetenv(&found_); }
  StandardFloats(const StandardFloats&) = delete;
  StandardFloats& operator=(const StandardFloats&) = delete;

 private:
  std::fenv_t found_;
};

#endif

}  // namespace tutti::kernels

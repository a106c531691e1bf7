// Floating-point modes that a program may have set before it calls: denormals off, other roundings, traps.
#pragma once

#include <cfenv>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tutti::test {

struct FloatingPointMode {
  const char* name;
  int rounding;
  unsigned control;  // x86: further bits of MXCSR to be turned over
};

inline const std::vector<FloatingPointMode>& floating_point_modes() {
  static const std::vector<FloatingPointMode> modes = {
      {"upward", FE_UPWARD, 0},
      {"downward", FE_DOWNWARD, 0},
      {"towards zero", FE_TOWARDZERO, 0},
#if defined(__x86_64__)
      {"denormal results off", FE_TONEAREST, 0x8000},
      {"denormal operands off", FE_TONEAREST, 0x0040},
      {"denormals off", FE_TONEAREST, 0x8040},
      {"denormals off, upward", FE_UPWARD, 0x8040},
      {"traps", FE_TONEAREST, 0x1F80},
#endif
  };
  return modes;
}

// This thread's mode for as long as this lives.
class UnderMode {
 public:
  explicit UnderMode(const FloatingPointMode& mode) {
    std::fegetenv(&before_);
    std::feclearexcept(FE_ALL_EXCEPT);
    std::fesetround(mode.rounding);
#if defined(__x86_64__)
    set_ = _mm_getcsr() ^ mode.control;
    _mm_setcsr(set_);
#endif
  }
  UnderMode(const UnderMode&) = delete;
  ~UnderMode() { std::fesetenv(&before_); }

  // Whether nobody has changed it since.
  bool still_set() const {
#if defined(__x86_64__)
    return _mm_getcsr() == set_;
#else
    return true;
#endif
  }

 private:
  std::fenv_t before_;
#if defined(__x86_64__)
  unsigned set_ = 0;
#endif
};

}  // namespace tutti::test

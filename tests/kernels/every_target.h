// Running a piece of a test on every instruction set that was compiled in and that this processor has.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <string>

namespace tutti {

template <class Function>
void on_every_target(Function function) {
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    const testing::ScopedTrace trace(__FILE__, __LINE__, std::string("on ") + hwy::TargetName(target));
    function();
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace tutti

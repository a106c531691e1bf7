// What is said where there is no driver, no device, or a driver too old; and of errors.
#include "driver.h"

#include <gmock/gmock.h>

#include "world.h"

namespace tutti::cuda::test {
namespace {

using testing::HasSubstr;

// A driver is remembered by the name of its library; by another name of the same file it is asked again.
std::string another_name() {
  static std::string name = library();
  return name.insert(name.rfind('/'), "/.");
}

TEST(CudaDriver, IsNotThere) {
  const auto absent = Driver::load("libno_such_cuda.so.1");
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.status().code(), Code::unsupported);
  EXPECT_THAT(absent.status().message(), HasSubstr("libno_such_cuda.so.1 cannot be loaded"));
  EXPECT_THAT(absent.status().message(), HasSubstr("comes with the driver of the machine's GPUs"));
}

TEST(CudaDriver, IsLeftAloneWhereTheProcessHasNotLoadedIt) {
  const auto absent = Driver::if_loaded("libno_such_cuda.so.1");
  ASSERT_TRUE(absent.ok()) << absent.status().message();
  EXPECT_EQ(*absent, nullptr);
}

TEST(CudaDriver, IsFoundWhereTheProcessHasLoadedIt) {
  NEEDS_MOOD("");  // loads it
  const auto found = Driver::if_loaded(library());
  ASSERT_TRUE(found.ok()) << found.status().message();
  ASSERT_NE(*found, nullptr);
  EXPECT_EQ((*found)->devices(), 2);
  EXPECT_EQ((*found)->version(), 13000);
  EXPECT_EQ(value_of(Driver::load(library())), *found);  // one for the whole process
}

TEST(CudaDriver, IsAnotherLibrary) {
  const auto wrong = Driver::load("libm.so.6");
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.status().message(), HasSubstr("libm.so.6 lacks cuDriverGetVersion"));
}

TEST(CudaDriver, SeesNoDevice) {
  NEEDS_MOOD("devices=0");
  const auto none = Driver::load(another_name());
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), Code::unsupported);
  EXPECT_THAT(none.status().message(), HasSubstr("CUDA cannot start: CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected); "));
  EXPECT_THAT(none.status().message(), HasSubstr("CUDA_VISIBLE_DEVICES"));
}

TEST(CudaDriver, IsTooOld) {
  NEEDS_MOOD("version=11080");
  const auto old = Driver::load(another_name());
  ASSERT_FALSE(old.ok());
  EXPECT_EQ(old.status().code(), Code::unsupported);
  EXPECT_THAT(old.status().message(), HasSubstr("is too old: it is of CUDA 11.8, and Tutti needs 12.0 or later"));
}

TEST(CudaDriver, MayLackWhatIsNewer) {
  NEEDS_MOOD("version=12020");
  const Driver& driver = *value_of(Driver::load(another_name()));
  EXPECT_FALSE(driver.has<"cuFuncLoad">());  // of 12.4
  EXPECT_TRUE(driver.has<"cuLaunchKernel">());
  const auto context = value_of(Context::retain(driver, 0));
  const auto module = value_of(Module::load(context, probes()));
  EXPECT_TRUE(module.function("probe_empty").ok());  // loaded in another way
}

TEST(CudaDriver, HasWhatIsNewer) {
  const auto loaded = Driver::load(library());
  if (!loaded.ok()) GTEST_SKIP() << loaded.status().message();
  EXPECT_EQ((*loaded)->has<"cuFuncLoad">(), (*loaded)->version() >= 12040);
}

TEST(CudaDriver, NamesErrors) {
  const auto loaded = Driver::load(library());
  if (!loaded.ok()) GTEST_SKIP() << loaded.status().message();
  const Driver& driver = **loaded;
  EXPECT_EQ(driver.name(Error::out_of_memory), "CUDA_ERROR_OUT_OF_MEMORY");
  EXPECT_EQ(driver.name(static_cast<Error>(123456)), "error 123456");
  const Status memory = driver.failure(Error::out_of_memory, "allocate 2 GiB on device 1");
  EXPECT_EQ(memory.code(), Code::out_of_memory);
  EXPECT_THAT(memory.message(), HasSubstr("CUDA cannot allocate 2 GiB on device 1: CUDA_ERROR_OUT_OF_MEMORY (out of memory); "));
  EXPECT_THAT(driver.failure(Error::illegal_address, "launch a kernel").message(), HasSubstr("compute-sanitizer"));
  EXPECT_THAT(driver.failure(Error::ecc_uncorrectable, "launch a kernel").message(), HasSubstr("hardware"));
  EXPECT_THAT(driver.failure(Error::invalid_context, "launch a kernel").message(), HasSubstr("reset"));
  EXPECT_TRUE(driver.check(Error::success, "do anything").ok());
}

TEST(CudaDriver, TellsStickyErrors) {
  for (const Error error : {Error::illegal_address, Error::ecc_uncorrectable, Error::launch_failed, Error::assert_triggered,
                            Error::launch_timeout, Error::misaligned_address, Error::mps_client_terminated})
    EXPECT_TRUE(is_sticky(error)) << static_cast<int>(error);
  for (const Error error : {Error::success, Error::out_of_memory, Error::not_ready, Error::invalid_value, Error::no_device,
                            Error::peer_access_already_enabled, Error::launch_out_of_resources, Error::unknown})
    EXPECT_FALSE(is_sticky(error)) << static_cast<int>(error);
}

}  // namespace
}  // namespace tutti::cuda::test

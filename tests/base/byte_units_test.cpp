#include "byte_units.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

uint64_t bytes(std::string_view text) {
  const auto result = parse_bytes(text);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : UINT64_MAX;
}

uint64_t duration(std::string_view text) {
  const auto result = parse_duration(text);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : UINT64_MAX;
}

TEST(Bytes, Parse) {
  EXPECT_EQ(bytes("0"), 0u);
  EXPECT_EQ(bytes("65536"), 65536u);
  for (const std::string_view text : {"64K", "64k", "64KB", "64kb", "64KiB", "64 KiB", " 64K "})
    EXPECT_EQ(bytes(text), 65536u) << text;
  EXPECT_EQ(bytes("17B"), 17u);
  EXPECT_EQ(bytes("1M"), 1u << 20);
  EXPECT_EQ(bytes("2G"), 2ull << 30);
  EXPECT_EQ(bytes("3T"), 3ull << 40);
  EXPECT_EQ(bytes("18446744073709551615"), UINT64_MAX);
}

TEST(Bytes, Refused) {
  for (const std::string_view text :
       {"", "K", "-1", "1.5M", "64X", "64KK", "64iB", "64I", "64BK", "0x10", "18446744073709551616", "16777216T"}) {
    const auto result = parse_bytes(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.status().code(), Code::invalid_argument);
    EXPECT_NE(result.status().message().find("\"" + std::string(text) + "\""), std::string::npos);
  }
}

TEST(Bytes, FormatIsReadBack) {
  EXPECT_EQ(format_bytes(0), "0");
  EXPECT_EQ(format_bytes(65536), "64K");
  EXPECT_EQ(format_bytes(65537), "65537");
  EXPECT_EQ(format_bytes(1ull << 40), "1T");
  for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{1023}, uint64_t{1536}, uint64_t{3} << 33, UINT64_MAX})
    EXPECT_EQ(bytes(format_bytes(value)), value);
}

TEST(Bytes, Describe) {
  EXPECT_EQ(describe_bytes(17), "17 B");
  EXPECT_EQ(describe_bytes(65536), "64 KiB");
  EXPECT_EQ(describe_bytes(3u << 19), "1.5 MiB");
  EXPECT_EQ(describe_bytes(64ull << 20), "64 MiB");
}

TEST(Duration, Parse) {
  EXPECT_EQ(duration("600"), 600'000'000'000u);
  EXPECT_EQ(duration("600s"), 600'000'000'000u);
  EXPECT_EQ(duration("10m"), 600'000'000'000u);
  EXPECT_EQ(duration("10 min"), 600'000'000'000u);
  EXPECT_EQ(duration("500ms"), 500'000'000u);
  EXPECT_EQ(duration("20us"), 20'000u);
  EXPECT_EQ(duration("7ns"), 7u);
  EXPECT_EQ(duration("1h"), 3'600'000'000'000u);
}

TEST(Duration, Refused) {
  for (const std::string_view text : {"", "s", "-1s", "1.5s", "10 minutes", "10M", "99999999999h"})
    EXPECT_FALSE(parse_duration(text).ok()) << text;
}

TEST(Duration, FormatIsReadBack) {
  EXPECT_EQ(format_duration(0), "0s");
  EXPECT_EQ(format_duration(600'000'000'000), "10m");
  EXPECT_EQ(format_duration(1'500'000'000), "1500ms");
  for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{1'001'000}, uint64_t{7'200'000'000'000}})
    EXPECT_EQ(duration(format_duration(value)), value);
}

TEST(Duration, Describe) {
  EXPECT_EQ(describe_duration(0), "0 s");
  EXPECT_EQ(describe_duration(300'000'000), "300 ms");
  EXPECT_EQ(describe_duration(1'500'000'000), "1.5 s");
  EXPECT_EQ(describe_duration(90'000'000'000), "90 s");
  EXPECT_EQ(describe_duration(600'000'000'000), "10 min");
  EXPECT_EQ(describe_duration(7'200'000'000'000), "2 h");
}

}  // namespace
}  // namespace tutti

#include "words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

using testing::ElementsAre;
constexpr std::string_view kNames[] = {"ring", "tree", "recursive", "doubling", "direct"};

TEST(Words, Trim) {
  EXPECT_EQ(trim(" \ta b\t "), "a b");
  EXPECT_EQ(trim("  "), "");
  EXPECT_EQ(trim(""), "");
}

TEST(Words, SplitKeepsEmptyParts) {
  EXPECT_THAT(split("a,,b", ','), ElementsAre("a", "", "b"));
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_THAT(split(",", ','), ElementsAre("", ""));
}

TEST(Words, InQuotesShowsNothingUnprintable) {
  EXPECT_EQ(in_quotes("a\nb\x1b[31m\xff"), "\"a?b?[31m?\"");
  EXPECT_EQ(in_quotes(std::string(80, 'x')), "\"" + std::string(80, 'x') + "\"");
  EXPECT_EQ(in_quotes(std::string(81, 'x')), "\"" + std::string(80, 'x') + "…\"");
}

TEST(Words, NumberIsDigitsOnly) {
  EXPECT_EQ(parse_number("0"), 0u);
  EXPECT_EQ(parse_number("18446744073709551615"), UINT64_MAX);
  for (const std::string_view bad : {"", "-1", "+1", " 1", "1 ", "1x", "0x10", "18446744073709551616"})
    EXPECT_FALSE(parse_number(bad)) << bad;
}

TEST(Words, EditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("ring", ""), 4u);
  EXPECT_EQ(edit_distance("", "ring"), 4u);
  EXPECT_EQ(edit_distance("ring", "RING"), 0u);
  EXPECT_EQ(edit_distance("ring", "rign"), 1u);  // a swap of neighbours
  EXPECT_EQ(edit_distance("ring", "rings"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Words, NearestWord) {
  EXPECT_EQ(nearest_word("rign", kNames), "ring");
  EXPECT_EQ(nearest_word("recursvie", kNames), "recursive");
  EXPECT_EQ(nearest_word("DIRECT", kNames), "direct");
  EXPECT_FALSE(nearest_word("butterfly", kNames));
  EXPECT_FALSE(nearest_word("", kNames));
  EXPECT_FALSE(nearest_word(std::string(1000, 'r'), kNames));
}

TEST(Words, Sentences) {
  EXPECT_EQ(suggestion("teer", kNames), "");
  EXPECT_EQ(suggestion("tre", kNames), "; did you mean \"tree\"?");
  EXPECT_EQ(listed(kNames), "ring, tree, recursive, doubling or direct");
  EXPECT_EQ(listed(std::span(kNames, 1)), "ring");
}

}  // namespace
}  // namespace tutti

#include "ucx_frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace tutti::ucx {
namespace {

using testing::HasSubstr;

std::vector<std::byte> bytes_of_header(const Header& header) {
  std::vector<std::byte> bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Header sample_header() {
  Header header;
  header.rank = 3;
  header.use = LinkUse::messages;
  header.number = 0x01020304;
  header.received = 0x05060708;
  header.secret = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
  header.signature.sequence = 0x0a0b0c0d;
  return header;
}

TEST(UcxFrames, AHeaderLooksLikeThisOnTheWire) {
  const uint8_t expected[32] = {'T', 'u', 't', 'u', 3, 0, 1, 0, 4, 3,  2,  1,  8,  7,  6,  5,
                                1,   2,   3,   4,   5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  const auto bytes = bytes_of_header(sample_header());
  EXPECT_EQ(std::memcmp(bytes.data(), expected, sizeof expected), 0);
  const Signature signature = sample_header().signature;
  EXPECT_EQ(std::memcmp(bytes.data() + 32, &signature, sizeof signature), 0);
}

TEST(UcxFrames, WholeHeadersAreReadAndNothingElse) {
  const auto bytes = bytes_of_header(sample_header());
  const auto read = decode_header(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(bytes_of_header(*read), bytes);
  EXPECT_FALSE(decode_header({}));
  EXPECT_FALSE(decode_header(std::span(bytes).first(bytes.size() - 1)));
  auto longer = bytes;
  longer.push_back({});
  EXPECT_FALSE(decode_header(longer));
  for (const size_t field : {0u, 3u, 6u, 7u}) {  // magic, use, kind
    auto wrong = bytes;
    wrong[field] ^= std::byte{2};
    EXPECT_FALSE(decode_header(wrong)) << field;
  }
}

TEST(UcxFrames, AHeaderOfAStrangerIsObjectedTo) {
  const Terms terms{sample_header().secret, 1, 4};
  EXPECT_EQ(objection(sample_header(), terms), "");
  Header header = sample_header();
  header.secret.bytes[15] ^= 1;
  EXPECT_THAT(std::string(objection(header, terms)), HasSubstr("secret"));
  for (const uint16_t rank : {uint16_t{1}, uint16_t{4}, uint16_t{65535}}) {
    header = sample_header();
    header.rank = rank;
    EXPECT_THAT(std::string(objection(header, terms)), HasSubstr("rank")) << rank;
  }
}

TEST(UcxFrames, AddressesAreReadBack) {
  Address address{std::string("\x00\x7f\xff\x10 any bytes", 14), sample_header().secret};
  EXPECT_TRUE(to_text(address).starts_with("007fff1020616e79206279746573/01020304")) << to_text(address);
  const auto read = parse_address(to_text(address));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->worker, address.worker);
  EXPECT_EQ(read->secret, address.secret);
  address.worker.assign(kLongestWorkerAddress, 'a');
  EXPECT_TRUE(parse_address(to_text(address)).ok());
  address.worker.push_back('a');
  EXPECT_FALSE(parse_address(to_text(address)).ok());
}

TEST(UcxFrames, OtherTextsAreNoAddresses) {
  const std::string secret = "/000102030405060708090a0b0c0d0e0f";
  EXPECT_TRUE(parse_address("ab" + secret).ok());
  for (const std::string& text :
       {std::string(), std::string("ab"), std::string("ab/"), secret, "a" + secret, "ag" + secret, "AB" + secret,
        "ab" + secret + "0", "ab" + secret.substr(0, 32), "ab/" + secret, " ab" + secret}) {
    const auto read = parse_address(text);
    EXPECT_FALSE(read.ok()) << text;
    EXPECT_THAT(read.status().message(), HasSubstr("is no UCX address; expected hexadecimal digits/32 of them"));
  }
}

}  // namespace
}  // namespace tutti::ucx

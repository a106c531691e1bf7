#include "tcp_frames.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace tutti::tcp {
namespace {

template <class Frame>
std::vector<std::byte> bytes_of(const Frame& frame) {
  std::vector<std::byte> bytes(sizeof frame);
  std::memcpy(bytes.data(), &frame, sizeof frame);
  return bytes;
}

Hello sample_hello() {
  Hello hello;
  hello.context = 0x1122334455667788;
  hello.secret = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  hello.rank = 3;
  hello.connection = 1;
  return hello;
}

Terms sample_terms() { return {sample_hello().context, sample_hello().secret, 5, 2}; }

TEST(TcpFrames, AHelloLooksLikeThisOnTheWire) {
  const uint8_t expected[40] = {'T', 'u', 't', 'h', 1, 0,  0,  0,  0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 1, 2, 3, 4,
                                5,   6,   7,   8,   9, 10, 11, 12, 13,   14,   15,   16,   3,    0,    0,    0,    1, 0, 0, 0};
  EXPECT_EQ(std::memcmp(bytes_of(sample_hello()).data(), expected, sizeof expected), 0);
}

TEST(TcpFrames, AHeaderLooksLikeThisOnTheWire) {
  Header header;
  header.length = 0x01020304;
  header.signature.sequence = 0x0a0b0c0d;
  const auto bytes = bytes_of(header);
  const uint8_t expected[8] = {'T', 'u', 't', 'm', 4, 3, 2, 1};
  EXPECT_EQ(std::memcmp(bytes.data(), expected, sizeof expected), 0);
  EXPECT_EQ(std::memcmp(bytes.data() + 8, &header.signature, sizeof header.signature), 0);
}

TEST(TcpFrames, WholeFramesAreRead) {
  const auto hello = decode_hello(bytes_of(sample_hello()));
  ASSERT_TRUE(hello);
  EXPECT_EQ(bytes_of(*hello), bytes_of(sample_hello()));
  Header header;
  header.length = 77;
  header.signature.count = 5;
  const auto read = decode_header(bytes_of(header));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->length, 77u);
  EXPECT_EQ(read->signature, header.signature);
}

TEST(TcpFrames, PartsOtherVersionsAndNoiseAreNot) {
  auto bytes = bytes_of(sample_hello());
  EXPECT_FALSE(decode_hello({}));
  EXPECT_FALSE(decode_hello({bytes.data(), bytes.size() - 1}));
  EXPECT_FALSE(decode_header(bytes));
  EXPECT_FALSE(decode_hello(bytes_of(Header())));
  bytes[4] = std::byte{2};
  EXPECT_FALSE(decode_hello(bytes));
  bytes.push_back({});
  EXPECT_FALSE(decode_hello(bytes));
}

TEST(TcpFrames, NoiseIsToldByItsBeginning) {
  auto bytes = bytes_of(sample_hello());
  for (size_t n = 0; n <= bytes.size(); ++n) EXPECT_TRUE(may_become_hello({bytes.data(), n})) << n;
  for (size_t wrong = 0; wrong < 8; ++wrong) {
    auto noise = bytes;
    noise[wrong] ^= std::byte{0x80};
    for (size_t n = 0; n <= noise.size(); ++n) EXPECT_EQ(may_become_hello({noise.data(), n}), n <= wrong) << wrong << ' ' << n;
  }
}

TEST(TcpFrames, EveryTermOfTheListenerCounts) {
  EXPECT_EQ(objection(sample_hello(), sample_terms()), "");
  const auto refused = [](auto change) {
    Hello hello = sample_hello();
    change(hello);
    return !objection(hello, sample_terms()).empty();
  };
  for (size_t i = 0; i < 16; ++i) EXPECT_TRUE(refused([i](Hello& hello) { hello.secret.bytes[i] ^= 1; })) << i;
  EXPECT_TRUE(refused([](Hello& hello) { ++hello.context; }));
  EXPECT_TRUE(refused([](Hello& hello) { hello.rank = -1; }));
  EXPECT_TRUE(refused([](Hello& hello) { hello.rank = 5; }));
  EXPECT_FALSE(refused([](Hello& hello) { hello.rank = 4; }));
  EXPECT_TRUE(refused([](Hello& hello) { hello.connection = 2; }));
  EXPECT_TRUE(refused([](Hello& hello) { hello.connection = UINT32_MAX; }));
}

TEST(TcpFrames, EndpointsAreTextAndBack) {
  Endpoint endpoint{*SocketAddress::parse("10.0.0.1:40001"), sample_hello().secret};
  EXPECT_EQ(to_text(endpoint), "10.0.0.1:40001/0102030405060708090a0b0c0d0e0f10");
  for (const char* address : {"10.0.0.1:40001", "[fe80:1111:2222:3333:4444:5555:6666:7777]:65535", "[::1]:1"}) {
    endpoint.address = *SocketAddress::parse(address);
    EXPECT_LE(to_text(endpoint).size(), 128u);
    const auto read = parse_endpoint(to_text(endpoint));
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->address, endpoint.address);
    EXPECT_EQ(read->secret, endpoint.secret);
  }
}

TEST(TcpFrames, OtherTextIsNoEndpoint) {
  const std::string secret = "0102030405060708090a0b0c0d0e0f10";
  for (const std::string& text :
       {std::string(), std::string("10.0.0.1:1"), "10.0.0.1:1/" + secret.substr(1), "10.0.0.1:1/0" + secret,
        "10.0.0.1:1/" + secret.substr(1) + "g", "10.0.0.1:1/" + secret.substr(1) + "A", "10.0.0.1/" + secret,
        "10.0.0.1:0/" + secret, "node7:1/" + secret, "/" + secret, secret}) {
    const auto endpoint = parse_endpoint(text);
    EXPECT_FALSE(endpoint.ok()) << text;
    EXPECT_EQ(endpoint.status().code(), Code::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace tutti::tcp

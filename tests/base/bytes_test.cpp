#include "bytes.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

TEST(Hex, DigitsAreReadAndNothingElseIs) {
  for (size_t i = 0; i < kHexDigits.size(); ++i) EXPECT_EQ(hex_value(kHexDigits[i]), static_cast<int>(i));
  for (const char c : {'g', 'A', ' ', '/', ':', '`', '\0'}) EXPECT_EQ(hex_value(c), -1) << static_cast<int>(c);
  const unsigned char bytes[] = {0x00, 0x0f, 0xa5, 0xff};
  EXPECT_EQ(to_hex(bytes), "000fa5ff");
}

TEST(Hash, IsFnv1a) {  // with the values of its authors
  EXPECT_EQ(Hash().value(), 0xcbf29ce484222325u);
  EXPECT_EQ(Hash().add("a").value(), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(Hash().add("foobar").value(), 0x85944171f73967e8u);
  EXPECT_EQ(Hash(0x1111'2222'4444'8888).folded(), 0x1111 ^ 0x2222 ^ 0x4444 ^ 0x8888);
}

TEST(SecretOfRanks, IsRandomAndIsReadAsItWasWritten) {
  const auto secret = Secret::random(), other = Secret::random();
  ASSERT_TRUE(secret.ok() && other.ok());
  EXPECT_NE(*secret, *other);
  EXPECT_NE(*secret, Secret());
  EXPECT_EQ(secret->hex().size(), 32u);
  EXPECT_EQ(Secret::from_hex(secret->hex()), *secret);
}

TEST(SecretOfRanks, DiffersWhereAnyByteDoes) {
  const Secret secret{{1, 2, 3}};
  for (size_t i = 0; i < secret.bytes.size(); ++i) {
    Secret other = secret;
    other.bytes[i] ^= 0x80;
    EXPECT_NE(secret, other) << i;
  }
}

TEST(SecretOfRanks, OtherTextIsNone) {
  const std::string digits(32, '0');
  EXPECT_TRUE(Secret::from_hex(digits));
  for (const std::string& text : {std::string(), digits.substr(1), digits + '0', digits.substr(1) + 'g', digits.substr(1) + 'A'})
    EXPECT_FALSE(Secret::from_hex(text)) << text;
}

TEST(Printable, ControlCharactersAreReplaced) { EXPECT_EQ(printable("a\x1b[31m\n\x7f\u00b5"), "a?[31m??\u00b5"); }

enum class Colour : uint16_t { red = 0x0201 };
struct Frame {
  Colour colour = Colour::red;
  int32_t rank = -2;
  bool flag = true;
  uint64_t count = 0x0807060504030201;
  Secret secret{{9}};
  std::string text = "why";
};

template <class Bytes, class F>
void fields(Bytes& bytes, F& frame) {
  bytes.constant(uint8_t{7});
  bytes(frame.colour, frame.rank, frame.flag, frame.count, frame.secret);
  bytes.sentence(frame.text, 3);
}

std::string sample() {
  const Frame frame;
  ByteWriter writer;
  fields(writer, frame);
  return writer.take();
}

TEST(Frames, AreLittleEndian) {
  const std::string expected = std::string("\7\1\2\xfe\xff\xff\xff\1\1\2\3\4\5\6\7\10\11", 17) + std::string(15, '\0') + "why";
  EXPECT_EQ(sample(), expected);
}

TEST(Frames, AreReadByTheSameFields) {
  const std::string bytes = sample();
  ByteReader reader(bytes);
  Frame read{Colour(), 0, false, 0, {}, ""};
  fields(reader, read);
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(read.colour, Colour::red);
  EXPECT_EQ(read.rank, -2);
  EXPECT_TRUE(read.flag);
  EXPECT_EQ(read.count, 0x0807060504030201u);
  EXPECT_EQ(read.secret, (Secret{{9}}));
  EXPECT_EQ(read.text, "why");
}

TEST(Frames, PartsOtherConstantsAndLongSentencesAreRefused) {
  const auto accepted = [](const std::string& bytes) {
    ByteReader reader(bytes);
    Frame read;
    fields(reader, read);
    return reader.at_end();
  };
  const std::string bytes = sample();
  for (size_t cut = 0; cut < bytes.size() - 3; ++cut) EXPECT_FALSE(accepted(bytes.substr(0, cut))) << cut;
  EXPECT_TRUE(accepted(bytes.substr(0, bytes.size() - 3)));  // an empty sentence
  EXPECT_FALSE(accepted(bytes + '!'));
  EXPECT_FALSE(accepted('\6' + bytes.substr(1)));
}

TEST(Frames, ValuesPastTheEndAreZeroAndEmpty) {
  ByteReader reader("\1");
  uint32_t number = 5;
  reader(number);
  EXPECT_EQ(number, 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.number<uint8_t>(), 0u);
  EXPECT_EQ(reader.text(0), "");
  EXPECT_FALSE(reader.at_end());
}

TEST(Frames, SentencesAreCutAndMadePrintable) {
  ByteWriter writer;
  writer.sentence("abcdef", 4);
  EXPECT_EQ(writer.take(), "abcd");
  ByteReader reader("a\nb");
  std::string text;
  reader.sentence(text, 3);
  EXPECT_EQ(text, "a?b");
}

}  // namespace
}  // namespace tutti

// Frames of `rdma` links: pure functions of hostile bytes.
#include "rdma_frames.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace tutti::rdma {
namespace {

template <class Frame>
std::vector<std::byte> bytes_of(const Frame& frame, size_t more = 0) {
  std::vector<std::byte> bytes(sizeof frame + more);
  std::memcpy(bytes.data(), &frame, sizeof frame);
  return bytes;
}

EndAddress good_address() {
  EndAddress address;
  address.queue_pair = 17;
  address.first_packet = 0xffffff;
  address.mtu = 3;
  address.landing[0] = 4096;
  return address;
}

TEST(RdmaFrames, AnAddressComesBack) {
  const auto got = decode_end_address(bytes_of(good_address()));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->queue_pair, 17u);
  EXPECT_EQ(got->first_packet, 0xffffffu);
  EXPECT_EQ(got->landing[0], 4096u);
}

TEST(RdmaFrames, ImpossibleAddressesAreRefused) {
  const auto refused = [](auto change) {
    EndAddress address = good_address();
    change(address);
    return !decode_end_address(bytes_of(address));
  };
  EXPECT_TRUE(refused([](EndAddress& a) { a.magic ^= 1; }));
  EXPECT_TRUE(refused([](EndAddress& a) { ++a.version; }));
  EXPECT_TRUE(refused([](EndAddress& a) { a.queue_pair = 1 << 24; }));
  EXPECT_TRUE(refused([](EndAddress& a) { a.first_packet = 1 << 24; }));
  EXPECT_TRUE(refused([](EndAddress& a) { a.mtu = 0; }));
  EXPECT_TRUE(refused([](EndAddress& a) { a.mtu = 6; }));
  EXPECT_TRUE(refused([](EndAddress& a) { a.ethernet = 2; }));
  EXPECT_TRUE(refused([](EndAddress& a) { a.landing[0] = 0; }));
  const auto whole = bytes_of(good_address());
  EXPECT_FALSE(decode_end_address(std::span(whole).first(whole.size() - 1)));
  EXPECT_FALSE(decode_end_address(bytes_of(good_address(), 1)));
}

TEST(RdmaFrames, AFrameAgreesWithItsLength) {
  Frame frame;
  frame.bytes = 5;
  EXPECT_TRUE(decode_frame(bytes_of(frame, 5)));
  EXPECT_FALSE(decode_frame(bytes_of(frame, 4)));
  EXPECT_FALSE(decode_frame(bytes_of(frame, 6)));
  EXPECT_FALSE(decode_frame(bytes_of(frame)));
  frame.place = 4096;  // then nothing follows
  EXPECT_TRUE(decode_frame(bytes_of(frame)));
  EXPECT_FALSE(decode_frame(bytes_of(frame, 5)));
  Frame credits;
  credits.kind = Frame::Kind::credits;
  credits.returned = kMostLanding;
  EXPECT_TRUE(decode_frame(bytes_of(credits)));
  EXPECT_FALSE(decode_frame(bytes_of(credits, 1)));
}

TEST(RdmaFrames, ImpossibleFramesAreRefused) {
  const auto refused = [](auto change) {
    Frame frame;
    change(frame);
    return !decode_frame(bytes_of(frame));
  };
  EXPECT_FALSE(refused([](Frame&) {}));
  EXPECT_TRUE(refused([](Frame& f) { f.magic ^= 1; }));
  EXPECT_TRUE(refused([](Frame& f) { f.kind = static_cast<Frame::Kind>(0); }));
  EXPECT_TRUE(refused([](Frame& f) { f.kind = static_cast<Frame::Kind>(3); }));
  EXPECT_TRUE(refused([](Frame& f) { f.returned = kMostLanding + 1; }));
  EXPECT_FALSE(decode_frame({}));
}

}  // namespace
}  // namespace tutti::rdma

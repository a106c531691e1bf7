// Frames of the rendezvous and the control tree: read as they were written, cut anywhere, and spoilt.
#include <gtest/gtest.h>

#include "control_fixture.h"
#include "control_frames.h"
#include "listener_address.h"
#include "rendezvous_frames.h"

namespace tutti {
namespace {

RendezvousRequest request() {
  RendezvousRequest result;
  for (size_t i = 0; i < result.secret.bytes.size(); ++i) result.secret.bytes[i] = static_cast<unsigned char>(200 + i);
  result.rank = 3;
  result.size = 5;
  result.round = 7;
  result.patience_ms = 120'000;
  result.name = "world";
  result.blob = std::string("a\0b", 3);
  return result;
}

TEST(RendezvousFrames, RequestIsReadAsItWasWritten) {
  const std::string bytes = encode(request());
  RendezvousRequest read;
  size_t used = 0;
  std::string flaw;
  ASSERT_EQ(decode(bytes + "next", read, used, flaw), Decoding::complete);
  EXPECT_EQ(used, bytes.size());
  EXPECT_EQ(encode(read), bytes);
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_EQ(decode(bytes.substr(0, cut), read, used, flaw), Decoding::incomplete) << cut;
}

TEST(RendezvousFrames, RequestsBeyondTheBoundsAreRefused) {
  std::vector<RendezvousRequest> bad(11, request());
  bad[0].rank = 5;
  bad[1].size = 0;
  bad[2].size = kMostRanks + 1;
  bad[3].name = std::string(kLongestName + 1, 'x');
  bad[4].blob = std::string(kLongestBlob + 1, 'x');
  bad[5].round = 0;  // where a rank says who it is, and is not known yet
  bad[5].blob = std::string(kLongestWho + 1, 'x');
  bad[6].kind = RequestKind::done;    // with a blob
  bad[7].code = Code::system;         // of a rank that goes on
  bad[8].kind = RequestKind::failed;  // of nothing
  bad[9].kind = RequestKind::failed;
  bad[9].code = Code::system;
  bad[9].blob = std::string(kLongestSentence + 1, 'x');
  bad[10].kind = static_cast<RequestKind>(3);
  for (const RendezvousRequest& wrong : bad) {
    RendezvousRequest read;
    size_t used = 0;
    std::string flaw;
    EXPECT_EQ(decode(encode(wrong).substr(0, kRequestHead), read, used, flaw), Decoding::malformed);
    EXPECT_NE(flaw, "");
  }
}

TEST(RendezvousFrames, OtherKindsOfRequestAreReadAsTheyWereWritten) {
  RendezvousRequest failed = request(), done = request();
  failed.kind = RequestKind::failed;
  failed.code = Code::peer_lost;
  done.kind = RequestKind::done;
  done.blob.clear();
  for (const RendezvousRequest& wanted : {failed, done}) {
    RendezvousRequest read;
    size_t used = 0;
    std::string flaw;
    ASSERT_EQ(decode(encode(wanted), read, used, flaw), Decoding::complete) << flaw;
    EXPECT_EQ(read.kind, wanted.kind);
    EXPECT_EQ(read.code, wanted.code);
    EXPECT_EQ(encode(read), encode(wanted));
  }
}

TEST(RendezvousFrames, GreetingIsReadAsItWasWritten) {
  RendezvousGreeting other;
  other.version = kRendezvousVersion + 7;
  const std::string bytes = encode(other);
  RendezvousGreeting read;
  size_t used = 0;
  std::string flaw;
  ASSERT_EQ(decode(bytes + "next", read, used, flaw), Decoding::complete);
  EXPECT_EQ(used, bytes.size());
  EXPECT_EQ(read.version, kRendezvousVersion + 7);
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_EQ(decode(bytes.substr(0, cut), read, used, flaw), Decoding::incomplete) << cut;
  EXPECT_EQ(decode("HTTP", read, used, flaw), Decoding::malformed);
  EXPECT_EQ(flaw, "what answers there is not a rendezvous of Tutti");
}

TEST(RendezvousFrames, NoticesAreReadAsTheyWereWritten) {
  for (const ReplyKind kind : {ReplyKind::admitted, ReplyKind::ended}) {
    RendezvousReply notice;
    notice.kind = kind;
    notice.text = kind == ReplyKind::admitted ? "rank 0 (host b, pid 4711)" : "";
    RendezvousReply read;
    size_t used = 0;
    std::string flaw;
    ASSERT_EQ(decode(encode(notice), 3, read, used, flaw), Decoding::complete) << flaw;
    EXPECT_EQ(read.kind, kind);
    EXPECT_EQ(read.text, notice.text);
    EXPECT_TRUE(read.status.ok() && read.blobs.empty());
  }
}

TEST(RendezvousFrames, RefusalSaysWhetherToLookAgain) {
  for (const bool look_again : {false, true}) {
    RendezvousReply reply;
    reply.kind = ReplyKind::failure;
    reply.status = Status(Code::mismatch, "of others");
    reply.look_again = look_again;
    RendezvousReply read;
    size_t used = 0;
    std::string flaw;
    ASSERT_EQ(decode(encode(reply), 3, read, used, flaw), Decoding::complete) << flaw;
    EXPECT_EQ(read.kind, ReplyKind::failure);
    EXPECT_EQ(read.look_again, look_again);
  }
}

TEST(RendezvousFrames, ReplyIsReadAsItWasWritten) {
  RendezvousReply reply;
  reply.round = 2;
  reply.blobs = {"", "one", std::string(1000, 'x')};
  const std::string bytes = encode(reply);
  RendezvousReply read;
  size_t used = 0;
  std::string flaw;
  ASSERT_EQ(decode(bytes, 3, read, used, flaw), Decoding::complete);
  EXPECT_EQ(used, bytes.size());
  EXPECT_EQ(read.blobs, reply.blobs);
  EXPECT_EQ(read.round, 2u);
  EXPECT_EQ(decode(bytes, 4, read, used, flaw), Decoding::malformed);
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_EQ(decode(bytes.substr(0, cut), 3, read, used, flaw), Decoding::incomplete) << cut;
}

TEST(RendezvousFrames, SentenceOfARefusalIsMadePrintable) {
  RendezvousReply reply;
  reply.kind = ReplyKind::failure;
  reply.status = Status(Code::mismatch, "no\x1b[31m\nmore");
  RendezvousReply read;
  size_t used = 0;
  std::string flaw;
  ASSERT_EQ(decode(encode(reply), 3, read, used, flaw), Decoding::complete);
  EXPECT_EQ(read.status.code(), Code::mismatch);
  EXPECT_EQ(read.status.message(), "no?[31m?more");
}

std::vector<ControlFrame> one_of_each() {
  std::vector<ControlFrame> frames;
  for (uint8_t kind = static_cast<uint8_t>(FrameKind::hello); kind <= static_cast<uint8_t>(FrameKind::leaving); ++kind) {
    ControlFrame frame;
    frame.kind = static_cast<FrameKind>(kind);
    frame.rank = 4;
    frame.secret = request().secret;
    frame.cause = {3, true, Status(Code::peer_lost, "rank 3 died")};
    frame.stall = stall_in(call_of(Collective::broadcast, 9, uint64_t{1} << 40), 2);
    frame.stall.signature.root = 1;
    frame.stall.signature.context = 0x0123456789abcdef;
    frame.text = "rank 4 is late";
    frames.push_back(frame);
  }
  return frames;
}

TEST(ControlFrames, EachKindIsReadAsItWasWritten) {
  for (const ControlFrame& frame : one_of_each()) {
    const std::string bytes = encode(frame);
    ControlFrame read;
    size_t used = 0;
    ASSERT_EQ(decode(bytes + "next", 5, read, used), Decoding::complete) << static_cast<int>(frame.kind);
    EXPECT_EQ(used, bytes.size());
    EXPECT_EQ(encode(read), bytes);
    for (size_t cut = 0; cut < bytes.size(); ++cut)
      EXPECT_EQ(decode(bytes.substr(0, cut), 5, read, used), Decoding::incomplete) << cut;
  }
}

TEST(ControlFrames, AHelloIsAsLongAsAListenerReads) { EXPECT_EQ(encode(one_of_each()[0]).size(), kHelloFrame); }

TEST(ControlFrames, RanksThatDoNotExistAreRefused) {
  for (const ControlFrame& frame : one_of_each()) {
    const bool has_rank = encode(frame).size() > kFrameHead;
    ControlFrame read;
    size_t used = 0;
    EXPECT_EQ(decode(encode(frame), 2, read, used), has_rank ? Decoding::malformed : Decoding::complete);
  }
}

TEST(ControlFrames, UnknownKindsAndWrongLengthsAreRefused) {
  ControlFrame read;
  size_t used = 0;
  EXPECT_EQ(decode(std::string("\0\0\0", 3), 5, read, used), Decoding::malformed);
  EXPECT_EQ(decode(std::string("\0\0\x0e", 3), 5, read, used), Decoding::malformed);
  EXPECT_EQ(decode(std::string("\xff\xff\x03", 3), 5, read, used), Decoding::malformed);
  EXPECT_EQ(decode(std::string("\x01\0\x08x", 4), 5, read, used), Decoding::malformed);  // a ping with a body
}

TEST(ControlFrames, LongCausesAreCut) {
  ControlFrame frame;
  frame.kind = FrameKind::failure;
  frame.cause.status = Status(Code::aborted, std::string(5000, 'x'));
  ControlFrame read;
  size_t used = 0;
  ASSERT_EQ(decode(encode(frame), 5, read, used), Decoding::complete);
  EXPECT_EQ(read.cause.status.message(), std::string(kLongestCause, 'x'));
}

TEST(ListenerAddress, IsReadAsItWasWritten) {
  ListenerAddress mine;
  mine.secret.bytes[3] = 7;
  mine.address = "[fe80::1%1]:4242";
  const ListenerAddress read = decode_listener_address(encode(mine));
  EXPECT_TRUE(read.status.ok());
  EXPECT_EQ(read.secret, mine.secret);
  EXPECT_EQ(read.address, mine.address);
}

TEST(ListenerAddress, WhatIsOutOfBoundsIsRefused) {
  const std::string secret(16, 's');
  for (const std::string& bytes :
       {std::string(), "1" + secret.substr(1), "2" + secret, "0" + secret, "1" + secret + std::string(129, '1'),
        "1" + secret + "nowhere", "0" + secret + std::string(kLongestSentence + 1, 'x')})
    EXPECT_FALSE(decode_listener_address(bytes).status.ok()) << bytes;
  EXPECT_EQ(decode_listener_address("0" + secret + "a\nb").status.message(), "a?b");
}

}  // namespace
}  // namespace tutti

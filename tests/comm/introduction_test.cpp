// The introductions of ranks at bootstrap are written and read alike, and whatever is out of bounds is an error that
// names the rank.
#include "introduction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "bytes.h"
#include "settings.h"
#include "transport_kind.h"

namespace tutti {
namespace {

using testing::HasSubstr;

Introduction sample() {
  Introduction i;
  i.host_id = "boot:7 net:4-5";
  i.host = "node7";
  i.pid = 4711;
  i.pid_namespace = "4026531836";
  i.user = 1000;
  i.user_namespace = "4026531837";
  i.context = UINT64_MAX;
  i.cores = "ff03";
  i.place = "0 8 - -";
  i.warnings = 77;
  i.wire = "TUTTI_LANES=2\nTUTTI_SLOT_BYTES=65536\n";
  i.cards = {{"shm", "tutti-1234 " + std::string(32, 'a')}, {"tcp", ""}};
  return i;
}

TEST(Introduction, IsReadAsItWasWritten) {
  const auto read = decode_introduction(encode(sample()), 1);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(encode(*read), encode(sample()));
  EXPECT_EQ(read->context, UINT64_MAX);
  EXPECT_EQ(read->user, 1000u);
  EXPECT_EQ(read->warnings, 77u);
  EXPECT_EQ(read->wire, sample().wire);
  EXPECT_EQ(read->cards, sample().cards);
}

TEST(Introduction, SpeaksOfThisProcess) {
  Introduction mine = sample();
  introduce_process(mine);
  EXPECT_EQ(mine.pid, static_cast<uint64_t>(::getpid()));
  EXPECT_EQ(mine.user, ::geteuid());
  EXPECT_TRUE(decode_introduction(encode(mine), 0).ok());
}

TEST(Introduction, WhatIsOutOfBoundsIsNamed) {
  const std::pair<const char*, std::function<void(Introduction&)>> cases[] = {
      {"host id", [](Introduction& i) { i.host_id.clear(); }},
      {"process id", [](Introduction& i) { i.pid = 10'000'000'000; }},
      {"process id namespace", [](Introduction& i) { i.pid_namespace = "x"; }},
      {"user id", [](Introduction& i) { i.user = uint64_t{1} << 32; }},
      {"list of transports", [](Introduction& i) { i.cards["shm"] = std::string(kLongestCard + 1, 'a'); }},
      {"list of transports", [](Introduction& i) { i.cards["shm"] = "a\x1b"; }},
      {"list of transports", [](Introduction& i) { i.cards["SHM"] = "a"; }},
      {"list of transports", [](Introduction& i) { i.cards[""] = "a"; }},
      {"list of transports", [](Introduction& i) { i.cards[std::string(kLongestTransportName + 1, 'a')] = ""; }},
      {"list of transports",
       [](Introduction& i) {
         for (size_t n = i.cards.size(); n <= kMostCards; ++n) i.cards["kind" + std::to_string(n)] = "";
       }},
      {"set of cores", [](Introduction& i) { i.cores = std::string((16 << 10) + 1, 'f'); }},
      {"place in its host", [](Introduction& i) { i.place = std::string(65, '0'); }},
      {"list of settings", [](Introduction& i) { i.wire = std::string(kLongestWireSettings + 1, 'x'); }},
  };
  for (const auto& [what, change] : cases) {
    Introduction i = sample();
    change(i);
    const auto read = decode_introduction(encode(i), 17);
    ASSERT_FALSE(read.ok()) << what;
    EXPECT_THAT(read.status().message(), HasSubstr(std::string("rank 17 introduced itself with a malformed ") + what));
  }
}

// Names that do not print are written so that they do.
TEST(Introduction, NamesArePrintable) {
  Introduction i = sample();
  i.host = "a\nb\x1b[2J" + std::string(300, 'x');
  const auto read = decode_introduction(encode(i), 0);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->host, "a?b?[2J" + std::string(248, 'x'));
}

TEST(Introduction, CutAnywhereItIsNoIntroduction) {
  const std::string whole = encode(sample());
  for (size_t length = 0; length + sample().wire.size() < whole.size(); ++length)
    EXPECT_FALSE(decode_introduction(whole.substr(0, length), 0).ok()) << length;
}

// A kind that is named twice might be read differently by different ranks.
TEST(Introduction, EachTransportIsListedOnce) {
  std::string bytes = encode(sample());
  bytes.replace(bytes.find("tcp "), 4, "shm ");
  const auto read = decode_introduction(bytes, 2);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.status().message(), HasSubstr("malformed list of transports"));
}

}  // namespace
}  // namespace tutti

// What travels between a meeting and its ranks.  Decoders are pure functions of untrusted bytes.
//
//   request  magic 4 | version 2 | name length 2 | secret 16 | rank 4 | size 4 | round 4 | blob length 4 | name | blob
//   reply    magic 4 | version 2 | code 2 | round 4 | count 4 | body length 8 | body
//            body: the sentence of an error, or `count` times (length 4 | blob)
//
// Magic and version of both, and the whole head of a reply, stay the same in all versions, so that a rank of another version can be
// told what is wrong.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "birth_bytes.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

inline constexpr uint16_t kMeetingVersion = 1;
inline constexpr size_t kLongestBlob = 64 << 10;
inline constexpr size_t kLongestName = 255;
inline constexpr size_t kLongestSentence = 4096;
inline constexpr size_t kRequestHead = 40;
inline constexpr size_t kReplyHead = 24;
inline constexpr size_t kLongestRequest = kRequestHead + kLongestName + kLongestBlob;

using Secret = std::array<unsigned char, 16>;  // all zero where ranks cannot know one

struct MeetingRequest {
  uint16_t version = kMeetingVersion;
  Secret secret{};
  uint32_t rank = 0, size = 0, round = 0;
  std::string name, blob;
};

struct MeetingReply {
  uint16_t version = kMeetingVersion;
  uint32_t round = 0;
  Status status;  // of the meeting; success: `blobs` holds one per rank
  std::vector<std::string> blobs;
};

std::string encode(const MeetingRequest& request);
std::string encode(const MeetingReply& reply);

// On `complete`, `used` bytes belong to this request.  On `malformed`, `flaw` says why.  A request of another version is complete with
// nothing but its version set.
Decoding decode(std::string_view bytes, MeetingRequest& request, size_t& used, std::string& flaw);

// The same for a reply, of which at most `size` blobs are believed.
Decoding decode(std::string_view bytes, uint32_t size, MeetingReply& reply, size_t& used, std::string& flaw);

}  // namespace tutti

// The frames between a rendezvous and its ranks.  Decoders are pure functions of untrusted bytes.
//
//   greeting magic 4 | version 2
//   request  magic 4 | version 2 | kind 2 | secret 16 | rank 4 | size 4 | round 4 | patience 4 | code 2 | name length 2
//            | blob length 4 | name | blob
//   reply    magic 4 | version 2 | code 2 | round 4 | count 4 | body length 8 | body
//            body of an error: its sentence; count 1: another rendezvous may take this one's place
//            body of a round: `count` times (length 4 | blob)
//            body of a notice, which has a round of its own and count 0: text
//
// The server sends its greeting as soon as it accepts, so that a rank knows at once whether a rendezvous is there.
// Magic and version of all, and the whole head of a reply, stay the same in all versions, so that a rank of another
// version gets a sentence that says what is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

inline constexpr uint16_t kRendezvousVersion = 2;
inline constexpr size_t kLongestBlob = 64 << 10;
inline constexpr size_t kLongestName = 255;
inline constexpr size_t kLongestSentence = 4096;
inline constexpr size_t kLongestWho = 255;  // a rank's description of itself in round 0, and a rendezvous's of itself
inline constexpr size_t kGreeting = 6;
inline constexpr size_t kRequestHead = 48;
inline constexpr size_t kReplyHead = 24;
inline constexpr size_t kLongestRequest = kRequestHead + kLongestName + kLongestBlob;
inline constexpr size_t kLongestFirstRequest = kRequestHead + kLongestName + kLongestWho;

struct RendezvousGreeting {
  uint16_t version = kRendezvousVersion;
};

enum class RequestKind : uint16_t {
  give,    // a blob for this round; in round 0 who this is: "host b, pid 4711"
  failed,  // this rank cannot go on, and why
  done,    // this rank has all it needs and leaves
};

struct RendezvousRequest {
  uint16_t version = kRendezvousVersion;
  RequestKind kind = RequestKind::give;
  Secret secret{};
  uint32_t rank = 0, size = 0, round = 0;
  uint32_t patience_ms = 0;   // how long this rank still waits for the bootstrap
  Code code = Code::success;  // of `failed`, whose sentence is the blob
  std::string name, blob;
};

enum class ReplyKind : uint8_t {
  blobs,     // of a round
  failure,   // `status` ends the rendezvous, or this rank's part in it
  admitted,  // this rank belongs to the rendezvous; `text` says who runs it
  ended,     // the process that ran the rendezvous has all it needs and leaves
};

struct RendezvousReply {
  uint16_t version = kRendezvousVersion;
  ReplyKind kind = ReplyKind::blobs;
  uint32_t round = 0;       // of `blobs` and `failure`
  Status status;            // of `failure`
  bool look_again = false;  // after `failure`: another rendezvous may take the place of this one
  // One per rank; in round 0 the first is the address at which other hosts reached the rendezvous, or "".
  std::vector<std::string> blobs;
  std::string text;
};

std::string encode(const RendezvousGreeting& greeting);
std::string encode(const RendezvousRequest& request);
std::string encode(const RendezvousReply& reply);

RendezvousReply failure_reply(const Status& why, uint32_t round, bool look_again = false);

// On `complete`, `used` bytes belong to this request.  On `malformed`, `flaw` says why.  A request of another version
// is complete with nothing but its version set.
Decoding decode(std::string_view bytes, RendezvousRequest& request, size_t& used, std::string& flaw);

// The same for a greeting, of any version.
Decoding decode(std::string_view bytes, RendezvousGreeting& greeting, size_t& used, std::string& flaw);

// The same for a reply, of which at most `size` blobs are believed.
Decoding decode(std::string_view bytes, uint32_t size, RendezvousReply& reply, size_t& used, std::string& flaw);

}  // namespace tutti

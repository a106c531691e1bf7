// The frames of the control tree: small, bounded, and decoded by a pure function of untrusted bytes.
//
//   length of body 2 | kind 1 | body
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bytes.h"
#include "control.h"
#include "rendezvous_frames.h"

namespace tutti {

enum class FrameKind : uint8_t {
  hello = 1,  // child → parent at bootstrap: magic, version, the parent's secret, the child's rank
  welcome,    // parent → child
  report,     // towards the root: a failure that somebody saw
  failure,    // from the root: the failure of the communicator
  stall,      // towards the root: a rank makes no progress
  timed_out,  // towards the root: and its deadline is over
  late,       // from the root: who is late, for the waiters' logs
  ping,       // to any neighbour: is your control thread alive?
  pong,
  suspect,     // towards the root: a neighbour that did not answer a ping
  goodbye_up,  // towards the root: all of this subtree are done
  // Towards the root, and to the children of the rank itself: it has called destroy and will answer nobody.
  leaving,
  exited,   // towards the root: a rank's process has ended, as a process of its host saw
  query,    // from the root: reports of stalls shall say which query came last
  cut_off,  // towards the root: a rank has left, and nothing more will be heard of those below it
};

// Why a communicator is dead.
struct Cause {
  int32_t culprit = -1;
  bool by_close = false;  // a connection closed without goodbye: no failure for ranks that are leaving themselves
  Status status;
};

struct ControlFrame {
  FrameKind kind = FrameKind::ping;
  int32_t rank = -1;  // hello, stall, timed_out, suspect, leaving, exited, cut_off: of whom; late: who is late
  Secret secret{};    // hello
  Cause cause;        // report, failure
  Stall stall;        // stall, timed_out
  std::string text;   // late
  uint32_t query = 0; // query; stall, timed_out: the last one that the rank has heard
};

inline ControlFrame frame_of(FrameKind kind, int32_t rank = -1) {
  ControlFrame frame;
  frame.kind = kind;
  frame.rank = rank;
  return frame;
}
inline ControlFrame frame_of(FrameKind kind, const Cause& cause) {
  ControlFrame frame = frame_of(kind);
  frame.cause = cause;
  return frame;
}

inline constexpr size_t kHelloFrame = 29;  // with its head
inline constexpr size_t kLongestCause = 1024;
inline constexpr size_t kFrameHead = 3;
inline constexpr size_t kLongestFrame = kFrameHead + 64 + kLongestCause;

std::string encode(const ControlFrame& frame);

// On `complete`, `used` bytes belong to this frame.  Ranks in it are below `size` (or -1).
Decoding decode(std::string_view bytes, int size, ControlFrame& frame, size_t& used);

}  // namespace tutti

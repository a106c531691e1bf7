// Any bytes in the place of a frame of a group's bootstrap: what is accepted is within bounds and would be written the
// same.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "group_bootstrap.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  constexpr size_t kRanks = 3;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto frame = decode_group_frame(bytes, kRanks);
  if (!frame) return 0;
  switch (frame->kind) {
    case GroupFrame::Kind::blob: FUZZ_CHECK(frame->blobs.size() == 1); break;
    case GroupFrame::Kind::answer: FUZZ_CHECK(frame->blobs.size() == kRanks); break;
    case GroupFrame::Kind::failure: FUZZ_CHECK(!frame->cause.ok() && frame->cause.message().size() <= 4096); break;
  }
  for (const std::string& blob : frame->blobs) FUZZ_CHECK(blob.size() <= 64 << 10);
  const std::string again = encode(*frame);
  if (frame->kind != GroupFrame::Kind::failure) FUZZ_CHECK(again == bytes);  // a sentence was made printable
  const auto twice = decode_group_frame(again, kRanks);
  FUZZ_CHECK(twice && encode(*twice) == again);
  return 0;
}

#include "group_bootstrap.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "clock.h"

namespace tutti {
namespace {

constexpr size_t kLongestGroupBlob = 64 << 10;  // see Bootstrap::exchange
constexpr size_t kLongestGroupSentence = 4096;
constexpr size_t kHead = 16;                          // more than a frame has besides blobs
constexpr uint64_t kVerdictPatience = 2'000'000'000;  // in which the first rank says why all fail
constexpr long kTick = 10'000'000;

int tag_of(Hash hash) { return static_cast<int>((hash.value() ^ hash.value() >> 32) & 0x7fffffff); }

// Of all creations of these ranks with this key.
Hash hash_of(const std::vector<int>& members, int key) {
  Hash hash;
  for (const int member : members) hash.add(static_cast<uint64_t>(member));
  hash.add(static_cast<uint64_t>(key) << 32 | members.size());
  return hash;
}

}  // namespace

std::string encode(const GroupFrame& frame) {
  ByteWriter bytes;
  bytes(frame.kind, frame.creation);
  if (frame.kind == GroupFrame::Kind::failure) {
    bytes(frame.cause.code());
    bytes.sentence(frame.cause.message(), kLongestGroupSentence);
  } else {
    for (const std::string& blob : frame.blobs) {
      bytes.number(static_cast<uint32_t>(blob.size()));
      bytes.text(blob);
    }
  }
  return bytes.take();
}

std::optional<GroupFrame> decode_group_frame(std::string_view text, size_t ranks) {
  ByteReader bytes(text);
  GroupFrame frame;
  bytes(frame.kind, frame.creation);
  if (frame.kind == GroupFrame::Kind::failure) {
    Code code{};
    std::string sentence;
    bytes(code);
    bytes.sentence(sentence, kLongestGroupSentence);
    if (!bytes.ok() || code == Code::success || code > Code::internal) return std::nullopt;
    frame.cause = Status(code, sentence);
    return frame;
  }
  if (frame.kind != GroupFrame::Kind::blob && frame.kind != GroupFrame::Kind::answer) return std::nullopt;
  const size_t count = frame.kind == GroupFrame::Kind::blob ? 1 : ranks;
  for (size_t i = 0; i < count && bytes.ok(); ++i) {
    const auto length = bytes.number<uint32_t>();
    if (length > kLongestGroupBlob) return std::nullopt;
    frame.blobs.emplace_back(bytes.text(length));
  }
  if (!bytes.at_end()) return std::nullopt;
  return frame;
}

Result<std::shared_ptr<GroupBootstrap>> GroupBootstrap::open(Communicator& parent, std::vector<int> members, int me, int key,
                                                             uint64_t deadline) {
  OwnedFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const itimerspec ticks{{0, kTick}, {0, kTick}};
  if (!timer || ::timerfd_settime(timer.get(), 0, &ticks, nullptr) != 0)
    return system_error("making a timer for the bootstrap of a group");
  Hash hash = hash_of(members, key);
  const uint32_t creation = parent.count_group(tag_of(hash));
  hash.add(creation);  // a rank may begin the next creation while another one still has receives of this one
  std::shared_ptr<GroupBootstrap> made(
      new GroupBootstrap(parent, std::move(members), me, tag_of(hash), creation, std::move(timer), deadline));
  for (Incoming& incoming : made->incoming_)
    if (Status status = made->post(incoming); !status.ok()) return made->fail(status);
  return made;
}

GroupBootstrap::GroupBootstrap(Communicator& parent, std::vector<int> members, int me, int tag, uint32_t creation, OwnedFd timer,
                               uint64_t deadline)
    : Bootstrap(deadline),
      parent_(parent),
      members_(std::move(members)),
      me_(me),
      tag_(tag),
      creation_(creation),
      timer_(std::move(timer)),
      incoming_(me == 0 ? members_.size() - 1 : 1) {
  for (size_t i = 0; i < incoming_.size(); ++i) incoming_[i].member = me == 0 ? static_cast<int>(i) + 1 : 0;
}

// What has arrived in spite of this belongs to its operation.
GroupBootstrap::~GroupBootstrap() {
  for (const Incoming& incoming : incoming_)
    if (incoming.operation) parent_.withdraw(*incoming.operation);
}

const std::string& GroupBootstrap::name_of(int member) const {
  return parent_.parts().rank_names[static_cast<size_t>(members_[static_cast<size_t>(member)])];
}

size_t GroupBootstrap::longest() const {
  const size_t blobs = me_ == 0 ? 1 : members_.size();
  return kHead + std::max(kLongestGroupSentence, blobs * (kLongestGroupBlob + sizeof(uint32_t)));
}

Status GroupBootstrap::absent(int member) const {
  return Status(Code::unreachable, name_of(member) +
                                       " did not take part in tutti_comm_create_group in time; do all members call it, "
                                       "with the same ranks and key, within timeout_ms or TUTTI_BOOTSTRAP_TIMEOUT?");
}

// ---- frames ----

Status GroupBootstrap::post(Incoming& incoming) {
  if (!incoming.buffer) incoming.buffer.reset(new std::byte[longest()]);  // mostly not touched
  incoming.got = std::make_shared<Received>();
  Message message;
  message.data = incoming.buffer.get();
  message.count = longest();
  message.peer = members_[static_cast<size_t>(incoming.member)];
  message.tag = tag_;
  message.mark = kGrouping;
  message.timeout_ns = UINT64_MAX;
  message.tell = [got = incoming.got](const Received& received) { *got = received; };
  message.keeps = incoming.buffer;
  auto operations = parent_.start_messages({std::move(message)}, false);
  if (!operations.ok()) return operations.status();
  incoming.operation = std::move(operations->front());
  return {};
}

// Waits until the message has left, since nobody might drive the parent later; what has not by `until` stays under way.
Status GroupBootstrap::send(int member, const GroupFrame& frame, uint64_t until) {
  const auto text = std::make_shared<std::string>(encode(frame));
  Message message;
  message.send = true;
  message.data = reinterpret_cast<std::byte*>(text->data());
  message.count = text->size();
  message.peer = members_[static_cast<size_t>(member)];
  message.tag = tag_;
  message.mark = kGrouping;
  message.timeout_ns = UINT64_MAX;
  message.keeps = text;
  const auto operations = parent_.start_messages({std::move(message)}, false);
  if (!operations.ok()) return operations.status();
  const auto ended = parent_.wait_until(*operations->front(), until);
  return ended ? *ended : absent(member);
}

void GroupBootstrap::tell_all(const Status& cause) {
  const GroupFrame frame{GroupFrame::Kind::failure, creation_, {}, cause};
  const uint64_t until = now_ns() + kVerdictPatience;
  for (const Incoming& incoming : incoming_) (void)send(incoming.member, frame, until);
}

std::optional<GroupFrame> GroupBootstrap::take(Incoming& incoming) {
  const std::string_view text(reinterpret_cast<const char*>(incoming.buffer.get()), incoming.got->count);
  auto frame = decode_group_frame(text, members_.size());
  if (!frame)
    return GroupFrame{
        GroupFrame::Kind::failure,
        creation_,
        {},
        Status(Code::mismatch, name_of(incoming.member) + " takes part in the creation of a group with something that "
                                                          "no rank of this version of Tutti says")};
  if (frame->creation < creation_) return std::nullopt;
  return frame;
}

Result<GroupFrame> GroupBootstrap::next(Incoming& incoming, uint64_t until) {
  for (;;) {
    const auto ended = parent_.wait_until(*incoming.operation, until);
    if (!ended) return absent(incoming.member);
    if (!ended->ok()) return *ended;
    auto frame = take(incoming);
    if (Status status = post(incoming); !status.ok()) return status;
    if (!frame) continue;
    if (frame->kind == GroupFrame::Kind::failure) return frame->cause;
    return std::move(*frame);
  }
}

// ---- the bootstrap ----

Result<std::vector<std::string>> GroupBootstrap::gather(const std::string& mine) {
  std::vector<std::string> blobs{mine};
  for (Incoming& incoming : incoming_) {
    auto frame = next(incoming, deadline());
    if (!frame.ok()) return frame.status();
    blobs.push_back(std::move(frame->blobs[0]));
  }
  const GroupFrame answer{GroupFrame::Kind::answer, creation_, blobs, {}};
  for (const Incoming& incoming : incoming_)
    if (Status status = send(incoming.member, answer, deadline()); !status.ok()) return status;
  return blobs;
}

Result<std::vector<std::string>> GroupBootstrap::exchange(const std::string& mine) {
  if (!cause_.ok()) return cause_;
  if (me_ == 0) return gather(mine);
  if (Status status = send(0, {GroupFrame::Kind::blob, creation_, {mine}, {}}, deadline()); !status.ok()) return status;
  auto frame = next(incoming_.front(), deadline() + kVerdictPatience);  // at the deadline the first rank says who is missing
  if (!frame.ok()) {
    cause_ = frame.status();
    return cause_;
  }
  if (frame->blobs.size() != members_.size()) return Status(Code::mismatch, name_of(0) + " answers for another number of ranks");
  return std::move(frame->blobs);
}

Status GroupBootstrap::heard() {
  uint64_t ticks = 0;
  (void)!::read(timer_.get(), &ticks, sizeof ticks);
  if (Status failed = parent_.failed_status(); !failed.ok()) return failed;
  for (Incoming& incoming : incoming_) {
    Status status;
    if (!incoming.operation || !parent_.test(*incoming.operation, status)) continue;
    if (!status.ok()) return status;
    const auto frame = take(incoming);
    if (frame && frame->kind == GroupFrame::Kind::failure) return cause_ = frame->cause;
    if (frame) continue;  // its time will come
    if (status = post(incoming); !status.ok()) return status;
  }
  return {};
}

// The first rank's word counts.  The others get it before they return, if it comes in time.
Status GroupBootstrap::fail(const Status& why) {
  if (parent_.failed_status().ok()) {
    if (me_ == 0 || cause_.ok()) tell_all(why);
    if (me_ != 0 && cause_.ok() && incoming_.front().operation) {
      const auto verdict = next(incoming_.front(), now_ns() + kVerdictPatience);
      if (!verdict.ok() && verdict.status().code() != Code::unreachable) return cause_ = verdict.status();
    }
  }
  return cause_.ok() ? cause_ = why : cause_;
}

}  // namespace tutti

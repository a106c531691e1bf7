// The bootstrap of a group of a communicator's ranks, by messages between them on that communicator; its other ranks
// take no part.
//
// The group's first rank gathers what all give and answers each.  A rank that cannot go on tells the first, and that
// one all others.  Creations are counted at every rank for the same ranks and key: as they are collective, the k-th
// call of one rank belongs to the k-th of the others.  The number is in the tag of a creation's messages, so a rank may
// begin the next one while others still have receives of this one, and, since tags are hashes, in each frame: frames of
// another creation are passed over.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bootstrap.h"
#include "bytes.h"
#include "communicator.h"
#include "owned_fd.h"

namespace tutti {

// One frame of a group's bootstrap.
struct GroupFrame {
  enum class Kind : uint8_t { blob = 1, answer, failure };
  Kind kind = Kind::blob;
  uint32_t creation = 0;           // its number
  std::vector<std::string> blobs;  // one; of an answer that of every rank
  Status cause;                    // of a failure
};
std::string encode(const GroupFrame& frame);
// None unless it is a whole frame, of a group of so many ranks.
std::optional<GroupFrame> decode_group_frame(std::string_view bytes, size_t ranks);

class GroupBootstrap final : public Bootstrap {
 public:
  // `members`: the group's ranks, by their numbers in `parent`, which outlives this; `me`: which of them is this one.
  static Result<std::shared_ptr<GroupBootstrap>> open(Communicator& parent, std::vector<int> members, int me, int key,
                                                      uint64_t deadline);
  ~GroupBootstrap() override;

  Result<std::vector<std::string>> exchange(const std::string& mine) override;
  int watched() const override { return timer_.get(); }
  Status heard() override;
  Status fail(const Status& why) override;

 private:
  // A receive that is posted before its message is due, so that a failure is heard while this rank waits elsewhere.
  struct Incoming {
    int member = 0;
    std::shared_ptr<std::byte[]> buffer;
    std::shared_ptr<Received> got;
    std::shared_ptr<Operation> operation;
  };

  GroupBootstrap(Communicator& parent, std::vector<int> members, int me, int tag, uint32_t creation, OwnedFd timer,
                 uint64_t deadline);
  Status post(Incoming& incoming);
  Status send(int member, const GroupFrame& frame, uint64_t until);
  void tell_all(const Status& cause);
  Result<GroupFrame> next(Incoming& incoming, uint64_t until);
  std::optional<GroupFrame> take(Incoming& incoming);  // what has arrived; none: a frame to be passed over
  Result<std::vector<std::string>> gather(const std::string& mine);
  Status absent(int member) const;
  const std::string& name_of(int member) const;
  size_t longest() const;

  Communicator& parent_;
  const std::vector<int> members_;
  const int me_, tag_;
  const uint32_t creation_;
  OwnedFd timer_;                   // ticks while somebody waits, since no descriptor tells of messages
  std::vector<Incoming> incoming_;  // of the others at the first rank, of the first at the others
  Status cause_;                    // of the failure that is known
};

}  // namespace tutti

// Which message of which link each step of a set of plans sends or takes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan.h"
#include "status.h"

namespace tutti {

// Links between `ranks` ranks, numbered as they come into use.
class LinkNumbers {
 public:
  explicit LinkNumbers(size_t ranks) : ranks_(ranks), numbers_(ranks * ranks, kUnused) {}
  uint32_t of(size_t from, size_t to) {
    uint32_t& number = numbers_[from * ranks_ + to];
    if (number == kUnused) number = used_++;
    return number;
  }
  uint32_t used() const { return used_; }

 private:
  static constexpr uint32_t kUnused = ~uint32_t{0};
  size_t ranks_;
  std::vector<uint32_t> numbers_;
  uint32_t used_ = 0;
};

// One message as one of its two ends sees it.
struct MessageEnd {
  uint32_t link;
  uint32_t index;  // among the plan's messages on that link
};

class Wiring {
 public:
  // Plans that are not well-formed or do not agree give a Status that says where: the i-th send on a link must be the i-th receive
  // at its other end, of the same blocks.
  static Result<Wiring> make(std::span<const Plan> plans, LinkNumbers& links);

  // One end for each peer of the step.
  std::span<const MessageEnd> ends(size_t rank, size_t step) const {
    const auto& first = first_end_[rank];
    return {ends_.data() + first[step], first[step + 1] - first[step]};
  }
  uint32_t messages(uint32_t link) const { return link < messages_.size() ? messages_[link] : 0; }

 private:
  Status agree(std::span<const Plan> plans) const;

  std::vector<MessageEnd> ends_;
  std::vector<std::vector<size_t>> first_end_;  // [rank][step]; one more at the end
  std::vector<uint32_t> messages_;              // per link: sent
  std::vector<uint32_t> taken_;                 // per link: received
};

// "rank 3, step 5 (recv block 2 from rank 1): …" as a Status.
Status plan_error(std::span<const Plan> plans, size_t rank, size_t step, const std::string& what);

}  // namespace tutti

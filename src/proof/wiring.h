// The links between the programs of all ranks, and which message of which link each port is.
#pragma once

#include <cstdint>
#include <vector>

#include "program_set.h"
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
  uint32_t index;  // among the messages of one stripe on that link
};

class Wiring {
 public:
  // Programs that are not well-formed or do not agree give a Status that says where: the i-th send on a link must be
  // the i-th receive at its other end, of the same blocks.
  static Result<Wiring> make(const ProgramSet& set, LinkNumbers& links);

  MessageEnd in(size_t rank, const Port& port) const { return {peers_[rank][port.link].in, port.index}; }
  MessageEnd out(size_t rank, const Port& port) const { return {peers_[rank][port.link].out, port.index}; }
  uint32_t messages(uint32_t link) const { return link < messages_.size() ? messages_[link] : 0; }

 private:
  struct PeerLinks {
    uint32_t in, out;
  };
  Status agree(const ProgramSet& set) const;

  std::vector<std::vector<PeerLinks>> peers_;  // [rank][index into Program::peers]
  std::vector<uint32_t> messages_;             // per link: sent
  std::vector<uint32_t> taken_;                // per link: received
};

}  // namespace tutti

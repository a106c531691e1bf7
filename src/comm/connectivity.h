// Decides which kind of transport serves which pair of ranks, from what the ranks told of themselves.  All ranks
// decide alike.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "introduction.h"
#include "status.h"
#include "transport_kind.h"

namespace tutti {

class Connectivity {
 public:
  // `names`: of the ranks.  What is passed must outlive this.
  Connectivity(std::span<const TransportKind> kinds, std::span<const Introduction> ranks, std::span<const std::string> names);

  // An error if some pair has no transport.
  Status check() const;
  // Says why two ranks of one host share no memory although both would, and what they use instead; "" if there are no
  // such ranks.
  std::string warning() const;

  // Kinds by their numbers; -1: none.
  int between(int a, int b) const;
  int sharing(int rank) const { return sharing_[static_cast<size_t>(rank)]; }  // that a rank shares memory by
  bool needed(int kind) const;  // by any pair of ranks; for kinds that share no memory

  bool share_memory(int a, int b) const;
  uint32_t most_sharing() const;  // ranks in the largest group that shares memory

 private:
  struct Objection {
    int a = 0, b = 0;
    std::string why;  // "": there is none
  };
  std::optional<RankCard> card(size_t kind, int rank) const;
  int group(size_t kind, int rank) const { return groups_[kind][static_cast<size_t>(rank)]; }
  int size() const { return static_cast<int>(ranks_.size()); }
  void make_groups(size_t kind);
  void settle_sharing();
  bool joins_all(size_t kind) const;
  bool all_connected() const;
  Objection objection() const;
  std::string why_memory_is_not_shared() const;

  std::span<const TransportKind> kinds_;
  std::span<const Introduction> ranks_;
  std::span<const std::string> names_;
  std::vector<std::vector<int>> groups_;  // by kind and rank: the first rank of its group; -1: it has no card
  std::vector<int> sharing_;              // by rank
};

}  // namespace tutti

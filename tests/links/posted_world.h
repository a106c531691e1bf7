// A world of links with a Post at each rank, for suites that inherit it.
#pragma once

#include <memory>
#include <vector>

#include "post.h"

namespace tutti {

template <class World>
class PostedWorld {
 protected:
  void make(int ranks, uint32_t slots, size_t slot_bytes) {
    posts_.clear();
    world_ = std::make_unique<World>(ranks, slots, slot_bytes);
    for (int rank = 0; rank < ranks; ++rank) posts_.push_back(std::make_unique<Post>(world_->transport(rank), world_->pool(rank)));
  }
  void unmake() {
    posts_.clear();
    world_.reset();
  }
  World& world() { return *world_; }
  Post& at(int rank) { return *posts_[static_cast<size_t>(rank)]; }

  void kill(int rank) {
    posts_[static_cast<size_t>(rank)].reset();
    world_->kill(rank);
  }

  template <class Ask>
  Progress settled(Ask ask) {
    return settle(ask, [this] {
      for (const auto& post : posts_)
        if (post) (void)post->progress();
    });
  }
  template <class Condition>
  bool eventually(Condition condition) {
    return settled([&] { return condition() ? Progress::done : Progress::busy; }) == Progress::done;
  }

 private:
  std::unique_ptr<World> world_;
  std::vector<std::unique_ptr<Post>> posts_;
};

}  // namespace tutti

#include "domain.h"

#include <algorithm>

namespace tutti {

void Domain::open_heap(memory::Window window) {
  window_ = std::move(window);
  heap_ = std::make_unique<memory::Heap>(window_);
}

std::string Domain::table_of(const std::string& shape, const std::function<std::string()>& make) {
  const std::lock_guard lock(tables_mutex_);
  std::string& table = tables_[shape];
  if (table.empty()) table = make();
  return table;
}

void Domain::join(const Member& member) {
  const std::lock_guard lock(mutex_);
  members_.push_back(&member);
}

void Domain::leave(const Member& member) {
  const std::lock_guard lock(mutex_);
  spoil_after_failure();
  std::erase(members_, &member);
}

// A rank that has not heard of the failure yet may still write to memory that it was lent.
void Domain::spoil_after_failure() {
  if (std::any_of(members_.begin(), members_.end(), [](const Member* member) { return member->failed(); })) heap_->spoil();
}

// A dead communicator uses nothing: its calls have ended.
std::string Domain::user_of(const void* allocation) const {
  for (const Member* member : members_)
    if (!member->failed())
      if (std::string user = member->user_of(allocation); !user.empty()) return user;
  return "";
}

Status Domain::free(const Member& owner, void* memory) {
  const std::lock_guard lock(mutex_);
  const auto refuse = [](const std::string& why) { return Status(Code::invalid_argument, "tutti_free: " + why); };
  const void* const owned_by = heap_->owner_of(memory);
  if (!owned_by) return refuse("this memory is not of tutti_alloc on this communicator");
  if (owned_by != &owner) return refuse("this memory is of tutti_alloc on another communicator, which alone can free it");
  if (const std::string user = user_of(memory); !user.empty())
    return refuse("the memory is in use by " + user + "; wait for it first (tutti_wait)");
  spoil_after_failure();
  heap_->free(static_cast<std::byte*>(memory));
  return {};
}

void Domain::free_all_of(const Member& owner) noexcept {
  const auto is_used = [this](const void* allocation) {
    try {
      return !user_of(allocation).empty();
    } catch (...) {
      return true;  // no memory to say by whom
    }
  };
  const std::lock_guard lock(mutex_);
  while (std::byte* const memory = heap_->first_of(&owner)) {
    if (is_used(memory))
      heap_->disown(memory);
    else
      heap_->free(memory);
  }
}

}  // namespace tutti

#include "family_memory.h"

#include <algorithm>
#include <map>
#include <utility>

#include "of_process.h"

namespace tutti {
namespace {

// Where what is kept begins, and whose it is.  Its mutex is taken last.
struct KeptMemory {
  std::mutex mutex;
  std::map<const void*, std::shared_ptr<FamilyMemory>> families;

  std::shared_ptr<FamilyMemory> find(const void* memory) {
    const std::lock_guard lock(mutex);
    const auto found = families.find(memory);
    return found != families.end() ? found->second : nullptr;
  }
};

Status refusal(const std::string& why) { return Status(Code::invalid_argument, "tutti_free: " + why); }

}  // namespace

void FamilyMemory::join(const Member& member) {
  const std::lock_guard lock(mutex_);
  members_.push_back(&member);
}

void FamilyMemory::leave(const Member& member) {
  const std::lock_guard lock(mutex_);
  spoil_after_failure();
  std::erase(members_, &member);
  if (members_.empty()) heap_.trim();
}

// A rank that has not heard of the failure yet may still write to memory that it was lent.
void FamilyMemory::spoil_after_failure() {
  if (std::any_of(members_.begin(), members_.end(), [](const Member* member) { return member->failed(); })) heap_.spoil();
}

// A dead communicator uses nothing: its calls have ended.
std::string FamilyMemory::user_of(const void* allocation) const {
  for (const Member* member : members_)
    if (!member->failed())
      if (std::string user = member->user_of(allocation); !user.empty()) return user;
  return "";
}

void* FamilyMemory::allocate(const Member& owner, const Wish& wish) {
  if (!wish.kept) return heap_.allocate(wish.bytes, &owner, wish.zeroed);
  KeptMemory& kept = of_process<KeptMemory>();
  std::byte* const memory = heap_.allocate(wish.bytes, this, wish.zeroed);
  if (!memory) return nullptr;
  try {
    const std::lock_guard lock(kept.mutex);
    kept.families.insert_or_assign(memory, shared_from_this());
  } catch (const std::bad_alloc&) {
    heap_.free(memory);
    return nullptr;
  }
  return memory;
}

Status FamilyMemory::free(const Member& owner, void* memory) {
  if (of_process<KeptMemory>().find(memory)) return free_kept(memory);
  return free_owned_by(&owner, memory);
}

Status FamilyMemory::free_kept(void* memory) {
  const std::shared_ptr<FamilyMemory> family = of_process<KeptMemory>().find(memory);
  if (!family)
    return refusal(
        "this memory was not allocated with TUTTI_ALLOC_KEEP by this process, or has been freed; other memory of "
        "tutti_alloc is freed on its communicator");
  return family->free_owned_by(family.get(), memory);
}

// `owner`: a member, or this family of what is kept.
Status FamilyMemory::free_owned_by(const void* owner, void* memory) {
  const std::lock_guard lock(mutex_);
  const void* const on_device = regions_.owner_of(memory);
  const void* const owned_by = on_device ? on_device : heap_.owner_of(memory);
  if (!owned_by) return refusal("this memory is not of tutti_alloc on this communicator");
  if (owned_by != owner) return refusal("this memory is of tutti_alloc on another communicator, which alone can free it");
  if (const std::string user = user_of(memory); !user.empty())
    return refusal("the memory is in use by " + user + "; wait for it first (tutti_wait)");
  if (on_device) {
    regions_.free(static_cast<std::byte*>(memory));
    return {};
  }
  spoil_after_failure();
  if (owner == this) {  // before the address can be given out again
    KeptMemory& kept = of_process<KeptMemory>();
    const std::lock_guard kept_lock(kept.mutex);
    kept.families.erase(memory);
  }
  heap_.free(static_cast<std::byte*>(memory));
  if (members_.empty()) heap_.trim();
  return {};
}

template <class Memory>
void FamilyMemory::free_all_in(Memory& memory, const Member& owner) noexcept {
  const auto is_used = [this](const void* allocation) {
    try {
      return !user_of(allocation).empty();
    } catch (...) {
      return true;  // no memory to say by whom
    }
  };
  while (std::byte* const allocation = memory.first_of(&owner)) {
    if (is_used(allocation))
      memory.disown(allocation);
    else
      memory.free(allocation);
  }
}

void FamilyMemory::free_all_of(const Member& owner) noexcept {
  const std::lock_guard lock(mutex_);
  free_all_in(heap_, owner);
  free_all_in(regions_, owner);
  if (members_.empty()) heap_.trim();
}

}  // namespace tutti

// A communicator of some ranks of another: the others take no part.  The members meet by messages between them
// (group_bootstrap.h); from then on the group is created like any communicator, with the parent's domain and
// measurements.
#include <utility>

#include "assembly.h"
#include "clock.h"
#include "group_bootstrap.h"
#include "local_arena.h"

namespace tutti {
namespace {

// Ranks that are threads share an arena, which is found by a number that the first of them draws, and meet in it.
Result<LocalArena::Child> arena_for(const CommunicatorParts& parent, Bootstrap& bootstrap, int me, int size) {
  const bool draws = me == 0;
  ByteWriter mine;
  mine.number(draws ? parent.local_arena->draw_number() : uint32_t{0});
  const auto all = bootstrap.exchange(mine.take());
  if (!all.ok()) return all.status();
  return parent.local_arena->child(ByteReader((*all)[0]).number<uint32_t>(), 0, size);
}

}  // namespace

Result<std::unique_ptr<Communicator>> create_group(Communicator& parent, const std::vector<int>& members, int me, int key,
                                                   uint64_t timeout_ns) {
  const CommunicatorParts& parts = parent.parts();
  const auto size = static_cast<int>(members.size());
  AssemblyOptions options = options_of_child(parent, me, size, "/group " + std::to_string(key));
  const uint64_t deadline = now_ns() + (timeout_ns > 0 ? timeout_ns : parts.settings.bootstrap_timeout_ns);
  options.local_arena = parts.local_arena ? make_local_arena() : nullptr;
  if (size == 1) {
    options.bootstrap = bootstrap_alone(deadline);
    return assemble(std::move(options));
  }
  auto bootstrap = GroupBootstrap::open(parent, members, me, key, deadline);
  if (!bootstrap.ok()) return bootstrap.status();
  options.bootstrap = *bootstrap;
  if (parts.local_arena) {
    auto child = arena_for(parts, **bootstrap, me, size);
    if (!child.ok()) return (*bootstrap)->fail(child.status());
    options.local_arena = child->arena;
    options.bootstrap = std::make_shared<ThreadBootstrap>(child->rendezvous, me, deadline);
  }
  return assemble(std::move(options));
}

}  // namespace tutti

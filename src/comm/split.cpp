// Splitting: the parent carries two all-gathers of fixed size, by which its ranks agree on the groups and on where
// each new group meets.  A failure of one rank is found before the second, so all ranks of its color hear of it at
// once.  From then on the group is created like any communicator, with a bootstrap of its own.  The parent survives,
// whatever becomes of that.
//
// Everything that comes from another rank is of fixed size, and is checked before it is used.
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <span>

#include "assembly.h"
#include "bytes.h"
#include "clock.h"
#include "join_job.h"
#include "local_arena.h"
#include "rendezvous_frames.h"
#include "resource_limits.h"

namespace tutti {
namespace {

struct Vote {
  int32_t color, key, rank;
  uint32_t split;  // rank 0's: which split of this communicator this is, where ranks are threads
};
static_assert(sizeof(Vote) == 16);

enum class Word : uint8_t { nothing, rendezvous_point, failure };

// A rank's word once it knows its group.
struct Notice {
  Word word = Word::nothing;
  uint8_t code = 0;                 // of a failure
  std::array<char, 382> text = {};  // a rendezvous point's, or a sentence with its remedy; ends with a zero
};
static_assert(sizeof(Notice) == 384);

// The ranks of one color, by new rank.
struct Group {
  int color = 0, rank = 0;
  uint32_t split = 0;
  std::vector<int> members;  // old ranks
  int size() const { return static_cast<int>(members.size()); }
};

// The `step`th of the split that is call `number` of the parent.
template <class Item>
Result<std::vector<Item>> gather(Communicator& parent, const Item& mine, uint32_t number, uint16_t step) {
  std::vector<Item> all(static_cast<size_t>(parent.size()));
  Call call;
  call.collective = Collective::all_gather;
  call.input = &mine;
  call.output = all.data();
  call.count = sizeof mine;
  call.service = {kSplitting, number, step};
  if (Status status = parent.run_service(call); !status.ok()) return status;
  return all;
}

Status unreadable(const Communicator& parent, int rank) {
  return Status(Code::mismatch, parent.parts().rank_names[static_cast<size_t>(rank)] +
                                    " takes part in a split with something that no rank of this version of Tutti says");
}

Result<Group> group_of(const Communicator& parent, std::vector<Vote> votes, int color) {
  for (int rank = 0; rank < parent.size(); ++rank)
    if (const Vote& vote = votes[static_cast<size_t>(rank)]; vote.rank != rank || vote.color < -1) return unreadable(parent, rank);
  Group group{color, 0, votes[0].split, {}};
  std::erase_if(votes, [color](const Vote& vote) { return color < 0 || vote.color != color; });
  std::sort(votes.begin(), votes.end(),
            [](const Vote& a, const Vote& b) { return std::pair(a.key, a.rank) < std::pair(b.key, b.rank); });
  for (const Vote& vote : votes) {
    if (vote.rank == parent.rank()) group.rank = group.size();
    group.members.push_back(vote.rank);
  }
  return group;
}

Notice notice_of(Word word, Code code, const std::string& text) {
  Notice notice{word, static_cast<uint8_t>(code), {}};
  text.copy(notice.text.data(), notice.text.size() - 1);
  return notice;
}

Notice notice_of(const Status& failure) { return notice_of(Word::failure, failure.code(), failure.message()); }

bool is_sound(const Notice& notice) {
  const auto end = std::find(notice.text.begin(), notice.text.end(), '\0');
  if (notice.word > Word::failure || end == notice.text.end()) return false;
  if (notice.word == Word::failure && (notice.code == 0 || notice.code > static_cast<uint8_t>(Code::internal))) return false;
  return (end == notice.text.begin()) == (notice.word == Word::nothing);
}

// A bootstrap opens a dozen descriptors, and its first rank opens one more for each rank that comes.  If they are
// missing, all ranks hear of it now.
Status check_descriptors(const Group& group) {
  constexpr size_t kOfEach = 16;
  const size_t needed = kOfEach + (group.rank == 0 ? 2 * group.members.size() : 0);
  std::vector<OwnedFd> tried;
  while (tried.size() < needed) {
    tried.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (tried.back()) continue;
    const std::string doing = "splitting a communicator";
    return is_descriptor_shortage(errno) ? out_of_descriptors(doing, needed) : system_error(doing);
  }
  return {};
}

// Does this rank's part of what must be there before the group can meet.
Notice prepare(const Communicator& parent, const Group& group, LocalArena::Child& child) {
  if (group.size() < 2) return {};
  const CommunicatorParts& parts = parent.parts();
  if (parts.local_arena) {
    auto made = parts.local_arena->child(group.split, group.color, group.size());
    if (!made.ok()) return notice_of(made.status());
    child = std::move(*made);
    return {};
  }
  if (Status status = check_descriptors(group); !status.ok()) return notice_of(status);
  if (group.rank != 0) return {};
  auto id = make_unique_id(parts.settings.interface, parts.settings.bootstrap_timeout_ns, parts.log);
  return id.ok() ? notice_of(Word::rendezvous_point, Code::success, *id) : notice_of(id.status());
}

Notice prepare_or_say_why(const Communicator& parent, const Group& group, LocalArena::Child& child) {
  try {
    return prepare(parent, group, child);
  } catch (const std::bad_alloc&) {
    return notice_of(Word::failure, Code::out_of_memory, "out of memory");
  }
}

// The place where the group meets, "" if it needs none; or the failure of the first of its ranks that failed.
Result<std::string> rendezvous_point_of(const Communicator& parent, const Group& group, std::span<const Notice> notices) {
  for (const int rank : group.members) {
    const Notice& notice = notices[static_cast<size_t>(rank)];
    if (!is_sound(notice)) return unreadable(parent, rank);
    if (notice.word != Word::failure) continue;
    const std::string& name = parent.parts().rank_names[static_cast<size_t>(rank)];
    return Status(static_cast<Code>(notice.code), name + " cannot take part in the split: " + printable(notice.text.data()));
  }
  const Notice& first = notices[static_cast<size_t>(group.members[0])];
  const bool expected = group.size() > 1 && !parent.parts().local_arena;
  if (expected != (first.word == Word::rendezvous_point)) return unreadable(parent, group.members[0]);
  return std::string(first.text.data());
}

JoinOptions bootstrap_options(const AssemblyOptions& options, const std::string& id, const Log& log) {
  JoinOptions bootstrap;
  bootstrap.rank = options.rank;
  bootstrap.size = options.size;
  bootstrap.unique_id = id;
  bootstrap.name = options.name;
  if (const size_t length = bootstrap.name.size(); length > kLongestName) bootstrap.name.erase(0, length - kLongestName);
  bootstrap.interface = options.settings.interface;
  bootstrap.timeout_ns = options.settings.bootstrap_timeout_ns;
  bootstrap.log = log;
  return bootstrap;
}

// Only the parent knows of a rank that has died before it came to the rendezvous.  So the parent is asked while ranks
// are missing, and for a moment before another reason is believed.
Result<JoinedJob> meet_while_parent_lives(const Communicator& parent, JoinOptions bootstrap) {
  constexpr uint64_t kPatience = 500 * kMillisecond;
  bootstrap.called_off = [&parent] { return parent.failed_status(); };
  auto joined = join_job(bootstrap);
  const uint64_t until = now_ns() + kPatience;
  while (!joined.ok() && now_ns() < until) {
    if (Status failed = parent.failed_status(); !failed.ok()) return failed;
    const timespec pause{0, kMillisecond};
    ::nanosleep(&pause, nullptr);
  }
  return joined;
}

// Ends a rendezvous that this rank has opened and to which nobody else will come: it ends when its only rank has come
// and gone.
void end_rendezvous(JoinOptions bootstrap) {
  bootstrap.size = 1;
  (void)join_job(bootstrap);
}

Result<std::shared_ptr<Bootstrap>> bootstrap_for(const Communicator& parent, const AssemblyOptions& options, const Group& group,
                                                 const std::string& id, const LocalArena::Child& child) {
  const uint64_t deadline = now_ns() + options.settings.bootstrap_timeout_ns;
  if (group.size() == 1)
    return std::shared_ptr<Bootstrap>(std::make_shared<ExchangeOnly>(
        [](const std::string& mine) -> Result<std::vector<std::string>> { return std::vector<std::string>{mine}; }, deadline));
  if (child.rendezvous)
    return std::shared_ptr<Bootstrap>(std::make_shared<ThreadBootstrap>(child.rendezvous, group.rank, deadline));
  auto joined = meet_while_parent_lives(parent, bootstrap_options(options, id, parent.parts().log));
  if (!joined.ok()) return joined.status();
  return std::move(joined->bootstrap);
}

}  // namespace

Result<std::unique_ptr<Communicator>> split(Communicator& parent, int color, int key) {
  const CommunicatorParts& parts = parent.parts();
  const bool draws = parent.rank() == 0 && parts.local_arena;
  auto lock = parent.lock_calls();
  const uint32_t number = parent.count_call();
  const Vote vote{color, key, parent.rank(), draws ? parts.local_arena->draw_number() : 0};
  const auto votes = gather(parent, vote, number, 1);
  if (!votes.ok()) return votes.status();
  const auto group = group_of(parent, *votes, color);
  if (!group.ok()) return group.status();
  LocalArena::Child child;
  const Notice mine = prepare_or_say_why(parent, *group, child);
  const auto notices = gather(parent, mine, number, 2);
  if (!notices.ok()) return notices.status();
  lock.unlock();
  if (color < 0) return std::unique_ptr<Communicator>();
  const auto id = rendezvous_point_of(parent, *group, *notices);
  if (!id.ok() && parts.local_arena) parts.local_arena->forget_child(group->split, color);

  AssemblyOptions options;
  options.rank = group->rank;
  options.size = group->size();
  options.name = parts.name + "/" + std::to_string(color);
  options.settings = parts.settings;
  options.settings.timeout_ns = parts.timeout_ns;
  if (!id.ok() && mine.word == Word::rendezvous_point) end_rendezvous(bootstrap_options(options, mine.text.data(), parts.log));
  if (!id.ok()) return id.status();
  options.local_end = parts.local_end;
  options.domain = parts.domain;
  options.local_arena = parts.local_arena && !child.arena ? make_local_arena() : child.arena;
  options.tuning = parent.tuning();
  auto bootstrap = bootstrap_for(parent, options, *group, *id, child);
  if (!bootstrap.ok()) return bootstrap.status();
  options.bootstrap = std::move(*bootstrap);
  return assemble(std::move(options));
}

}  // namespace tutti

// The loop, and the meaning of the ranks' messages.
#include "rendezvous_rounds.h"

#include <algorithm>
#include <cerrno>

#include "clock.h"
#include "words.h"

namespace tutti {
namespace {

// For answers to be taken; a stopped process must not hold the rendezvous.
constexpr uint64_t kLinger = 5 * kSecond;
constexpr uint64_t kOthersDone = 2 * kSecond;       // after rank 0 is done, for the others to be
constexpr uint64_t kLatecomers = kSecond;           // after a failure, for ranks that are on their way
constexpr uint64_t kRanksFirst = kSecond / 2;       // after the deadline, for ranks that wait elsewhere and know more
constexpr uint64_t kWorthSaying = kSecond;          // between the deadlines of ranks
// For a lost rank's own message, which says more than a report of it.
constexpr uint64_t kOwnCause = 150 * kMillisecond;
constexpr uint64_t kGrace = 250 * kMillisecond;     // with a connection that may be about to send its request
constexpr size_t kNamedRanks = 16;                  // in a list of ranks

std::string seconds(uint64_t ns) {
  if (ns % kSecond == 0) return std::to_string(ns / kSecond) + " s";
  return std::to_string(ns / kMillisecond) + " ms";
}

// Names the rank that has the trouble, unless the sentence names one.
Status attributed_to(const std::string& who, const Status& why) {
  const bool names_someone = why.code() == Code::peer_lost || why.message().find("rank ") != std::string::npos;
  return names_someone ? why : Status(why.code(), who + ": " + why.message());
}

}  // namespace

Rendezvous::Rendezvous(std::vector<OwnedFd> sockets, RendezvousOptions options, std::string keeper,
                       std::shared_ptr<RendezvousServer::Shared> shared)
    : options_(std::move(options)), keeper_(std::move(keeper)), shared_(std::move(shared)) {
  size_ = static_cast<uint32_t>(options_.size);
  last_activity_ = now_ns();
  deadline_ = options_.deadline;
  if (deadline_ == 0 && shared_) deadline_ = last_activity_ + options_.timeout_ns;
  came_.resize(size_);
  Listener::Options listening;
  listening.name = "rendezvous at " + options_.shown;
  listening.longest_hello = kLongestFirstRequest;
  listening.patience_ns = options_.patience_ns;
  listening.grace_ns = kGrace;
  listening.greeting = encode(RendezvousGreeting());
  listening.log = options_.log;
  listener_ = Listener(std::move(sockets), std::move(listening));
}

// Watches the stop signal, the listener, then every member in order.
void Rendezvous::run() {
  for (uint64_t now = now_ns(); !finished(now); now = now_ns()) {
    std::vector<pollfd> set{{shared_ && stop_deadline_ == 0 ? shared_->stop.get() : -1, POLLIN, 0}};
    listener_.watch(set, now);
    const size_t listening = set.size() - 1;
    for (const Member& member : members_)
      set.push_back({member.fd.get(), static_cast<short>(member.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
    if (::poll(set.data(), set.size(), wait_ms(now, next_deadline(now))) < 0 && errno != EINTR) return;
    now = now_ns();
    serve_listener(std::span(set).subspan(1, listening));
    auto entry = set.begin() + 1 + static_cast<std::ptrdiff_t>(listening);
    for (auto member = members_.begin(); entry != set.end(); ++entry, ++member) {
      if (entry->revents & POLLOUT) flush(*member);
      if (entry->revents & (POLLIN | POLLHUP | POLLERR)) receive(*member);
    }
    if (set[0].revents != 0 && stop_deadline_ == 0) begin_stop(now);
    check_deadlines(now);
    members_.remove_if([](const Member& member) { return member.gone; });
  }
  RendezvousReply farewell;
  farewell.kind = ReplyKind::ended;
  for (Member& member : members_)
    if (!member.leaving) answer(member, farewell);
}

// The owner leaves.  Before, it has said that it is done, or why it cannot go on; if not, it is lost to the others.
void Rendezvous::begin_stop(uint64_t now) {
  stop_deadline_ = now + kLatecomers;
  const bool owner_done = !done_.empty() && done_[0];
  if (failure_.ok() && suspicion_.ok() && owner_done) {
    stop_deadline_ = now + kOthersDone;
    return;
  }
  Status why(Code::peer_lost, keeper_ + " gave up the bootstrap; its own message says why");
  {
    const std::lock_guard lock(shared_->mutex);
    if (!shared_->given_up.ok()) why = attributed_to(keeper_, shared_->given_up);
  }
  if (failure_.ok()) fail(suspicion_.ok() ? why : suspicion_);
  if (!all_joined() && now < deadline_) late_until_ = now + kLatecomers;
}

bool Rendezvous::finished(uint64_t now) const {
  if (stop_deadline_ != 0) {
    if (now >= stop_deadline_) return true;
    if (now < late_until_ && came_count_ < size_) return false;
    return members_.empty();
  }
  if (all_joined() && staying_ == 0) return members_.empty() && listener_.empty();
  return !shared_ && now >= last_activity_ + options_.timeout_ns + kLinger;
}

uint64_t Rendezvous::deadline_of(const Member& member) const {
  return member.leaving ? member.since + kLinger : UINT64_MAX;
}

// UINT64_MAX: nobody waits for a verdict.
uint64_t Rendezvous::verdict_deadline() const {
  if (deadline_ == 0 || !failure_.ok() || (all_joined() && staying_ == 0)) return UINT64_MAX;
  return all_joined() ? deadline_ + kRanksFirst : deadline_;
}

uint64_t Rendezvous::next_deadline(uint64_t now) const {
  uint64_t next = std::min(verdict_deadline(), listener_.next_deadline(now));
  if (suspicion_until_ != 0 && failure_.ok()) next = std::min(next, suspicion_until_);
  for (const Member& member : members_) next = std::min(next, deadline_of(member));
  if (stop_deadline_ != 0) next = std::min(next, stop_deadline_);
  if (late_until_ > now) next = std::min(next, late_until_);
  if (!shared_) next = std::min(next, last_activity_ + options_.timeout_ns + kLinger);
  return next;
}

void Rendezvous::check_deadlines(uint64_t now) {
  for (Member& member : members_) member.gone |= now >= deadline_of(member);
  if (suspicion_until_ != 0 && now >= suspicion_until_) fail(suspicion_);
  if (now >= verdict_deadline()) fail(Status(Code::unreachable, late_sentence()));
}

std::string Rendezvous::late_sentence() const {
  const std::string within =
      hurried_by_.empty() ? "within " + seconds(options_.timeout_ns) : "before the TUTTI_BOOTSTRAP_TIMEOUT of " + hurried_by_;
  std::string text = "rendezvous at " + options_.shown + ": ";
  if (all_joined() && given_count_ == 0)
    return text + "the bootstrap of the communicator did not end " + within + "; still at it: " + listed_ranks(done_);
  text += std::to_string(given_count_) + " of " + std::to_string(size_) + " ranks came ";
  if (all_joined()) text += "to round " + std::to_string(round_) + " of the bootstrap ";
  text += within + "; missing: " + listed_ranks(given_);
  if (!turned_away_.empty()) text += "; turned away: " + turned_away_;
  return text + (all_joined() || options_.missing_hint.empty() ? "" : "; " + options_.missing_hint);
}

// The ranks that are not among `those`.
std::string Rendezvous::listed_ranks(const std::vector<bool>& those) const {
  std::string text;
  size_t named = 0, missing = 0;
  for (uint32_t rank = 0; rank < size_; ++rank) {
    if (rank < those.size() && those[rank]) continue;
    if (++missing > kNamedRanks) continue;
    text += (named++ == 0 ? "" : ", ") + std::to_string(rank);
  }
  if (missing > named) text += " and " + std::to_string(missing - named) + " more";
  return text;
}

std::string Rendezvous::who(const Member& member) const {
  return "rank " + std::to_string(member.rank) + " (" + (member.who.empty() ? "from " + member.from.to_string() : member.who) + ")";
}

void Rendezvous::take_request(Member& member, RendezvousRequest request) {
  if (request.version != kRendezvousVersion || request.rank != member.rank)
    return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(member) + " speaks as another rank"));
  last_activity_ = now_ns();
  switch (request.kind) {
    case RequestKind::give: return take_blob(member, std::move(request));
    case RequestKind::done: return take_done(member);
    case RequestKind::failed: break;
  }
  const Status cause = attributed_to(who(member), Status(request.code, printable(request.blob)));
  if (request.code != Code::peer_lost) return fail(cause);
  if (!suspicion_.ok()) return;
  suspicion_ = cause;
  suspicion_until_ = last_activity_ + kOwnCause;
}

void Rendezvous::take_blob(Member& member, RendezvousRequest request) {
  if (request.round != round_ || member.gave)
    return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(member) + " is in round " +
                                           std::to_string(request.round) + ", the others in round " + std::to_string(round_)));
  member.gave = true;
  given_[member.rank] = true;
  blobs_[member.rank] = std::move(request.blob);
  ++given_count_;
  const auto gone = std::find(done_.begin(), done_.end(), true);
  if (gone != done_.end())
    return fail(Status(Code::internal, "rendezvous at " + options_.shown + ": " + who(member) + " is in round " +
                                           std::to_string(round_) + ", but rank " + std::to_string(gone - done_.begin()) +
                                           " is done with the bootstrap"));
  if (given_count_ == size_) complete_round();
}

void Rendezvous::take_done(Member& member) {
  if (!all_joined() || given_count_ > 0) return fail_by(member, "left before the others were done");
  member.leaving = true;
  member.since = last_activity_;
  done_[member.rank] = true;
  --staying_;
}

// Why a rank may not take part, though the rendezvous goes on without it.
Status Rendezvous::objection(const RendezvousRequest& request) const {
  const std::string rendezvous = "the rendezvous at " + options_.shown;
  const std::string rank = "rank " + std::to_string(request.rank);
  if (request.version != kRendezvousVersion)
    return Status(Code::mismatch, rendezvous + " speaks version " + std::to_string(kRendezvousVersion) +
                                      " of Tutti's rendezvous, this rank version " + std::to_string(request.version) +
                                      ": all ranks must use the same Tutti");
  if (size_ != 0 && request.name != options_.name)
    return Status(Code::mismatch, rendezvous + " is of " + in_quotes(options_.name) + ", but " + rank + " came for " +
                                      in_quotes(request.name) + ": another job may be using this address");
  if (size_ != 0 && request.size != size_)
    return Status(Code::mismatch, rendezvous + " is of " + std::to_string(size_) + " ranks, but " + rank + " says that there are " +
                                      std::to_string(request.size));
  return {};
}

// Ranks of this rendezvous, or of another one, get a reason; others are refused without a word.
Verdict Rendezvous::refusal_of(const RendezvousRequest& request, const SocketAddress& from) {
  const bool known = request.version == kRendezvousVersion;
  if (known && request.secret != options_.secret) return Verdict::refused("it does not know this rendezvous's secret");
  const Status refusal = objection(request);
  if (!refusal.ok()) {
    turned_away_ = "from " + from.to_string() + ", because " + refusal.message();
    const bool look_again = known && size_ != 0 && request.name != options_.name;
    return Verdict::refused("", encode(failure_reply(refusal, round_, look_again)));
  }
  if (!failure_.ok()) {
    if (request.rank < came_.size() && !came_[request.rank]) came_[request.rank] = true, ++came_count_;
    return Verdict::refused("", encode(failure_reply(failure_, round_)));
  }
  if (request.kind != RequestKind::give || request.round != 0)
    return Verdict::refused("it speaks of a round to which it has not come");
  return {};
}

Verdict Rendezvous::joined_twice(const Member& member) {
  const auto first = std::ranges::find_if(
      members_, [&](const Member& other) { return !other.leaving && other.rank == member.rank; });
  const Status twice(Code::mismatch, "rendezvous at " + options_.shown + ": rank " + std::to_string(member.rank) +
                                         " joined twice: two jobs at the same address? " + who(member) +
                                         (first == members_.end() ? "" : " and " + who(*first)));
  fail(twice);
  return Verdict::refused("", encode(failure_reply(twice, round_)));
}

Verdict Rendezvous::admit(PendingConnection& connection, RendezvousRequest request, size_t used) {
  Member member;
  if (const auto from = peer_address_of(connection.fd.get()); from.ok()) member.from = *from;
  if (Verdict refusal = refusal_of(request, member.from); refusal.kind == Verdict::Kind::refused) return refusal;
  if (size_ == 0) {  // a unique id does not know for whom it was made
    size_ = request.size;
    options_.name = request.name;
  }
  came_.resize(size_);
  given_.resize(size_);
  done_.resize(size_);
  blobs_.resize(size_);
  member.rank = request.rank;
  member.who = printable(request.blob);
  if (came_[member.rank]) return joined_twice(member);
  member.fd = std::move(connection.fd);
  member.in = connection.said.substr(used);
  members_.push_back(std::move(member));
  welcome(members_.back(), request);
  take_request(members_.back(), std::move(request));
  take_requests(members_.back());
  return Verdict::admitted();
}

void Rendezvous::welcome(Member& member, const RendezvousRequest& request) {
  const Status no_delay = set_no_delay(member.fd.get());  // only speed is lost
  if (!no_delay.ok()) options_.log.info(no_delay.message());
  keep_alive(member.fd.get());
  came_[member.rank] = true;
  ++came_count_;
  ++staying_;
  keep_deadline_of(member, request.patience_ms);
  RendezvousReply admitted;
  admitted.kind = ReplyKind::admitted;
  admitted.text = keeper_;
  answer(member, admitted);
}

// When one rank gives up, the bootstrap has failed for all.  So all get the verdict then, which says more than that
// rank could.
void Rendezvous::keep_deadline_of(const Member& member, uint32_t patience_ms) {
  const uint64_t now = now_ns(), its = now + patience_ms * kMillisecond;
  if (deadline_ == 0) deadline_ = now + options_.timeout_ns;
  if (its >= deadline_) return;
  if (its + kWorthSaying < deadline_) hurried_by_ = who(member);
  deadline_ = its;
}

// Before any rank learns that all have joined: see rendezvous.h.
void Rendezvous::stop_listening() {
  listener_.close();
  std::optional<SocketAddress> reached;
  for (const Member& member : members_) {
    const auto here = local_address_of(member.fd.get());
    if (!member.leaving && here.ok() && !here->is_unix() && (!reached || reached->is_loopback())) reached = *here;
  }
  if (shared_) {
    const std::lock_guard lock(shared_->mutex);
    shared_->reached_at = reached;
  }
  blobs_.assign(size_, {});  // the ranks' descriptions of themselves are not passed on
  if (reached && !reached->is_loopback()) blobs_[0] = reached->to_string();
  if (options_.on_all_joined) options_.on_all_joined();
}

void Rendezvous::complete_round() {
  if (!all_joined()) stop_listening();
  RendezvousReply reply;
  reply.round = round_++;
  reply.blobs = std::move(blobs_);
  blobs_.assign(size_, {});
  given_.assign(size_, false);
  given_count_ = 0;
  const auto bytes = std::make_shared<const std::string>(encode(reply));
  for (Member& member : members_) {
    if (member.leaving) continue;
    member.gave = false;
    answer(member, bytes);
  }
}

void Rendezvous::fail(const Status& status) {
  if (!failure_.ok()) return;
  failure_ = status;
  for (Member& member : members_)
    if (!member.leaving && !member.gone) turn_away(member, status);
}

void Rendezvous::fail_by(const Member& member, const std::string& deed) { fail(Status(Code::peer_lost, who(member) + " " + deed)); }

}  // namespace tutti

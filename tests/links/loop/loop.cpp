#include "loop.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace tutti::loop {
namespace {

// Moves a header and what follows it, from byte `done` on, by move(data, bytes) → bytes moved.  True once all is moved.
template <class Move>
bool advance(Header& header, Pieces pieces, size_t& done, Move move) {
  size_t before = 0;  // bytes of the parts so far
  const auto part = [&](std::byte* data, size_t bytes) {
    if (done < before + bytes) done += move(data + (done - before), before + bytes - done);
    before += bytes;
    return done >= before;
  };
  return part(reinterpret_cast<std::byte*>(&header), sizeof header) &&
         std::all_of(pieces.begin(), pieces.end(), [&](const Piece& piece) { return part(piece.data, piece.bytes); });
}

size_t total(Pieces pieces) {
  size_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.bytes;
  return bytes;
}

// Of the communicator with this number; lives as long as one of its ranks.
std::shared_ptr<Switchboard> switchboard_of(uint64_t context, int size) {
  static std::mutex mutex;
  static std::map<uint64_t, std::weak_ptr<Switchboard>> all;
  const std::lock_guard lock(mutex);
  auto shared = all[context].lock();
  if (!shared) all[context] = shared = std::make_shared<Switchboard>(size);
  return shared;
}

Result<std::optional<Card>> make_card(const CardTerms& terms) {
  if (!terms.process) return std::optional<Card>();
  return std::optional<Card>(Card{.reaches_all = true});
}

bool reach(const RankCard& mine, const RankCard& theirs) { return mine.host_id == theirs.host_id && mine.pid == theirs.pid; }

Result<Opened> open(const Opening& opening) {
  auto switchboard = switchboard_of(opening.context, opening.size);
  const auto all_here = opening.exchange("");  // from now on, no rank that leaves takes the switchboard with it
  if (!all_here.ok()) return all_here.status();
  Opened opened;
  opened.transport = std::make_unique<LoopTransport>(opening.rank, opening.size, std::move(switchboard), *opening.pool);
  return opened;
}

}  // namespace

size_t Queue::put(const std::byte* from, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const size_t at = put_ % kRoom, n = std::min({bytes, kRoom - (put_ - got_), kRoom - at});
  std::memcpy(room_ + at, from, n);
  put_ += n;
  return n;
}

size_t Queue::get(std::byte* to, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const size_t at = got_ % kRoom, n = std::min({bytes, put_ - got_, kRoom - at});
  std::memcpy(to, room_ + at, n);
  got_ += n;
  return n;
}

Progress LoopLink::send(Slot slot, size_t bytes, const Signature& signature) {
  return accept({{bytes, signature}, {{slot.data, bytes}}, slot});
}

Progress LoopLink::send(Pieces pieces, const Signature& signature, uint64_t& ticket) {
  const Progress progress = accept({{total(pieces), signature}, {pieces.begin(), pieces.end()}, {}});
  if (progress == Progress::done) ticket = last_ticket();
  return progress;
}

Progress LoopLink::accept(Message message) {
  if (waiting_.size() == kMostWaiting) return Progress::busy;
  waiting_.push_back(std::move(message));
  ++accepted_;
  move();
  return Progress::done;
}

void LoopLink::move() {
  const auto put = [this](const std::byte* data, size_t bytes) { return out_.put(data, bytes); };
  while (!waiting_.empty() && advance(waiting_.front().header, waiting_.front().pieces, moved_, put)) {
    if (waiting_.front().slot) pool_.release(waiting_.front().slot);
    waiting_.pop_front();
    moved_ = 0;
  }
}

Progress LoopLink::receive(Pieces pieces, const Signature& expected) {
  const auto get = [this](std::byte* data, size_t bytes) { return in_.get(data, bytes); };
  if (!advance(coming_, {}, received_, get)) return Progress::busy;
  if (coming_.bytes != total(pieces) || !(coming_.signature == expected)) return Progress::mismatch;
  if (!advance(coming_, pieces, received_, get)) return Progress::busy;
  received_ = 0;
  return Progress::done;
}

Progress LoopLink::peek(Signature& next) {
  const auto get = [this](std::byte* data, size_t bytes) { return in_.get(data, bytes); };
  if (!advance(coming_, {}, received_, get)) return Progress::busy;
  next = coming_.signature;
  return Progress::done;
}

Link& LoopTransport::link(int peer, LinkUse use) {
  auto& link = links_[static_cast<size_t>(use) * (links_.size() / kLinkUses) + static_cast<size_t>(peer)];
  if (!link) link = std::make_unique<LoopLink>(switchboard_->queue(rank_, peer, use), switchboard_->queue(peer, rank_, use), pool_);
  return *link;
}

Status LoopTransport::progress() {
  for (const auto& link : links_)
    if (link) link->move();
  return {};
}

bool LoopTransport::drained() {
  return std::all_of(links_.begin(), links_.end(), [](const auto& link) { return !link || link->last_ticket() == 0; });
}

TransportKind kind() {
  return {.name = "loop", .whom = "ranks of one process, for tests", .card = make_card, .reach = reach, .open = open};
}

}  // namespace tutti::loop

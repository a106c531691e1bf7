#include "device_kernels.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "bytes.h"
#include "clock.h"
#include "flat_operation.h"
#include "of_process.h"
#include "page.h"
#include "scale_call.h"

namespace tutti {
namespace {

constexpr uint32_t kMostLanes = 32;         // without TUTTI_CUDA_LANES
constexpr uint64_t kArenaBytes = 64 << 20;  // of slots, without TUTTI_CUDA_SLOT_BYTES
constexpr uint64_t kLeastSlot = 16 << 10, kLargestSlot = 512 << 10;
constexpr uint64_t kStampedArenaBytes = 16 << 20;  // of stamped slots
constexpr uint64_t kLeastStamped = 2 << 10, kLargestStamped = 16 << 10;
constexpr uint64_t kLeastLoan = 16 << 10;             // bytes of a message that is worth it
constexpr uint32_t kShareOfDevice = 4;                // of its blocks a communicator's ranks take one in so many
constexpr uint64_t kKernelPatienceNs = 10 * kSecond;  // for kernels that are under way when the communicator ends
constexpr uint64_t kKernelMomentNs = 200 * kMillisecond;

static_assert(static_cast<int>(DeviceProtocol::flagged) == static_cast<int>(cuda::Protocol::flagged));
static_assert(static_cast<int>(DeviceProtocol::stamped) == static_cast<int>(cuda::Protocol::stamped));

struct ProcessNumber {
  uint64_t words[2] = {};
  Status status;
  ProcessNumber() {
    unsigned char bytes[sizeof words];
    status = fill_with_random(bytes);
    std::memcpy(words, bytes, sizeof words);
  }
};

template <class T>
bool equal(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

std::string of_rank(size_t rank) { return "rank " + std::to_string(rank) + ": "; }  // tutti_stats' reason is short

// What may still be used is never freed; whoever looks for leaks finds it.
template <class T>
void keep_for_ever(T what) {
  struct Kept {
    T what;
    Kept* before = nullptr;
  };
  static std::atomic<Kept*> last{nullptr};
  auto* const kept = new Kept{std::move(what)};
  kept->before = last.exchange(kept);
}

constexpr double kGreeting = 1;  // what each rank writes into all arenas

}  // namespace

DeviceKernels::DeviceKernels(const CommunicatorParts& parts, cuda::SharedContext context)
    : parts_(parts),
      context_(std::move(context)),
      pool_(cuda::MemoryPool::of(context_)),
      reports_(parts, "device " + std::to_string(context_->device())) {
  const Settings& settings = parts_.settings;
  shape_.ranks = static_cast<uint32_t>(parts_.size);
  shape_.lanes = settings.cuda_lanes > 0 ? static_cast<uint32_t>(settings.cuda_lanes) : kMostLanes;
  const uint64_t slots = std::max<uint64_t>(1, uint64_t{cuda::kChannelSlots} * shape_.lanes * (shape_.ranks - 1));
  const uint64_t least = cuda::message_bytes(64, (shape_.ranks + 1) / 2);  // of the widest run that any plan has
  uint64_t flagged = settings.cuda_slot_bytes > 0
                         ? settings.cuda_slot_bytes
                         : std::clamp(kArenaBytes / slots / memory::kPage * memory::kPage, kLeastSlot, kLargestSlot);
  flagged = std::max(flagged, (least + memory::kPage - 1) / memory::kPage * memory::kPage);
  const uint64_t stamped =
      std::min(std::clamp(kStampedArenaBytes / slots / 32 * 32, kLeastStamped, kLargestStamped), cuda::stamped_slot_bytes(flagged));
  shape_.slot_bytes = {flagged, stamped};
}

// Nothing is freed here (memory_pool.h).  Where the communicator has failed, kernels of other processes may still write
// into the arena for a moment, and read what was lent; both stay for them, as does all that kernels use which do not
// end.
DeviceKernels::~DeviceKernels() {
  if (watched_) parts_.control->set_watch(nullptr);
  if (!context_->is_ours()) return;
  if (words_) __atomic_store_n(word(Word::given_up), 1, __ATOMIC_RELEASE);  // for what may still be under way
  const bool ended = wait_for_end(kKernelPatienceNs).ok();
  const bool shared = watched_ && std::ranges::any_of(peers_, &cuda::PeerMemory::is_of_other_process);
  if (!ended || shared || !given_back_) {
    keep_for_ever(arena_);
    if (loans_) keep_for_ever(loans_->published());
  }
  if (!ended && context_->lost() == cuda::Error::success) {
    keep_for_ever(std::move(peers_));
    keep_for_ever(std::move(loans_));
    keep_for_ever(std::move(used_));
    keep_for_ever(words_);
    keep_for_ever(kernels_);
    return;
  }
  for (cuda::DeviceMemory& memory : used_.outgrown) pool_->give_back(std::move(memory));
  for (auto* memory : {&used_.scratch, &used_.temporary})
    if (*memory) pool_->give_back(std::move(**memory));
  for (auto& [bytes, memory] : used_.programs) pool_->give_back(std::move(memory));
}

// ---- before the first call ----

DeviceCard DeviceKernels::make_ready() {
  const cuda::BesideCaptures beside(context_->driver());
  auto made = card();
  if (made.ok()) return std::move(*made);
  DeviceCard without;
  made.status().message().copy(without.why, sizeof without.why - 1);
  return without;
}

Result<DeviceCard> DeviceKernels::card() {
  const ProcessNumber& process = of_process<ProcessNumber>();
  if (!process.status.ok()) return process.status;
  auto kernels = cuda::KernelSet::of(context_);
  if (!kernels.ok()) return kernels.status();
  kernels_ = std::move(*kernels);
  pool_->hold(kernels_);
  auto stream = cuda::Stream::create(context_);
  if (!stream.ok()) return stream.status();
  stream_ = std::move(*stream);
  for (auto* event : {&start_, &event_, &captured_event_}) {
    auto fresh = cuda::Event::create(context_);
    if (!fresh.ok()) return fresh.status();
    *event = std::move(*fresh);
  }
  if (Status status = open_words(); !status.ok()) return status;
  auto arena = cuda::allocate_arena(context_, shape_, pool_, stream_->get());
  if (!arena.ok()) return arena.status();
  arena_ = std::move(*arena);
  const cuda::CurrentContext current(*context_);
  status_ = current.status();
  on_ = stream_->get();
  scale_word(arena_->data() + cuda::ArenaShape::greeting_at(static_cast<uint64_t>(parts_.rank)),
             cuda::pointer_to(word_there(Word::greeting)));
  wait_on_own_stream();
  if (!status_.ok()) return status_;
  auto loans = DeviceLoans::create(parts_, context_, pool_, stream_->get());
  if (!loans.ok()) return loans.status();
  loans_ = std::move(*loans);

  DeviceCard card;
  card.device = context_->device();
  std::memcpy(card.process, process.words, sizeof card.process);
  const auto uuid = context_->uuid();
  if (!uuid.ok()) return uuid.status();
  card.uuid = *uuid;
  card.arena = arena_->address();
  card.resident_blocks = static_cast<uint32_t>(kernels_->resident_blocks());
  if (const auto handle = arena_->shared(); handle.ok()) {
    card.handle = *handle;
    card.can_be_opened = 1;
  }
  const auto beside = context_->attribute(cuda::DeviceAttribute::mps_enabled);
  card.runs_beside_others = beside.ok() && *beside != 0;
  return card;
}

Status DeviceKernels::open_words() {
  auto words = pool_->pinned(static_cast<size_t>(Word::count) * kWordBytes);
  if (!words.ok()) return words.status();
  std::fill_n(words->data(), words->size(), std::byte{});
  const auto there = words->device_address();
  if (!there.ok()) return there.status();
  words_there_ = *there;
  words_ = std::shared_ptr<cuda::PinnedMemory>(new cuda::PinnedMemory(std::move(*words)), [pool = pool_](cuda::PinnedMemory* used) {
    pool->give_back(std::move(*used));
    delete used;
  });
  std::memcpy(word(Word::greeting), &kGreeting, sizeof kGreeting);
  reports_.listen(reinterpret_cast<uint64_t*>(word(Word::report)), word(Word::given_up));
  return {};
}

Status DeviceKernels::connect(std::span<const DeviceCard> cards) {
  uint32_t lanes = shape_.lanes;
  for (size_t rank = 0; rank < cards.size(); ++rank) {
    const DeviceCard& card = cards[rank];
    if (card.version != DeviceCard::kVersion) return Status(Code::unsupported, of_rank(rank) + "it has another version of Tutti");
    if (card.arena == 0)
      return Status(Code::unsupported, of_rank(rank) + std::string(card.why, ::strnlen(card.why, sizeof card.why)));
    const auto shares_device = [&](const DeviceCard& other) { return equal(other.uuid, card.uuid); };
    const auto sharing = static_cast<uint32_t>(std::ranges::count_if(cards, shares_device));
    const bool by_turns = std::ranges::any_of(cards, [&](const DeviceCard& other) {
      return shares_device(other) && !equal(other.process, card.process) && (!card.runs_beside_others || !other.runs_beside_others);
    });
    if (by_turns && parts_.settings.cuda != DeviceUse::kernels)
      return Status(Code::unsupported, of_rank(rank) + "processes share its device, without NVIDIA's Multi-Process Service");
    if (sharing > card.resident_blocks)
      return Status(Code::unsupported,
                    of_rank(rank) + "its device cannot run the kernels of " + std::to_string(sharing) + " ranks at once");
    const uint32_t share = parts_.settings.cuda_lanes > 0 ? 1 : kShareOfDevice;
    lanes = std::clamp(card.resident_blocks / (share * sharing), 1u, lanes);
  }
  lanes_ = lanes;
  const cuda::BesideCaptures beside(context_->driver());
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  if (Status status = open_peers(cards); !status.ok()) return status;
  return greet();
}

Status DeviceKernels::open_peers(std::span<const DeviceCard> cards) {
  const auto me = static_cast<size_t>(parts_.rank);
  std::vector<bool> of_this_process;
  for (size_t rank = 0; rank < cards.size(); ++rank) {
    const DeviceCard& card = cards[rank];
    of_this_process.push_back(equal(card.process, cards[me].process));
    if (of_this_process.back()) {
      auto arena = cuda::ReachableMemory::at(card.arena);
      if (!arena || arena->bytes() < shape_.bytes()) return Status(Code::internal, of_rank(rank) + "its arena is not there");
      auto peer = cuda::PeerMemory::of_process(*context_, std::move(arena));
      if (!peer.ok()) return Status(peer.status().code(), of_rank(rank) + peer.status().message());
      peers_.push_back(std::move(*peer));
      continue;
    }
    if (!card.can_be_opened)
      return Status(Code::unsupported, of_rank(rank) + "its device's memory cannot be opened by other processes");
    auto peer = cuda::PeerMemory::open(context_, card.handle);
    if (!peer.ok()) return Status(peer.status().code(), of_rank(rank) + peer.status().message());
    peers_.push_back(std::move(*peer));
  }
  loans_->know_processes(std::move(of_this_process));
  return {};
}

// By the kernel that multiplies by a factor: copies may go another way than what kernels read and write.
Status DeviceKernels::greet() {
  const size_t ranks = peers_.size();
  auto words = pool_->pinned(ranks * sizeof(double));
  if (!words.ok()) return words.status();
  const auto there = words->device_address();
  if (!there.ok()) return there.status();
  std::vector<double> read(ranks);
  std::memcpy(words->data(), read.data(), ranks * sizeof(double));
  const auto me = static_cast<size_t>(parts_.rank);
  for (size_t rank = 0; rank < ranks; ++rank) {
    std::byte* const arena = peers_[rank].data();
    if (rank != me)  // its own is there, and others read it
      scale_word(arena + cuda::ArenaShape::greeting_at(me), cuda::pointer_to(word_there(Word::greeting)));
    scale_word(cuda::pointer_to(*there + rank * sizeof(double)), arena + cuda::ArenaShape::greeting_at(rank));
  }
  wait_on_own_stream();
  if (!status_.ok()) return status_;
  std::memcpy(read.data(), words->data(), ranks * sizeof(double));
  pool_->give_back(std::move(*words));
  for (size_t rank = 0; rank < ranks; ++rank)
    if (!equal(read[rank], kGreeting))
      return Status(Code::unsupported, of_rank(rank) + "this rank's device reads other data in its memory");
  return {};
}

Status DeviceKernels::hear() {
  const cuda::BesideCaptures beside(context_->driver());
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  auto seen = look_at_arena(cuda::ArenaShape::kHeadBytes);
  if (!seen.ok()) return seen.status();
  Status status;
  for (size_t rank = 0; rank < peers_.size() && status.ok(); ++rank) {
    double greeting = 0;
    std::memcpy(&greeting, seen->data() + cuda::ArenaShape::greeting_at(rank), sizeof greeting);
    if (!equal(greeting, kGreeting))
      status = Status(Code::unsupported, of_rank(rank) + "what its device writes into this one's memory gets lost");
  }
  pool_->give_back(std::move(*seen));
  return status;
}

void DeviceKernels::begin() {
  watched_ = true;
  parts_.control->set_watch(&reports_);
}

// ---- calls ----

void DeviceKernels::begin_call(const KernelReports::Work& work, void* stream, bool counted) {
  status_ = {};
  is_own_ = stream == nullptr;
  is_counted_ = counted;
  on_ = is_own_ ? stream_->get() : static_cast<cuda::CUstream>(stream);
  Signature kind = work.signature;
  kind.sequence = 0;  // a graph is launched again and again
  hash_ = hash_of(kind);
  is_captured_ = any_launched_ = has_lent_ = false;
  const auto capture = is_own_ ? Result<std::optional<uint64_t>>(std::nullopt) : cuda::capture_of(*context_, on_);
  status_ = capture.status();
  if (!status_.ok()) return;
  is_captured_ = capture->has_value();
  if (is_captured_ && counted) {
    status_ = Status(Code::unsupported,
                     "the stream is being captured into a graph, and a request cannot tell when a graph is launched; "
                     "put the call there without a request");
    return;
  }
  reports_.note(hash_, work, is_captured_);
  if (is_captured_) {
    if (captured_ == *capture) then([&] { return cuda::wait_for(*context_, on_, *captured_event_); });
    captured_ = *capture;
    return;
  }
  if (launched_ && !(is_own_ && on_own_stream_)) then([&] { return cuda::wait_for(*context_, on_, *event_); });
  if (!is_own_) return;
  then([&] { return start_->record(cuda::legacy_stream()); });
  then([&] { return cuda::wait_for(*context_, on_, *start_); });
}

std::byte* DeviceKernels::grown(std::optional<cuda::DeviceMemory>& memory, size_t bytes) {
  if (memory && memory->size() >= bytes) return memory->data();
  const cuda::BesideCaptures beside(context_->driver());
  auto larger = pool_->device(std::max(bytes, memory ? 2 * memory->size() : size_t{0}));
  status_ = larger.status();
  if (!larger.ok()) return nullptr;
  if (memory) used_.outgrown.push_back(std::move(*memory));
  memory = std::move(*larger);
  return memory->data();
}

std::byte* DeviceKernels::temporary(size_t bytes) { return status_.ok() ? grown(used_.temporary, bytes) : nullptr; }

void DeviceKernels::copy(std::byte* to, const std::byte* from, size_t bytes) {
  then([&] { return cuda::copy(*context_, cuda::address_of(to), cuda::address_of(from), bytes, on_); });
}

void DeviceKernels::scale(DataType type, std::byte* to, const std::byte* from, size_t count, double factor) {
  if (count == 0) return;
  const cuda::ScaleCall call{from, to, count, factor};
  const auto blocks = static_cast<unsigned>(std::min<size_t>((count + cuda::kScaleThreads - 1) / cuda::kScaleThreads, 256));
  then([&] { return kernels_->scaling(type).launch(blocks, cuda::kScaleThreads, &call, on_); });
}

void DeviceKernels::place_program(cuda::DeviceCall& call, const std::vector<std::byte>& program) {
  const std::string bytes(reinterpret_cast<const char*>(program.data()), program.size());
  auto known = used_.programs.find(bytes);
  if (known == used_.programs.end()) {
    const cuda::BesideCaptures beside(context_->driver());
    auto memory = pool_->pinned(program.size());
    status_ = memory.status();
    if (!memory.ok()) return;
    std::ranges::copy(program, memory->data());
    known = used_.programs.emplace(bytes, std::move(*memory)).first;
  }
  const auto there = known->second.device_address();
  status_ = there.status();
  if (there.ok()) call.header.program = static_cast<const std::byte*>(cuda::pointer_to(*there));
}

void DeviceKernels::launch(const Launch& launch) {
  if (!status_.ok()) return;
  const auto me = static_cast<uint32_t>(parts_.rank);
  const auto protocol = static_cast<cuda::Protocol>(launch.protocol);
  std::vector<cuda::DevicePeer> peers;
  for (const int rank : launch.peers) {
    const auto peer = static_cast<uint32_t>(rank);
    std::byte* const theirs = peers_[peer].data();
    peers.push_back({reinterpret_cast<cuda::Channel*>(arena_->data() + shape_.channels_at(protocol, peer)),
                     reinterpret_cast<cuda::Channel*>(theirs + shape_.channels_at(protocol, me)),
                     arena_->data() + shape_.slots_at(protocol, peer), theirs + shape_.slots_at(protocol, me), peer});
  }
  cuda::DeviceCall call{};
  const std::vector<std::byte> apart = describe(call, launch.program, launch.binding, peers);
  if (!apart.empty()) place_program(call, apart);
  cuda::DeviceCallHeader& header = call.header;
  const uint64_t pitch = cuda::scratch_pitch(launch.binding.stripe_bytes());
  if (status_.ok())
    header.scratch = grown(used_.scratch, std::max<uint64_t>(16, launch.lanes * launch.program.scratch_blocks * pitch));
  header.given_up = static_cast<const uint32_t*>(cuda::pointer_to(word_there(Word::given_up)));
  header.void_call = reinterpret_cast<const uint32_t*>(arena_->data());
  header.report = static_cast<uint64_t*>(cuda::pointer_to(word_there(Word::report)));
  header.protocol = protocol;
  header.calls = reinterpret_cast<cuda::Channel*>(arena_->data() + shape_.channels_at(cuda::Protocol::flagged, me));
  header.to_flagged = shape_.channels_at(cuda::Protocol::flagged, 0) - shape_.channels_at(protocol, 0);
  header.slot_bytes = shape_.slot_bytes[static_cast<size_t>(protocol)];
  header.hash = hash_;
  header.divisor = shape_.ranks;
  header.rank = me;
  header.regions = loans_->table();
  header.least_loan = kLeastLoan;
  if (!is_captured_) then([&] { return loans_->prepare(on_); });
  if (protocol == cuda::Protocol::flagged) {
    const DeviceLoans::Lent lent = loans_->lent(calls_ + 1, launch.peers, launch.binding);
    std::ranges::copy(lent.regions, header.lent);
    has_lent_ = lent.any();
  }
  const auto shared = static_cast<unsigned>(cuda::interpreter_shared_bytes(header));
  const cuda::Function& kernel = kernels_->interpreter(launch.type, launch.op);
  then([&] { return kernel.launch(launch.lanes, cuda::kInterpreterThreads, &call, on_, shared); });
  if (!status_.ok()) return;
  any_launched_ = true;
  untracked_ = untracked_ || !is_captured_;
}

Result<uint32_t> DeviceKernels::end_call() {
  if (is_captured_) {
    then([&] { return captured_event_->record(on_); });
  } else {
    if (is_counted_) then([&] { return cuda::write_word(*context_, word_there(Word::ended), counted_ + 1, on_); });
    then([&] { return event_->record(on_); });
  }
  if (!status_.ok()) return status_;
  untracked_ = false;
  ++calls_;
  if (!is_captured_) loans_->note(calls_);
  if (!is_captured_) launched_ = true, on_own_stream_ = is_own_;
  if (is_counted_) ++counted_;
  return counted_;
}

// ---- their end ----

bool DeviceKernels::has_unfinished() const {
  if (!launched_) return false;
  const cuda::BesideCaptures beside(context_->driver());
  const cuda::CurrentContext current(*context_);
  const auto done = event_->is_done();
  return done.ok() ? !*done : context_->lost() == cuda::Error::success;
}

Status DeviceKernels::health() const {
  const cuda::BesideCaptures beside(context_->driver());
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  return event_->is_done().status();
}

Status DeviceKernels::wait_for_end(uint64_t patience_ns) const {
  if (untracked_) return Status(Code::system, "no event tells when a kernel of this rank ends");
  const uint64_t deadline = now_ns() + patience_ns;
  while (has_unfinished()) {
    if (now_ns() > deadline) return Status(Code::timeout, "kernels of this rank do not end");
    std::this_thread::yield();
  }
  return {};
}

// On a stream of its own: those of the calls may stand still.
void DeviceKernels::settle() const {
  const cuda::BesideCaptures beside(context_->driver());
  const cuda::CurrentContext current(*context_);
  const auto stream = cuda::Stream::create(context_);
  const auto written = cuda::Event::create(context_);
  if (stream.ok() && written.ok() && cuda::write_word(*context_, arena_->address(), 1, stream->get()).ok() &&
      written->record(stream->get()).ok()) {
    const uint64_t deadline = now_ns() + kKernelMomentNs;
    for (auto done = written->is_done(); done.ok() && !*done && now_ns() < deadline; done = written->is_done())
      std::this_thread::yield();
  }
  (void)wait_for_end(kKernelMomentNs);
}

void DeviceKernels::wait_on_own_stream() {
  then([&] { return start_->record(stream_->get()); });
  for (bool done = false; status_.ok() && !done; std::this_thread::yield()) {
    const auto asked = start_->is_done();
    status_ = asked.status();
    done = asked.ok() && *asked;
  }
}

Result<cuda::PinnedMemory> DeviceKernels::look_at_arena(uint64_t bytes) {
  auto copied = pool_->pinned(bytes);
  if (!copied.ok()) return copied;
  status_ = cuda::copy(*context_, cuda::address_of(copied->data()), arena_->address(), bytes, stream_->get());
  wait_on_own_stream();
  if (!status_.ok()) return status_;
  return copied;
}

// A peer's kernel that has begun the last call with this rank, and has read all messages of it, has nothing more to
// write into its arena.
Result<bool> DeviceKernels::all_is_taken() {
  const cuda::BesideCaptures beside(context_->driver());
  const cuda::CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  const uint64_t bytes = shape_.channels_end();
  auto copied = look_at_arena(bytes);
  if (!copied.ok()) return copied.status();
  bool all = true;
  for (uint64_t at = cuda::ArenaShape::kHeadBytes; at < bytes; at += sizeof(cuda::Channel)) {
    cuda::Channel channel;
    std::memcpy(&channel, copied->data() + at, sizeof channel);
    const bool has_begun = channel.told == 0 || channel.called[channel.told % cuda::kCallsTold] >> 32 == channel.told;
    all = all && has_begun && channel.taken == channel.sent;
  }
  pool_->give_back(std::move(*copied));
  return all;
}

void DeviceKernels::leave() {
  if (!std::ranges::any_of(peers_, &cuda::PeerMemory::is_of_other_process)) return;
  given_back_ = false;
  for (const uint64_t deadline = now_ns() + kKernelPatienceNs; now_ns() < deadline && !parts_.control->failed();) {
    const auto all = all_is_taken();
    if (!all.ok()) return;
    given_back_ = *all;
    if (given_back_) break;
    std::this_thread::yield();
  }
  if (!given_back_) return;
  peers_.clear();
  loans_->let_go();
}

size_t DeviceKernels::memory_bytes() const {
  size_t bytes = arena_ ? arena_->bytes() : 0;
  for (const auto* memory : {&used_.scratch, &used_.temporary})
    if (*memory) bytes += (*memory)->size();
  for (const cuda::DeviceMemory& memory : used_.outgrown) bytes += memory.size();
  for (const auto& [program, memory] : used_.programs) bytes += memory.size();
  return bytes;
}

}  // namespace tutti

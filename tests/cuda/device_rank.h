// A rank made by hand: an arena in a device's memory, which its peers write into, and launches of an interpreter, which
// adds up vectors of uint32_t in place.
#pragma once

#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms.h"
#include "device_memory.h"
#include "device_program.h"
#include "image.h"
#include "module.h"
#include "stream.h"
#include "value_of.h"

namespace tutti::cuda::test {

inline void check(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

// What has been put on a stream meanwhile, to be done again and again.
class Recording {
 public:
  Recording(SharedContext context, CUstream on) : context_(std::move(context)), on_(on) {
    check(context_->check(context_->driver().call<"cuStreamBeginCapture">(on_, CaptureMode::thread_local_), "begin a capture"));
  }
  void end() {
    const Driver& driver = context_->driver();
    CUgraph graph = nullptr;
    CUgraphExec ready = nullptr;
    check(context_->check(driver.call<"cuStreamEndCapture">(on_, &graph), "end a capture"));
    check(context_->check(driver.call<"cuGraphInstantiateWithFlags">(&ready, graph, 0ULL), "make a graph"));
    (void)driver.call<"cuGraphDestroy">(graph);
    graph_ = Held<CUgraphExec, "cuGraphExecDestroy">(context_, ready);
  }
  void replay() const { check(context_->check(context_->driver().call<"cuGraphLaunch">(graph_.get(), on_), "launch a graph")); }

 private:
  SharedContext context_;
  CUstream on_;
  Held<CUgraphExec, "cuGraphExecDestroy"> graph_;
};

class DeviceRank {
 public:
  static constexpr uint32_t kLanes = 2, kThreads = 128;

  DeviceRank(SharedContext context, int rank, int size, size_t count, Protocol protocol = Protocol::flagged)
      : context_(std::move(context)),
        protocol_(protocol),
        rank_(rank),
        size_(size),
        values_(count),
        program_(compile(plan_of(rank, size), Collective::all_reduce, rank, size, 0)),
        words_(value_of(PinnedMemory::allocate(context_, 64))),
        data_(value_of(DeviceMemory::allocate(context_, 4 * count))),
        arena_(value_of(DeviceMemory::allocate(context_, place_of_scratch() + scratch_bytes()))),
        on_(value_of(Stream::create(context_))),
        bases_(static_cast<size_t>(size)) {
    std::memset(words_.data(), 0, words_.size());
    for (uint32_t i = 0; i < count; ++i) values_[i] = 1000 * static_cast<uint32_t>(rank) + i;
    check(copy(*context_, data_.address(), address_of(values_.data()), 4 * count, on_.get()));
    check(fill(*context_, arena_.address(), 0, arena_.size(), on_.get()));
    finish();
  }

  const DeviceMemory& arena() const { return arena_; }
  // Where the peer's arena is for this process.
  void connect(int peer, std::byte* base) { bases_[static_cast<size_t>(peer)] = base; }
  CUstream stream() const { return on_.get(); }

  DeviceCall call(uint32_t hash = 1) const {
    DeviceCall call{};
    std::vector<DevicePeer> peers;
    for (const Program::Peer& peer : program_.peers)
      peers.push_back({reinterpret_cast<Channel*>(arena_.data() + place_of_channels(peer.rank)),
                       reinterpret_cast<Channel*>(bases_[static_cast<size_t>(peer.rank)] + place_of_channels(rank_)),
                       arena_.data() + place_of_slots(peer.rank), bases_[static_cast<size_t>(peer.rank)] + place_of_slots(rank_),
                       static_cast<uint64_t>(peer.rank)});
    const Binding binding = Binding::chunked(data_.data(), data_.data(), data_.size(), program_.blocks, kStripeBytes);
    if (!describe(call, value_of(flatten(program_)), binding, peers).empty()) throw std::runtime_error("the program is too long");
    call.header.scratch = arena_.data() + place_of_scratch();
    auto* const words = static_cast<std::byte*>(pointer_to(value_of(words_.device_address())));
    call.header.given_up = call.header.void_call = reinterpret_cast<const uint32_t*>(words);
    call.header.report = reinterpret_cast<uint64_t*>(words + kPlaceOfReport);
    call.header.calls = reinterpret_cast<Channel*>(arena_.data() + place_of_channels(rank_));
    call.header.protocol = protocol_;
    call.header.slot_bytes = kSlotBytes, call.header.hash = hash, call.header.divisor = 1;
    call.header.rank = static_cast<uint32_t>(rank_);
    return call;
  }

  // Of `rows` ranks, where the call has a world.
  Error launch(const Function& kernel, const DeviceCall& call, unsigned rows = 1, unsigned threads = kThreads,
               unsigned more_shared_bytes = 0) const {
    void* parameters[] = {const_cast<DeviceCall*>(&call)};
    const auto shared_bytes = static_cast<unsigned>(interpreter_shared_bytes(call.header)) + more_shared_bytes;
    return context_->driver().call<"cuLaunchKernel">(kernel.get(), kLanes, rows, 1U, threads, 1U, 1U, shared_bytes, on_.get(),
                                                     &parameters[0], static_cast<void**>(nullptr));
  }
  void reduce(const Function& kernel) const { check(context_->check(launch(kernel, call()), "launch an interpreter")); }

  // Once at once, and twice by a graph.
  void reduce_thrice(const Function& kernel) const {
    reduce(kernel);
    Recording recording(context_, on_.get());
    reduce(kernel);
    recording.end();
    for (int n = 0; n < 2; ++n) recording.replay();
    finish();
  }

  void finish() const { check(context_->check(context_->driver().call<"cuStreamSynchronize">(on_.get()), "wait for a stream")); }
  uint64_t report() const {
    return std::atomic_ref(*reinterpret_cast<uint64_t*>(words_.data() + kPlaceOfReport)).load(std::memory_order_relaxed);
  }
  void give_up() const { std::atomic_ref(*reinterpret_cast<uint32_t*>(words_.data())).store(1, std::memory_order_relaxed); }

  std::vector<uint32_t> result() {
    check(copy(*context_, address_of(values_.data()), data_.address(), 4 * values_.size(), on_.get()));
    finish();
    return values_;
  }
  // After so many reductions.
  static std::vector<uint32_t> expected(int size, size_t count, int reductions) {
    std::vector<uint32_t> values(count);
    const auto ranks = static_cast<uint32_t>(size);
    for (uint32_t i = 0; i < count; ++i) values[i] = 500 * ranks * (ranks - 1) + ranks * i;
    for (int n = 1; n < reductions; ++n)
      for (uint32_t& value : values) value *= ranks;
    return values;
  }

 private:
  static constexpr uint64_t kStripeBytes = 448, kSlotBytes = 1024;
  static constexpr size_t kPlaceOfReport = 8;
  static Plan plan_of(int rank, int size) {
    return algorithms()[*find_algorithm(Collective::all_reduce, "direct")].plan(rank, Team(size), 0);
  }
  uint64_t place_of_channels(int peer) const { return static_cast<uint64_t>(peer) * kLanes * sizeof(Channel); }
  uint64_t place_of_slots(int peer) const {
    return place_of_channels(size_) + static_cast<uint64_t>(peer) * kLanes * kChannelSlots * kSlotBytes;
  }
  uint64_t place_of_scratch() const { return place_of_slots(size_); }
  uint64_t scratch_bytes() const { return kLanes * program_.scratch_blocks * scratch_pitch(kStripeBytes); }

  SharedContext context_;
  Protocol protocol_;
  int rank_, size_;
  std::vector<uint32_t> values_;
  Program program_;
  PinnedMemory words_;
  DeviceMemory data_, arena_;
  Stream on_;
  std::vector<std::byte*> bases_;  // by peer
};

}  // namespace tutti::cuda::test

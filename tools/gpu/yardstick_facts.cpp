// An all-reduce of two ranks by a kernel that can do nothing else, in graphs: what the interpreter's are compared with.
#include <cmath>
#include <cstring>

#include "facts.h"

namespace tutti::gpu {
namespace {

constexpr unsigned kThreads = 512, kLaunches = 60;  // a graph

class OneShot {
 public:
  OneShot(const Session& session, size_t bytes)
      : session_(session),
        on_(session.stream()),
        bytes_(bytes),
        host_(session.pinned_memory(2 * bytes)),
        data_(session.device_memory(4 * bytes)),  // inputs, outputs
        slots_(session.device_memory(4 * bytes)),
        words_(session.device_memory(kWords)) {
    need(cuda::fill(*session.context(), slots_.address(), 0, slots_.size(), on_.get()));
    need(cuda::fill(*session.context(), words_.address(), 0, words_.size(), on_.get()));
    call_.launches = static_cast<uint64_t*>(cuda::pointer_to(words_.address() + kWords / 2));
    call_.late = device_word(words_.address());
    call_.pairs = static_cast<uint32_t>(bytes / sizeof(uint64_t));
    for (size_t rank = 0; rank < 2; ++rank) {
      call_.input[rank] = data_.data() + rank * bytes;
      call_.output[rank] = data_.data() + (2 + rank) * bytes;
      call_.slot[rank] = slots_.data() + rank * 2 * bytes;
    }
  }

  // With what other launches left in the slots.
  void check_once(float first) {
    set_inputs(first);
    launch();
    check_outputs(first);
  }
  // Of each launch in a graph, the best of five.
  double in_a_graph_us() {
    const auto check = [&](cuda::Error error) { need(session_.context()->check(error, "make a graph")); };
    cuda::CUgraph graph = nullptr;
    cuda::CUgraphExec ready = nullptr;
    check(session_.driver().call<"cuStreamBeginCapture">(on_.get(), cuda::CaptureMode::relaxed));
    for (unsigned i = 0; i < kLaunches; ++i) launch();
    check(session_.driver().call<"cuStreamEndCapture">(on_.get(), &graph));
    check(session_.driver().call<"cuGraphInstantiateWithFlags">(&ready, graph, 0ULL));
    check(session_.driver().call<"cuGraphDestroy">(graph));
    double best = HUGE_VAL;
    for (int turn = 0; turn < 6; ++turn) {
      set_inputs(static_cast<float>(turn));
      const uint64_t begin = now_ns();
      check(session_.driver().call<"cuGraphLaunch">(ready, on_.get()));
      session_.finish(on_.get());
      const double took = static_cast<double>(now_ns() - begin) * 1e-3 / kLaunches;
      check_outputs(static_cast<float>(turn));
      if (turn > 0) best = std::min(best, took);
    }
    check(session_.driver().call<"cuGraphExecDestroy">(ready));
    return best;
  }

 private:
  static constexpr size_t kWords = 4096;

  void launch() {
    const unsigned lanes = std::max(1U, call_.pairs / kThreads);
    need(session_.probe("probe_one_shot").launch(2 * lanes, kThreads, &call_, on_.get()));
  }
  size_t floats() const { return bytes_ / sizeof(float); }
  float* host() const { return reinterpret_cast<float*>(host_.data()); }  // NOLINT: made for floats
  static float number(float first, size_t rank, size_t i) { return first + static_cast<float>((i + 7 * rank) % 100); }

  void set_inputs(float first) {
    for (size_t rank = 0; rank < 2; ++rank)
      for (size_t i = 0; i < floats(); ++i) host()[rank * floats() + i] = number(first, rank, i);
    need(cuda::copy(*session_.context(), data_.address(), cuda::address_of(host_.data()), 2 * bytes_, on_.get()));
    session_.finish(on_.get());
  }
  void check_outputs(float first) {
    need(cuda::copy(*session_.context(), cuda::address_of(host_.data()), words_.address(), sizeof(uint32_t), on_.get()));
    session_.finish(on_.get());
    uint32_t late = 0;
    std::memcpy(&late, host_.data(), sizeof late);
    if (late != 0) throw std::runtime_error("a rank waited in vain for the other");
    need(cuda::copy(*session_.context(), cuda::address_of(host_.data()), data_.address() + 2 * bytes_, 2 * bytes_, on_.get()));
    session_.finish(on_.get());
    for (size_t i = 0; i < 2 * floats(); ++i)
      if (host()[i] != number(first, 0, i % floats()) + number(first, 1, i % floats()))
        throw std::runtime_error("float " + std::to_string(i % floats()) + " of rank " + std::to_string(i / floats()) +
                                 " is wrong");
  }

  const Session& session_;
  const cuda::Stream on_;
  const size_t bytes_;
  const cuda::PinnedMemory host_;
  const cuda::DeviceMemory data_, slots_, words_;
  probes::OneShot call_{};
};

}  // namespace

void find_yardstick(const Session& session, Findings& findings) {
  for (const size_t kib : {size_t{1}, size_t{8}}) {
    OneShot one_shot(session, kib << 10);
    findings.number("calls.one_shot.in_a_graph", one_shot.in_a_graph_us(), "us",
                    "2 ranks in one launch, " + std::to_string(kib) + " KiB");
    one_shot.check_once(100);
  }
}

}  // namespace tutti::gpu

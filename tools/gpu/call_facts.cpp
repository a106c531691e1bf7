// All-reduces on device memory, by ranks that are threads of this process and share the device: through the host's
// memory, and by kernels; blocking, one after another on streams, and in graphs.
#include <tutti/tutti.h>

#include <cmath>
#include <cstdlib>
#include <thread>

#include "facts.h"

namespace tutti::gpu {
namespace {

struct Way {
  int ranks;
  const char *use, *lanes;  // TUTTI_CUDA and TUTTI_CUDA_LANES
  const char* algorithm = nullptr;
  const char* protocol = "auto";  // TUTTI_CUDA_PROTOCOL
  bool lent = false;              // the buffers are of tutti_alloc_device
};

class Group {
 public:
  explicit Group(const Way& way) : comms_(static_cast<size_t>(way.ranks)) {
    ::setenv("TUTTI_CUDA", way.use, 1);
    ::setenv("TUTTI_CUDA_LANES", way.lanes, 1);
    ::setenv("TUTTI_CUDA_PROTOCOL", way.protocol, 1);
    if (tutti_comm_create_local(comms_.data(), way.ranks) != TUTTI_SUCCESS) throw std::runtime_error(tutti_last_error(nullptr));
  }
  Group(const Group&) = delete;
  ~Group() {
    run([&](size_t rank) { tutti_comm_destroy(comms_[rank]); });
  }
  // The first error, if there is one, once all have ended.
  template <class Body>
  std::string run(Body body) const {
    std::vector<std::string> errors(comms_.size());
    std::vector<std::thread> threads;
    for (size_t rank = 0; rank < comms_.size(); ++rank)
      threads.emplace_back([&, rank] {
        try {
          body(rank);
        } catch (const std::exception& failure) {
          errors[rank] = failure.what();
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& error : errors)
      if (!error.empty()) return error;
    return {};
  }
  tutti_comm* comm(size_t rank) const { return comms_[rank]; }
  size_t size() const { return comms_.size(); }

 private:
  std::vector<tutti_comm*> comms_;
};

void must(tutti_status status, const tutti_comm* comm) {
  if (status != TUTTI_SUCCESS) throw std::runtime_error(tutti_last_error(comm));
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// One size of one way.
class Series {
 public:
  Series(const Session& session, const Group& group, const Way& way, size_t bytes)
      : session_(session), group_(group), way_(way), bytes_(bytes), calls_(bytes > 4 << 20 ? 12 : 60) {
    const cuda::CurrentContext current(*session.context());
    for (size_t rank = 0; rank < group.size(); ++rank) {
      void* lent = nullptr;
      if (way.lent)
        must(tutti_alloc_device(group.comm(rank), bytes, &lent), group.comm(rank));
      else
        device_.push_back(session.device_memory(bytes));
      buffers_.push_back(way.lent ? lent : device_.back().data());
      streams_.push_back(session.stream());
      need(cuda::fill(*session.context(), cuda::address_of(buffers_.back()), 0, bytes, streams_.back().get()));
    }
    need(session.context()->check(session.driver().call<"cuCtxSynchronize">(), "wait"));
  }

  Series(const Series&) = delete;
  ~Series() {
    for (size_t rank = 0; way_.lent && rank < buffers_.size(); ++rank) (void)tutti_free(group_.comm(rank), buffers_[rank]);
  }

  // What rank 0's calls took, each by itself.
  double blocking() {
    std::vector<double> took;
    run([&](size_t rank) {
      for (int i = 0; i < calls_ + 2; ++i) {
        const uint64_t start = now_ns();
        call(rank, nullptr);
        if (rank == 0 && i >= 2) took.push_back(static_cast<double>(now_ns() - start) * 1e-3);
      }
    });
    return median(took);
  }
  // Many on a stream; the last one waited for.
  double in_a_row() {
    return of_many([&](size_t rank) {
      for (int i = 0; i < calls_; ++i) call(rank, streams_[rank].get());
    });
  }
  double in_a_graph() {
    std::vector<cuda::CUgraphExec> ready(group_.size());
    run([&](size_t rank) {
      const cuda::CurrentContext current(*session_.context());
      cuda::CUstream const stream = streams_[rank].get();
      cuda::CUgraph graph = nullptr;
      check(session_.driver().call<"cuStreamBeginCapture">(stream, cuda::CaptureMode::thread_local_));
      for (int i = 0; i < calls_; ++i) call(rank, stream);
      check(session_.driver().call<"cuStreamEndCapture">(stream, &graph));
      check(session_.driver().call<"cuGraphInstantiateWithFlags">(&ready[rank], graph, 0ULL));
      check(session_.driver().call<"cuGraphDestroy">(graph));
    });
    const double took = of_many([&](size_t rank) {
      const cuda::CurrentContext current(*session_.context());
      check(session_.driver().call<"cuGraphLaunch">(ready[rank], streams_[rank].get()));
    });
    for (cuda::CUgraphExec graph : ready) (void)session_.driver().call<"cuGraphExecDestroy">(graph);
    return took;
  }

 private:
  void check(cuda::Error error) { need(session_.context()->check(error, "measure calls")); }
  void call(size_t rank, cuda::CUstream stream) {
    tutti_call_options options;
    tutti_call_options_init(&options);
    options.stream = stream;
    options.algorithm = way_.algorithm;
    must(tutti_all_reduce(group_.comm(rank), buffers_[rank], buffers_[rank], bytes_ / sizeof(float), TUTTI_FLOAT32, TUTTI_MAX,
                          &options),
         group_.comm(rank));
  }
  template <class Body>
  void run(Body body) {
    if (const std::string error = group_.run(body); !error.empty()) throw std::runtime_error(error);
  }
  // The time of a call, over all from the first to the last one's end; the best of five.
  template <class Body>
  double of_many(Body body) {
    double best = HUGE_VAL;
    for (int turn = 0; turn < 6; ++turn) {
      double took = 0;
      run([&](size_t rank) {
        must(tutti_barrier(group_.comm(rank), nullptr), group_.comm(rank));
        const uint64_t start = now_ns();
        body(rank);
        const cuda::CurrentContext current(*session_.context());
        check(session_.driver().call<"cuStreamSynchronize">(streams_[rank].get()));
        if (rank == 0) took = static_cast<double>(now_ns() - start) * 1e-3;
      });
      if (turn > 0) best = std::min(best, took / calls_);
    }
    return best;
  }

  const Session& session_;
  const Group& group_;
  const Way& way_;
  const size_t bytes_;
  const int calls_;
  std::vector<cuda::DeviceMemory> device_;
  std::vector<void*> buffers_;  // by rank
  std::vector<cuda::Stream> streams_;
};

std::string in_words(size_t bytes) {
  return bytes < 1 << 20 ? std::to_string(bytes >> 10) + " KiB" : std::to_string(bytes >> 20) + " MiB";
}

std::string in_words(const Way& way, const std::string& size = "") {
  std::string words = std::to_string(way.ranks) + " ranks, " + size + way.use + ", lanes " + way.lanes;
  if (way.algorithm) words += std::string(", ") + way.algorithm;
  if (way.protocol != std::string_view("auto")) words += std::string(", ") + way.protocol;
  if (way.lent) words += ", lent";
  return words;
}

}  // namespace

void find_calls(const Session& session, Findings& findings) {
  findings.attempt("calls.one_shot", [&] { find_yardstick(session, findings); });
  constexpr size_t kKi = 1 << 10, kMi = 1 << 20;
  // Those that tell most come first: the time may not suffice for all.
  const Way ways[] = {{2, "auto", "0"},
                      {4, "auto", "0"},
                      {2, "auto", "0", nullptr, "auto", true},
                      {2, "staged", "0"},
                      {8, "auto", "0"},
                      {4, "auto", "0", nullptr, "auto", true},
                      // Where one protocol and one plan overtake the other.
                      {2, "auto", "0", "direct", "stamped"},
                      {2, "auto", "0", "direct", "flagged"},
                      {2, "auto", "0", "exchange", "stamped"},
                      {4, "auto", "0", "direct", "stamped"},
                      {4, "auto", "0", "direct", "flagged"},
                      {4, "auto", "0", "exchange", "stamped"},
                      {2, "auto", "32"},
                      {2, "auto", "64"},
                      {2, "auto", "64", nullptr, "auto", true},
                      {4, "auto", "32"},
                      {4, "auto", "32", "ring"},
                      {4, "auto", "32", "recursive"}};
  std::vector<std::string> planned;
  for (const Way& way : ways) planned.push_back(in_words(way));
  findings.planned(planned);
  for (const Way& way : ways) {
    const bool staged = std::string_view(way.use) == "staged", stamped = std::string_view(way.protocol) == "stamped";
    findings.attempt("calls.all_reduce", [&] {
      const Group group(way);
      for (const size_t bytes : {kKi, 8 * kKi, 64 * kKi, 256 * kKi, 512 * kKi, 4 * kMi, 64 * kMi, 256 * kMi}) {
        if ((staged || way.ranks > 4) && bytes > 64 * kMi) continue;
        if (stamped && bytes > 4 * kMi) continue;
        if (way.lent && bytes < 512 * kKi) continue;
        Series series(session, group, way, bytes);
        const std::string of = in_words(way, in_words(bytes) + ", ");
        findings.number("calls.all_reduce.blocking", series.blocking(), "us", of);
        findings.number("calls.all_reduce.in_a_row", series.in_a_row(), "us", of);
        if (!staged) findings.number("calls.all_reduce.in_a_graph", series.in_a_graph(), "us", of);
      }
      findings.done(in_words(way));
    });
  }
}

}  // namespace tutti::gpu

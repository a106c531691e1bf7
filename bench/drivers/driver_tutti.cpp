// tutti_all_reduce as a program with no settings of its own gets it; TUTTI_… decide the rest.  By label:
//   tutti_alloc    the buffers are memory of tutti_alloc
//   tutti_async    each call is started and then waited for
//   tutti_overlap  each call is 32 asynchronous all-reduces in flight, of a 32nd of the elements each
// COMPARE_CODEC, a codec's text, compresses what travels; the result is then not exact, and only has to be the same at
// every rank.  With the one argument --algorithms it prints the names of Tutti's all-reduce algorithms.
#include "algorithms.h"
#include "harness.h"
#include "tutti/tutti.h"

namespace {

constexpr size_t kInFlight = 32;

class Tutti {
 public:
  int rank = 0, size = 0;

  explicit Tutti(const std::string& label)
      : allocates_(label.starts_with("tutti_alloc")),
        in_flight_(label.starts_with("tutti_overlap") ? kInFlight
                   : label.starts_with("tutti_async") ? 1
                                                      : 0) {
    if (const char* spec = std::getenv("COMPARE_CODEC")) spec_ = spec;
    tutti_call_options_init(&options_);
    if (tutti_comm_create(&comm_, nullptr) != TUTTI_SUCCESS) harness::fail(tutti_last_error(nullptr));
    rank = tutti_comm_rank(comm_);
    size = tutti_comm_size(comm_);
  }
  Tutti(const Tutti&) = delete;
  ~Tutti() {
    tutti_codec_destroy(options_.codec);
    tutti_comm_destroy(comm_);
  }

  harness::Result result() const { return spec_.empty() ? harness::Result::sum : harness::Result::same; }

  void all_reduce(const float* input, float* output, size_t count) {
    if (in_flight_ > 0) return asynchronous(input, output, count);
    if (!spec_.empty() && count != coded_count_) make_codec(count);
    check(tutti_all_reduce(comm_, input, output, count, TUTTI_FLOAT32, TUTTI_SUM, &options_));
  }

  // For the buffers; null: any memory will do.
  void* allocate(size_t bytes) {
    void* memory = nullptr;
    if (allocates_) check(tutti_alloc(comm_, bytes, &memory));
    return memory;
  }

  // Of the last call.
  std::string algorithm() const {
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    check(tutti_comm_stats(comm_, &stats));
    return stats.last_algorithm;
  }

 private:
  void check(tutti_status status) const {
    if (status != TUTTI_SUCCESS) harness::fail(tutti_last_error(comm_));
  }

  void make_codec(size_t count) {
    tutti_codec_destroy(options_.codec);
    options_.codec = nullptr;
    check(tutti_codec_create(&options_.codec, spec_.c_str(), count, TUTTI_FLOAT32));
    coded_count_ = count;
  }

  void asynchronous(const float* input, float* output, size_t count) {
    tutti_request* requests[kInFlight] = {};
    const size_t each = (count + in_flight_ - 1) / in_flight_;
    for (size_t i = 0; i * each < count; ++i)
      check(tutti_all_reduce_start(comm_, input + i * each, output + i * each, std::min(each, count - i * each), TUTTI_FLOAT32,
                                   TUTTI_SUM, nullptr, &requests[i]));
    for (tutti_request* request : requests) check(tutti_wait(request));
  }

  bool allocates_;
  size_t in_flight_;        // asynchronous calls at once; 0: blocking ones
  std::string spec_;        // of the codec; empty: none
  size_t coded_count_ = 0;  // elements of its tensor
  tutti_call_options options_;
  tutti_comm* comm_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--algorithms") {
    for (const tutti::Algorithm& algorithm : tutti::algorithms())
      if (algorithm.collective == tutti::Collective::all_reduce) std::printf("%s\n", std::string(algorithm.name).c_str());
    std::printf("flat\n");  // the small path, which is no plan
    return 0;
  }
  const auto settings = harness::Settings::of(argc, argv);
  Tutti driver(settings.label);
  harness::run(driver, settings);
}

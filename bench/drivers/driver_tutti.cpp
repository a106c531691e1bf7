// tutti_all_reduce as a program with no settings of its own gets it; TUTTI_… decide the rest.  By label:
//   tutti_alloc    the buffers are memory of tutti_alloc
//   tutti_overlap  each call is 32 asynchronous all-reduces in flight, of a 32nd of the elements each
// With the one argument --algorithms it prints the names of Tutti's all-reduce algorithms.
#include "algorithms.h"
#include "harness.h"
#include "tutti/tutti.h"

namespace {

constexpr size_t kInFlight = 32;

class Tutti {
 public:
  static constexpr harness::Result kResult = harness::Result::sum;
  int rank = 0, size = 0;

  explicit Tutti(const std::string& label) : allocates_(label == "tutti_alloc"), overlaps_(label == "tutti_overlap") {
    if (tutti_comm_create(&comm_, nullptr) != TUTTI_SUCCESS) harness::fail(tutti_last_error(nullptr));
    rank = tutti_comm_rank(comm_);
    size = tutti_comm_size(comm_);
  }
  Tutti(const Tutti&) = delete;
  ~Tutti() { tutti_comm_destroy(comm_); }

  void all_reduce(const float* input, float* output, size_t count) {
    if (overlaps_) return overlapped(input, output, count);
    check(tutti_all_reduce(comm_, input, output, count, TUTTI_FLOAT32, TUTTI_SUM, nullptr));
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

  void overlapped(const float* input, float* output, size_t count) {
    tutti_request* requests[kInFlight] = {};
    const size_t each = (count + kInFlight - 1) / kInFlight;
    for (size_t i = 0; i * each < count; ++i)
      check(tutti_all_reduce_start(comm_, input + i * each, output + i * each, std::min(each, count - i * each), TUTTI_FLOAT32,
                                   TUTTI_SUM, nullptr, &requests[i]));
    for (tutti_request* request : requests) check(tutti_wait(request));
  }

  bool allocates_, overlaps_;
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

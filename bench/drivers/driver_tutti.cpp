// tutti_all_reduce as a program with no settings of its own gets it; TUTTI_… decide the rest.
#include "harness.h"
#include "tutti/tutti.h"

namespace {

struct Tutti {
  static constexpr harness::Result kResult = harness::Result::sum;
  int rank = 0, size = 0;

  Tutti() {
    if (tutti_comm_create(&comm_, nullptr) != TUTTI_SUCCESS) harness::fail(tutti_last_error(nullptr));
    rank = tutti_comm_rank(comm_);
    size = tutti_comm_size(comm_);
  }
  Tutti(const Tutti&) = delete;
  ~Tutti() { tutti_comm_destroy(comm_); }

  void all_reduce(const float* input, float* output, size_t count) {
    if (tutti_all_reduce(comm_, input, output, count, TUTTI_FLOAT32, TUTTI_SUM, nullptr) != TUTTI_SUCCESS)
      harness::fail(tutti_last_error(comm_));
  }

 private:
  tutti_comm* comm_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  Tutti driver;
  harness::run(driver, harness::Settings::of(argc, argv));
}

// MPI_Allreduce; the same source for Open MPI and MPICH.
#define OMPI_SKIP_MPICXX 1  // the C++ bindings of the standard before MPI-3 are neither needed nor linked
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include "harness.h"

namespace {

struct Mpi {
  static harness::Result result() { return harness::Result::sum; }
  int rank = 0, size = 0;

  Mpi(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
  }
  Mpi(const Mpi&) = delete;
  ~Mpi() { MPI_Finalize(); }

  void all_reduce(const float* input, float* output, size_t count) {
    const int status = MPI_Allreduce(input, output, static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    if (status != MPI_SUCCESS) harness::fail("MPI_Allreduce failed with " + std::to_string(status));
  }
};

}  // namespace

int main(int argc, char** argv) {
  Mpi driver(argc, argv);
  harness::run(driver, harness::Settings::of(argc, argv));
}

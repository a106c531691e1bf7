/* The smallest use of Tutti: every rank brings numbers, all get the average.  SPDX-License-Identifier: Apache-2.0
 *
 *   cc average.c $(pkg-config --cflags --libs tutti) -o average
 *   mpirun -n 4 ./average            torchrun --no-python --nproc-per-node 4 ./average            srun -n 4 ./average
 *   for r in 0 1; do TUTTI_RANK=$r TUTTI_SIZE=2 TUTTI_STORE=127.0.0.1:29600 ./average & done; wait
 */
#include <stdio.h>
#include <tutti/tutti.h>

enum { COUNT = 1000 };

int main(void) {
  static float gradient[COUNT];
  tutti_comm *comm;
  int i, rank, size;

  if (tutti_comm_create(&comm, NULL) != TUTTI_SUCCESS) { /* rank, size and rendezvous point come from the launcher */
    fprintf(stderr, "%s\n", tutti_last_error(NULL));
    return 1;
  }
  rank = tutti_comm_rank(comm);
  size = tutti_comm_size(comm);
  for (i = 0; i < COUNT; ++i) gradient[i] = (float)(rank + i);

  if (tutti_all_reduce(comm, gradient, gradient, COUNT, TUTTI_FLOAT32, TUTTI_AVG, NULL) != TUTTI_SUCCESS) {
    fprintf(stderr, "%s\n", tutti_last_error(comm));
    tutti_comm_destroy(comm);
    return 1;
  }
  printf("rank %d of %d: the average of element 10 is %g\n", rank, size, gradient[10]);
  return tutti_comm_destroy(comm) == TUTTI_SUCCESS ? 0 : 1;
}

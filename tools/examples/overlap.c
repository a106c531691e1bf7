/* Communication behind computation: the gradient of each layer is reduced while the next one is computed, and the layers are
 * updated as their reductions end.  SPDX-License-Identifier: Apache-2.0
 *
 *   cc overlap.c $(pkg-config --cflags --libs tutti) -o overlap
 *   mpirun -n 2 ./overlap
 */
#include <stdio.h>
#include <stdlib.h>
#include <tutti/tutti.h>

enum { LAYERS = 4, WEIGHTS = 100000 };

static void fail(const tutti_comm *comm) {
  fprintf(stderr, "%s\n", tutti_last_error(comm));
  exit(1);
}

/* Stands for a backward pass: some numbers that depend on the rank. */
static void compute_gradient(float *gradient, int layer, int rank) {
  int i;
  for (i = 0; i < WEIGHTS; ++i) gradient[i] = (float)(layer + rank);
}

int main(void) {
  tutti_comm *comm;
  tutti_request *requests[LAYERS];
  float *gradients[LAYERS];
  double weight = 0; /* of one neuron per layer, summed, to have something to print */
  void *memory;
  int layer, rank, size;

  if (tutti_comm_create(&comm, NULL) != TUTTI_SUCCESS) fail(NULL);
  rank = tutti_comm_rank(comm);
  size = tutti_comm_size(comm);
  for (layer = 0; layer < LAYERS; ++layer) { /* buffers that are cheap to communicate from; freed with the communicator */
    if (tutti_alloc(comm, WEIGHTS * sizeof(float), &memory) != TUTTI_SUCCESS) fail(comm);
    gradients[layer] = memory;
  }

  for (layer = LAYERS - 1; layer >= 0; --layer) { /* every rank starts the layers in the same order */
    compute_gradient(gradients[layer], layer, rank);
    if (tutti_all_reduce_start(comm, gradients[layer], gradients[layer], WEIGHTS, TUTTI_FLOAT32, TUTTI_AVG, NULL,
                               &requests[layer]) != TUTTI_SUCCESS) {
      fail(comm);
    }
  }
  for (layer = LAYERS - 1; layer >= 0; --layer) {
    if (tutti_wait(requests[layer]) != TUTTI_SUCCESS) fail(comm);
    weight -= 0.5 * gradients[layer][WEIGHTS - 1];
  }
  printf("rank %d of %d: the weights moved by %g\n", rank, size, weight);
  return tutti_comm_destroy(comm) == TUTTI_SUCCESS ? 0 : 1;
}

/* Gradients in 4 bits: what compression leaves out of one step comes with the next ones, also across a restart from a checkpoint.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   cc compress.c $(pkg-config --cflags --libs tutti) -lm -o compress
 *   mpirun -n 2 ./compress
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <tutti/tutti.h>

enum { COUNT = 100000, STEPS = 20 };

static void fail(const tutti_comm* comm) {
  fprintf(stderr, "%s\n", tutti_last_error(comm)); /* functions of codecs report to NULL */
  exit(1);
}

/* Stands for a backward pass, and for what the ranks' gradients are on average. */
static double gradient_of(int i, int rank) { return sin(0.1 * i) + 0.5 * cos(i + rank); }
static double average_of(int i, int size) {
  double sum = 0;
  int rank;
  for (rank = 0; rank < size; ++rank) sum += gradient_of(i, rank);
  return sum / size;
}

/* A checkpoint holds the model and, at each rank, its codec: what it owes. */
static void save(const tutti_codec* codec, FILE* file) {
  size_t bytes = 0;
  void* state;
  if (tutti_codec_export(codec, NULL, &bytes) != TUTTI_SUCCESS) fail(NULL); /* how long? */
  state = malloc(bytes);
  if (!state || tutti_codec_export(codec, state, &bytes) != TUTTI_SUCCESS) fail(NULL);
  if (fwrite(state, 1, bytes, file) != bytes) exit(1);
  free(state);
}
static void load(tutti_codec* codec, FILE* file) {
  size_t bytes = 0;
  void* state;
  if (tutti_codec_export(codec, NULL, &bytes) != TUTTI_SUCCESS) fail(NULL);
  state = malloc(bytes);
  rewind(file);
  if (!state || fread(state, 1, bytes, file) != bytes) exit(1);
  if (tutti_codec_import(codec, state, bytes) != TUTTI_SUCCESS) fail(NULL);
  free(state);
}

int main(void) {
  static float gradient[COUNT];
  static double sum[COUNT]; /* stands for the model: all that its gradients did to it */
  double error = 0, exact = 0;
  tutti_comm* comm;
  tutti_codec* codec;
  tutti_call_options options;
  FILE* checkpoint = tmpfile();
  int i, rank, size, step;

  if (tutti_comm_create(&comm, NULL) != TUTTI_SUCCESS) fail(NULL);
  rank = tutti_comm_rank(comm);
  size = tutti_comm_size(comm);
  if (tutti_codec_create(&codec, "int4", COUNT, TUTTI_FLOAT32) != TUTTI_SUCCESS) fail(NULL); /* one for each tensor */
  tutti_call_options_init(&options);

  for (step = 0; step < STEPS; ++step) {
    if (step == STEPS / 2) { /* as if the job had ended here and begun again */
      if (!checkpoint) return 1;
      save(codec, checkpoint);
      if (tutti_codec_destroy(codec) != TUTTI_SUCCESS) fail(NULL);
      if (tutti_codec_create(&codec, "int4", COUNT, TUTTI_FLOAT32) != TUTTI_SUCCESS) fail(NULL);
      load(codec, checkpoint);
    }
    for (i = 0; i < COUNT; ++i) gradient[i] = (float)gradient_of(i, rank);
    options.codec = codec;
    if (tutti_all_reduce(comm, gradient, gradient, COUNT, TUTTI_FLOAT32, TUTTI_AVG, &options) != TUTTI_SUCCESS) fail(comm);
    for (i = 0; i < COUNT; ++i) sum[i] += gradient[i];
  }
  for (i = 0; i < COUNT; ++i) {
    error += pow(sum[i] - STEPS * average_of(i, size), 2);
    exact += pow(STEPS * average_of(i, size), 2);
  }
  error =
      sqrt(error / exact); /* without the residuals, or had the checkpoint left them out, it would stay what it is after one step */
  printf("rank %d of %d: %d steps in 4 bits, the sum is %s\n", rank, size, STEPS, error < 0.01 ? "within 1 %" : "WRONG");
  tutti_codec_destroy(codec);
  return tutti_comm_destroy(comm) == TUTTI_SUCCESS && error < 0.01 ? 0 : 1;
}

/* A program of a user of the installed library: an all-reduce, alone or with the ranks of a launcher. */
#include <stdio.h>
#include <tutti/tutti.h>

int main(void) {
  tutti_comm *comm;
  int32_t one = 1, sum = 0;
  if (tutti_comm_create(&comm, NULL) != TUTTI_SUCCESS) return puts(tutti_last_error(NULL)), 1;
  if (tutti_all_reduce(comm, &one, &sum, 1, TUTTI_INT32, TUTTI_SUM, NULL) != TUTTI_SUCCESS) return puts(tutti_last_error(comm)), 1;
  printf("tutti %s: %d ranks\n", tutti_version(), (int)sum);
  return tutti_comm_destroy(comm) == TUTTI_SUCCESS ? 0 : 1;
}

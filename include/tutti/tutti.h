/* Tutti: all-reduce and its family for the processes of one job.  SPDX-License-Identifier: Apache-2.0
 *
 * A communicator is an ordered set of ranks 0 … size-1.  Every rank makes the same collective calls in the same order on a
 * communicator; each call ends with the result, or with a status that says who broke what, within a bounded time.
 *
 *   tutti_comm *comm;
 *   if (tutti_comm_create(&comm, NULL) != TUTTI_SUCCESS) { puts(tutti_last_error(NULL)); return 1; }
 *   tutti_all_reduce(comm, gradient, gradient, count, TUTTI_FLOAT32, TUTTI_AVG, NULL);    in place
 *   tutti_comm_destroy(comm);
 *
 * Units: every `count` is in elements of `dtype`, every `bytes` in bytes.
 * Buffers: belong to the caller; they must stay valid (and, for _start calls, untouched) until the operation has ended.  Input and
 *   output may be the same memory exactly where a function says "in place"; any other overlap is TUTTI_INVALID_ARGUMENT.
 *   Any address in the host's memory is right; multiples of the element's size are fast.
 * Blocking: a plain call returns when the result is in this rank's output and its input may be written again; it does not mean
 *   that other ranks have finished.  A _start call returns at once with a request, which tutti_wait or tutti_test ends; a thread
 *   of the library's, one for the process, created by its first _start call, carries it on.
 * Threads: any thread may call anything at any time, but tutti_comm_destroy only once no other call on the communicator is
 *   under way, and a request is one thread's at a time.  Calls are started one after another, and a thread that waits keeps
 *   no other from starting one; which collective of two threads comes first must be the same on all ranks, so they must
 *   settle that among themselves.  In a child after fork() every call on an inherited communicator fails with
 *   TUTTI_INVALID_ARGUMENT; the library's descriptors are closed there.
 * Errors: after a call failed with TUTTI_PEER_LOST, TUTTI_TIMEOUT, TUTTI_MISMATCH, TUTTI_ABORTED, TUTTI_SYSTEM or
 *   TUTTI_INTERNAL the communicator is dead: outputs of unfinished calls are undefined and each later call returns the
 *   same status; destroy it and
 *   create a new one.  TUTTI_INVALID_ARGUMENT, TUTTI_UNSUPPORTED and TUTTI_OUT_OF_MEMORY (also: no thread for a
 *   _start call) change nothing: the same call may be made again.  No exception leaves this library.
 * Versions: the structs that begin with struct_size grow at their end only, so programs run with older and newer
 *   libraries than they were compiled against.  Members that the caller's header lacks have their defaults.  Members
 *   that only the caller's header has must be zero, or the call is TUTTI_UNSUPPORTED; of tutti_stats the library writes
 *   what the caller has, and zeros where it has more.
 * Bits: all ranks get bit-identical results; the same call with the same algorithm gives the same bits every time, whatever
 *   floating-point mode (rounding, denormals, traps) threads have set; it is as before when a call returns.
 */
#ifndef TUTTI_TUTTI_H
#define TUTTI_TUTTI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define TUTTI_API
#else
#define TUTTI_API __attribute__((visibility("default")))
#endif

#define TUTTI_VERSION_MAJOR 0
#define TUTTI_VERSION_MINOR 1
#define TUTTI_VERSION_PATCH 0

typedef struct tutti_comm tutti_comm;       /* a communicator */
typedef struct tutti_request tutti_request; /* an operation under way */
typedef struct tutti_codec tutti_codec;     /* compression of one tensor, with its residual */

typedef enum tutti_status {
  TUTTI_SUCCESS = 0,
  TUTTI_INVALID_ARGUMENT = 1, /* this rank's call is wrong; nothing was started */
  TUTTI_UNSUPPORTED = 2,      /* a valid call that this build or algorithm cannot carry out */
  TUTTI_OUT_OF_MEMORY = 3,
  TUTTI_UNREACHABLE = 4, /* ranks could not find or reach each other at creation */
  TUTTI_PEER_LOST = 5,   /* a rank died, left or closed its connection */
  TUTTI_TIMEOUT = 6,     /* no progress for TUTTI_TIMEOUT; the late rank is named */
  TUTTI_MISMATCH = 7,    /* ranks made different calls */
  TUTTI_ABORTED = 8,     /* a rank called tutti_comm_abort */
  TUTTI_SYSTEM = 9,      /* the operating system refused something; errno is in the message */
  TUTTI_INTERNAL = 10    /* a bug in Tutti */
} tutti_status;

typedef enum tutti_dtype {
  TUTTI_INT8 = 0,
  TUTTI_UINT8 = 1,
  TUTTI_INT32 = 2,
  TUTTI_UINT32 = 3,
  TUTTI_INT64 = 4,
  TUTTI_UINT64 = 5,
  TUTTI_FLOAT16 = 6,  /* IEEE 754 binary16 */
  TUTTI_BFLOAT16 = 7, /* upper half of a float32 */
  TUTTI_FLOAT32 = 8,
  TUTTI_FLOAT64 = 9,
  TUTTI_INT16 = 10,
  TUTTI_UINT16 = 11
} tutti_dtype;

/* Integer sums and products wrap.  A not-a-number in any input of sum, prod, avg, min or max gives a not-a-number.  AVG
 * is the sum divided by the number of ranks (integers: towards zero).  BAND, BOR and BXOR are and, or and exclusive or
 * of the bits of integers; of floating point types they are TUTTI_UNSUPPORTED.
 * 16-bit floats are reduced in float32 and rounded to nearest even.  AVG is rounded once, at the end, by every
 * algorithm.  Partial results of SUM and PROD are rounded to 16 bits between ranks, except by the algorithms flat and
 * direct: the result depends on the algorithm unless TUTTI_DETERMINISTIC=1, and overflows where a partial result does.
 * Averages of 16-bit floats by other algorithms than these two, between more than two ranks, hold a float32 for each
 * element of the input while they last (twice its bytes), and send messages twice as long; between ranks of one host
 * direct is chosen instead. */
typedef enum tutti_op {
  TUTTI_SUM = 0,
  TUTTI_PROD = 1,
  TUTTI_MIN = 2,
  TUTTI_MAX = 3,
  TUTTI_AVG = 4,
  TUTTI_BAND = 5,
  TUTTI_BOR = 6,
  TUTTI_BXOR = 7,
  TUTTI_CUSTOM = 8 /* tutti_call_options.reduction */
} tutti_op;

/* ---- library ---- */

/* "0.1.0".  Static memory. */
TUTTI_API const char *tutti_version(void);

/* Short name of a status, such as "peer lost".  Static memory, never NULL. */
TUTTI_API const char *tutti_status_string(tutti_status status);

/* One sentence about the last failure on `comm`: who (rank, host, pid), which call, where, and what to try.  With NULL: about the
 * calling thread's last failed call that had no communicator (creation, codecs).  "" if nothing failed.  The text belongs to the
 * library and stays until the next failure on the same communicator or thread. */
TUTTI_API const char *tutti_last_error(const tutti_comm *comm);

/* ---- bootstrap and end of communicators ---- */

/* Names one communicator to be; made by one rank, handed to the others by the caller's own means (MPI_Bcast, a file …). */
typedef struct tutti_unique_id { char internal[128]; } tutti_unique_id;

/* Makes an id and opens the rendezvous point in this process, where the ranks that create a communicator with it will meet. */
TUTTI_API tutti_status tutti_get_unique_id(tutti_unique_id *id);

/* A key/value store of the caller's (etcd, torch's store, a dictionary …).  Values are at most 512 bytes.  Each returns
 * 0 on success; `get` waits until the key is there or `timeout_ms` is over, and stores the value's length in *length
 * (capacity in on entry). */
typedef struct tutti_store_callbacks {
  int (*set)(void *context, const char *key, const void *value, size_t bytes);
  int (*get)(void *context, const char *key, void *value, size_t *length, int timeout_ms);
  void *context;
} tutti_store_callbacks;

/* Where a communicator's ranks meet.  Fill with tutti_config_init, then set rank, size and one of id, store, callbacks; or set
 * nothing and the launcher's environment decides (see docs/launchers.md). */
typedef struct tutti_config {
  size_t struct_size;                     /* sizeof(tutti_config); set by tutti_config_init */
  int rank;                               /* -1: from the launcher */
  int size;                               /* -1: from the launcher */
  const tutti_unique_id *id;              /* NULL */
  const char *store;                      /* NULL; "host:port" (rank 0 listens there) or "file:/path/that/all/ranks/see" */
  const tutti_store_callbacks *callbacks; /* NULL */
  const char *name;                       /* NULL: "world".  Shown in messages; must be equal on all ranks */
  int timeout_ms;                         /* 0: TUTTI_TIMEOUT.  See tutti_comm_set_timeout */
  /* NULL; "TUTTI_INTERFACE=eth0", "TUTTI_ALGORITHM=ring", ..., NULL: as environment variables of these names, which they
   * override, for this communicator and all that are split off it.  docs/environment.md lists the names; an unknown one
   * is TUTTI_INVALID_ARGUMENT.  Not TUTTI_RANK, TUTTI_SIZE and TUTTI_STORE, which are members here, nor TUTTI_CONF_FILE.
   * tutti_get_unique_id reads the environment alone. */
  const char *const *settings;
} tutti_config;

/* Sets struct_size and all defaults.  In C and C++ the _init functions are macros that tell the library the size of the
 * caller's struct. */
TUTTI_API void tutti_config_init(tutti_config *config);
TUTTI_API void tutti_config_init_sized(tutti_config *config, size_t struct_size);
#define tutti_config_init(config) tutti_config_init_sized(config, sizeof(tutti_config))

/* Creates a communicator; collective over its ranks, blocking, bounded by TUTTI_BOOTSTRAP_TIMEOUT.  `config` may be
 * NULL: everything from the launcher (torchrun, mpirun, srun, hydra, or TUTTI_RANK/TUTTI_SIZE/TUTTI_STORE).  On failure
 * *comm is NULL and tutti_last_error(NULL) explains. */
TUTTI_API tutti_status tutti_comm_create(tutti_comm **comm, const tutti_config *config);

/* Creates `size` communicators of one group inside this process, comms[r] for rank r, to be used by different threads. */
TUTTI_API tutti_status tutti_comm_create_local(tutti_comm **comms, int size);

/* Splits `comm`: ranks that give the same color ≥ 0 form a new communicator, ordered by key, then by old rank.  color -1: this rank
 * joins none and gets *child = NULL.  Collective over `comm`, blocking. */
TUTTI_API tutti_status tutti_comm_split(tutti_comm *comm, int color, int key, tutti_comm **child);

/* Creates a communicator of some ranks of `parent`: its rank i is the parent's ranks[i].  Collective over these ranks only,
 * which all give the same `ranks` (size of them, among them the caller's) and `key` (0 or more); blocking, for
 * timeout_ms at most, which is also the child's (tutti_comm_set_timeout); 0: for TUTTI_BOOTSTRAP_TIMEOUT, and the child
 * has the parent's.  It takes over the parent's measurements and threads, and costs about as much as a split.
 * Threads of a process that create groups of the same ranks at the same time tell them apart by `key`.  A failure leaves the
 * parent as it was, unless that has failed itself. */
TUTTI_API tutti_status tutti_comm_create_group(tutti_comm *parent, const int *ranks, int size, int key, int timeout_ms,
                                               tutti_comm **child);

/* Sets the longest time, 1 ms or more, for which a later call on `comm` waits without any progress, and for which
 * tutti_comm_destroy waits; until then it is tutti_config.timeout_ms or TUTTI_TIMEOUT.  What is split off `comm` later
 * begins with it.  tutti_call_options.timeout_ms goes before it.  Local; ranks may differ, and the shortest ends the call
 * everywhere. */
TUTTI_API tutti_status tutti_comm_set_timeout(tutti_comm *comm, int timeout_ms);

/* Ends every call on `comm` at every rank with TUTTI_ABORTED, naming this rank.  Local, does not wait; may be called
 * from any thread. */
TUTTI_API tutti_status tutti_comm_abort(tutti_comm *comm, const char *reason);

/* Ends and frees `comm`.  Every rank calls it, in any order among its communicators: it does not wait for other ranks
 * to call it, with one exception.  This process passes word of failures on to some of the other ranks; so the end of
 * its last communicator may wait for them to end theirs, for TUTTI_TIMEOUT at most, then it is TUTTI_TIMEOUT, and
 * `comm` is freed all the same.  Waits until what this rank has sent has arrived.  TUTTI_INVALID_ARGUMENT while
 * requests of it have not been waited for (`comm` and they are as before), unless it is dead: then tutti_wait gives its
 * failure afterwards, too.  NULL is allowed. */
TUTTI_API tutti_status tutti_comm_destroy(tutti_comm *comm);

/* As tutti_comm_destroy, but waits for timeout_ms at most, and is TUTTI_SUCCESS when that is over; 0 says goodbye and
 * goes.  Nobody takes this rank for dead: while this process lives, it goes on passing word of failures on, in the
 * background.  If it ends sooner, the other ranks may hear of failures later: of a death where a rank waits for the dead
 * one (on its host in one to seven seconds), of an abort once a rank that knows of it shares memory with them, or ends its
 * communicator.  With 0, what was sent over TCP may still be under way, and is lost if the host goes with this process. */
TUTTI_API tutti_status tutti_comm_destroy_within(tutti_comm *comm, int timeout_ms);

TUTTI_API int tutti_comm_rank(const tutti_comm *comm);
TUTTI_API int tutti_comm_size(const tutti_comm *comm);

/* The work of a communicator on this rank since its bootstrap.  Calls on memory of devices count as others do, but where
 * kernels carry them out: one that is put on a stream counts at once, and one that is captured into a graph then, not when
 * the graph is launched; what kernels send each other is not counted, nor how long those on streams take. */
typedef struct tutti_stats {
  size_t struct_size;        /* sizeof(tutti_stats); set by the caller */
  uint64_t operations;       /* finished operations */
  uint64_t input_bytes;      /* sum of count × element size over them */
  uint64_t sent_bytes;       /* payload this rank handed to peers */
  uint64_t received_bytes;   /* payload this rank took from peers */
  uint64_t nanoseconds;      /* from start to end of operations, summed; exchanges by algorithm "flat" are not timed */
  uint64_t memory_bytes;     /* memory held by the communicator on this rank, its device's too; not what tutti_alloc gave */
  char last_algorithm[24];   /* of the last operation: "ring", "flat" … */
  char last_reason[104];     /* why it was chosen; on devices "by kernels, …", or "staged, since …; …".  May be cut off */
  char transports[64];       /* per peer kind: "shm 3, tcp 4"; "shm 7, cuda 7" where kernels reach them as well */
  uint32_t last_lanes;       /* stripes in flight */
  uint32_t last_stripe_bytes;
  double last_predicted_us;  /* what the last operation was predicted to take; 0: nothing was predicted */
  /* "" if the last operation was given none; "int8: 64 MiB in packets of 16.1 MiB", or "none: " and why not */
  char last_codec[160];
} tutti_stats;

TUTTI_API tutti_status tutti_comm_stats(const tutti_comm *comm, tutti_stats *stats);

/* Memory that is cheap to communicate from and into: page aligned, zeroed, faulted in, huge pages where the system
 * allows.  Ranks of one host reach each other's where it lies, so large messages of it are not copied.  That holds in
 * calls of `comm`, of all communicators split off it, and of those that it was split off; they take it as input,
 * output, part of either, or on some ranks only.  Local.  The memory belongs to `comm`: it is freed by tutti_free on
 * `comm` or with it, but while an unfinished request of another communicator uses it, it stays.  tutti_free refuses
 * (TUTTI_INVALID_ARGUMENT) what an unfinished request uses.  After a failure of a communicator, what its calls were
 * using has undefined content. */
TUTTI_API tutti_status tutti_alloc(tutti_comm *comm, size_t bytes, void **memory);
TUTTI_API tutti_status tutti_free(tutti_comm *comm, void *memory);

/* How tutti_alloc_with allocates; any of these together, or 0. */
enum {
  /* Not zeroed: has any content.  Spares the system's zeroing where memory so allocated was freed before, whose pages
   * (up to 256 MiB on each rank) the communicators keep for that. */
  TUTTI_ALLOC_UNINITIALIZED = 1,
  /* Does not end with `comm`: stays valid until tutti_free, on NULL or any communicator of this process.  On NULL, any
   * thread may free it at any time, also when all communicators are gone.  While one is left of those that may lend it,
   * it is lent as other memory is; then it is memory like any other. */
  TUTTI_ALLOC_KEEP = 2
};
TUTTI_API tutti_status tutti_alloc_with(tutti_comm *comm, size_t bytes, unsigned flags, void **memory);

/* ---- collectives ---- */

/* The caller's own reduction, for op TUTTI_CUSTOM: of items, `width` elements each that belong together (1; 2 for a value and
 * its place …).  Every count, and in reduce_scatter each rank's, is a multiple of width, and combine sees whole items
 * only, in memory that is aligned to the element if the buffers are.  combine stores left[i] o right[i] in result[i],
 * i < count items; result may be left or right.  It is associative, and commutative except in scans; left comes from
 * lower ranks where there is such an order.  It is called by any thread that drives the communicator, by one at a
 * time for each call, and calls no function of this library. */
typedef struct tutti_reduction {
  void (*combine)(const void *left, const void *right, void *result, size_t count, void *context);
  void *context;
  size_t width;
} tutti_reduction;

/* Per-call options; NULL stands for the defaults.  Options must be equal on all ranks, but for `factor` and `stream`.
 *
 * factor: this rank's input counts as many times, in sums and averages of floating point types (all_reduce, reduce,
 * reduce_scatter, scans; without a codec; else TUTTI_UNSUPPORTED).  Each rank gives its own or none, read before the call
 * returns.  Products are rounded to the type (of 16-bit floats: computed in float32, and rounded with the result where
 * averages are) and lie in memory of the call's own, as large as the input; the input is left as it is. */
typedef struct tutti_call_options {
  size_t struct_size;    /* sizeof(tutti_call_options); set by tutti_call_options_init */
  /* NULL: TUTTI_ALGORITHM, else chosen; "ring", "tree", "recursive", "doubling", "direct", "exchange", "hierarchical" */
  const char *algorithm;
  int timeout_ms;        /* 0: the communicator's.  Longest time without any progress */
  tutti_codec *codec;    /* NULL: elements travel as they are.  all_reduce of sum and avg only, see "gradient compression" */
  const double *factor;  /* NULL: 1.  This rank's input is multiplied by it before it is reduced */
  const tutti_reduction *reduction; /* NULL.  With op TUTTI_CUSTOM; read before the call returns; width equal on all ranks */
  void *stream;          /* NULL, or a cudaStream_t, for memory of its device: the call is put there; see "memory of devices" */
} tutti_call_options;

TUTTI_API void tutti_call_options_init(tutti_call_options *options);
TUTTI_API void tutti_call_options_init_sized(tutti_call_options *options, size_t struct_size);
#define tutti_call_options_init(options) tutti_call_options_init_sized(options, sizeof(tutti_call_options))

/* Memory of devices.  Buffers of every call may be memory of a CUDA device (of cudaMalloc, of any allocator, managed memory).
 * In one call the buffers are memory of devices at all ranks or at none (else TUTTI_MISMATCH); sends and receives do not care
 * what the other end's is.  A rank uses one device per communicator, that of its first call with such memory or of
 * tutti_alloc_device; its first such collective makes what is needed there and waits for the other ranks, also if it only
 * starts or is put on a stream.  Pointers are recognized where the process had loaded CUDA before the communicator was
 * created, or once a call has named a stream; before, and with TUTTI_CUDA=off, they are taken for the host's, where a read
 * of them crashes.  A rank that has no buffer in a call of devices passes a stream, or any pointer to its device.
 *
 *   stream == NULL   The call waits for what the device's legacy default stream holds, and returns when the output is there, as
 *                    cudaMemcpy does; with _start the request ends then.
 *   stream != NULL   TUTTI_SUCCESS means that the call has been put on the stream: it begins when the stream comes to it, and what
 *                    is put on the stream afterwards waits for it.  It returns before; with _start the request ends when the
 *                    output is there.  cudaStreamLegacy and cudaStreamPerThread are allowed.  Streams of different ranks and
 *                    calls may differ; calls on several streams are in order among each other only where the streams are.
 *                    Buffers that the call uses stay valid until the stream has passed it.
 *
 * Sends and receives are not put on a stream: they wait for what the stream in their options, or else the legacy default
 * stream, holds when they are called, and have read or written their buffer when they return, or when their request ends.
 *
 * Calls take their places in the order in which they are made, whatever their streams.  Kernels carry them out where the
 * ranks' devices reach each other's memory; else, and with a codec or a reduction of the caller's, they go through the
 * host's memory in pieces (TUTTI_CUDA_PIECE_BYTES) and use the ranks' transports (docs/cuda.md; tutti_stats says which).
 * Kernels want buffers that begin at a multiple of their element's bytes (else TUTTI_INVALID_ARGUMENT).
 * A call that kernels carry out may be captured into a graph, before its communicator's first one, too; all ranks capture
 * the same calls.  Each launch of the graph is these calls again: all ranks launch theirs in the same order and in the same
 * place among their other calls, and each rank orders a launch, by streams or events, with all other calls of the
 * communicator, blocking ones and other graphs included.  A communicator is destroyed once its graphs have ended.  Other
 * calls are not captured (TUTTI_UNSUPPORTED).
 * After a failure, streams go on within a second, and outputs of calls on them are undefined; tutti_comm_status, or the
 * next call, says why.  tutti_comm_destroy waits for what is on streams. */

/* TUTTI_SUCCESS, or the failure that the next call on `comm` would give at once.  Local, does not wait, so it does not ask
 * CUDA: that a device was lost by a kernel on a stream the next call with its memory finds. */
TUTTI_API tutti_status tutti_comm_status(tutti_comm *comm);

/* As tutti_alloc, memory of a device, of any content: that which calls of `comm` use, or if there have been none the one
 * whose context is the calling thread's.  Kernels of other ranks read large messages in it where they lie.  Local.  May
 * wait for the driver.  tutti_free frees it when all that uses it has ended on the device, streams and graphs included;
 * only what unfinished requests use tutti_free refuses.  The library keeps what is freed for later allocations until the
 * last communicator of the family (`comm`, those split off it …) has ended.  TUTTI_UNSUPPORTED where there is no CUDA;
 * TUTTI_OUT_OF_MEMORY. */
TUTTI_API tutti_status tutti_alloc_device(tutti_comm *comm, size_t bytes, void **memory);

/* output[i] = reduction over ranks of input[i], i < count, on every rank.  In place: output == input. */
TUTTI_API tutti_status tutti_all_reduce(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                        tutti_op op, const tutti_call_options *options);

/* One all-reduce over a list of n tensors, of counts[i] elements at inputs[i] and outputs[i]: the bits are those of
 * tutti_all_reduce of the concatenation, which other ranks may call instead, or with tensors cut elsewhere.  The arrays
 * are read before the call returns.  Small lists are packed, larger ones are not copied.  Not with a codec.  In place:
 * outputs[i] == inputs[i], for any i. */
TUTTI_API tutti_status tutti_all_reduce_list(tutti_comm *comm, const void *const *inputs, void *const *outputs,
                                             const size_t *counts, size_t n, tutti_dtype dtype, tutti_op op,
                                             const tutti_call_options *options);

/* input holds size × count elements, output count: rank r gets the reduction of elements [r·count, (r+1)·count).
 * In place: output == input + rank·count. */
TUTTI_API tutti_status tutti_reduce_scatter(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                            tutti_op op, const tutti_call_options *options);

/* As tutti_reduce_scatter, rank r getting counts[r] elements.  `counts` (size entries) is equal on all ranks. */
TUTTI_API tutti_status tutti_reduce_scatter_v(tutti_comm *comm, const void *input, void *output, const size_t *counts,
                                              tutti_dtype dtype, tutti_op op, const tutti_call_options *options);

/* input holds count elements, output size × count: rank r's input becomes elements [r·count, (r+1)·count) everywhere.
 * In place: input == output + rank·count. */
TUTTI_API tutti_status tutti_all_gather(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                        const tutti_call_options *options);

/* As tutti_all_gather, rank r giving counts[r] elements.  `counts` (size entries) is equal on all ranks. */
TUTTI_API tutti_status tutti_all_gather_v(tutti_comm *comm, const void *input, void *output, const size_t *counts,
                                          tutti_dtype dtype, const tutti_call_options *options);

/* The root's input becomes every rank's output.  input is read at the root only.  In place: output == input at the root. */
TUTTI_API tutti_status tutti_broadcast(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype, int root,
                                       const tutti_call_options *options);

/* The root's output[i] = reduction over ranks of input[i].  output is used at the root only.  In place: output == input
 * at the root. */
TUTTI_API tutti_status tutti_reduce(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype, tutti_op op,
                                    int root, const tutti_call_options *options);

/* Scans.  Rank r's output[i] = reduction over ranks 0 … r of input[i], taken in the order of ranks; of tutti_exscan: over
 * ranks 0 … r-1, and rank 0's output is left as it is (it may be NULL).  Not of TUTTI_AVG.  In place: output == input. */
TUTTI_API tutti_status tutti_scan(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype, tutti_op op,
                                  const tutti_call_options *options);
TUTTI_API tutti_status tutti_exscan(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype, tutti_op op,
                                    const tutti_call_options *options);

/* Every rank's count elements to the root's output of size × count.  In place at the root: input == output + root·count. */
TUTTI_API tutti_status tutti_gather(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype, int root,
                                    const tutti_call_options *options);

/* As tutti_gather, rank r giving counts[r] elements, which lie behind those of the ranks before it.  `counts` (size
 * entries) is equal on all ranks. */
TUTTI_API tutti_status tutti_gather_v(tutti_comm *comm, const void *input, void *output, const size_t *counts, tutti_dtype dtype,
                                      int root, const tutti_call_options *options);

/* The root's input of size × count elements to count elements at every rank.  In place at the root: output == input +
 * root·count. */
TUTTI_API tutti_status tutti_scatter(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype, int root,
                                     const tutti_call_options *options);

/* As tutti_scatter, rank r getting counts[r] elements, which lie behind those of the ranks before it.  `counts` (size
 * entries) is equal on all ranks. */
TUTTI_API tutti_status tutti_scatter_v(tutti_comm *comm, const void *input, void *output, const size_t *counts, tutti_dtype dtype,
                                       int root, const tutti_call_options *options);

/* Elements [j·count, (j+1)·count) of rank i's input become elements [i·count, (i+1)·count) of rank j's output.  In
 * place: output == input, which is copied first. */
TUTTI_API tutti_status tutti_all_to_all(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                        const tutti_call_options *options);

/* As tutti_all_to_all: send_counts[j] elements at input + send_offsets[j] go to rank j; recv_counts[i] elements from
 * rank i go to output + recv_offsets[i].  Arrays of size entries, counts and offsets in elements; recv_counts[i] here
 * equals send_counts[this rank] at rank i.  In place: output == input, and counts and offsets to and from each rank are
 * equal (so what goes to a rank lies where what comes from it will); the input is copied first. */
TUTTI_API tutti_status tutti_all_to_all_v(tutti_comm *comm, const void *input, const size_t *send_counts,
                                          const size_t *send_offsets,
                                          void *output, const size_t *recv_counts, const size_t *recv_offsets, tutti_dtype dtype,
                                          const tutti_call_options *options);

/* Forms whose parts are each at a place of its own: inputs[r] is this rank's part for rank r, outputs[r] its part from rank
 * r.  The arrays have size entries, are read before the call returns, and may be NULL where a rank has no such parts.
 * Nothing is copied for it, and other ranks may call the forms without _parts (_v) instead.  In place as there:
 * input == outputs[rank], output == inputs[rank]; not tutti_all_to_all_parts. */
TUTTI_API tutti_status tutti_all_gather_parts(tutti_comm *comm, const void *input, void *const *outputs, const size_t *counts,
                                              tutti_dtype dtype, const tutti_call_options *options);
TUTTI_API tutti_status tutti_reduce_scatter_parts(tutti_comm *comm, const void *const *inputs, void *output, const size_t *counts,
                                                  tutti_dtype dtype, tutti_op op, const tutti_call_options *options);
TUTTI_API tutti_status tutti_gather_parts(tutti_comm *comm, const void *input, void *const *outputs, const size_t *counts,
                                          tutti_dtype dtype, int root, const tutti_call_options *options);
TUTTI_API tutti_status tutti_scatter_parts(tutti_comm *comm, const void *const *inputs, void *output, const size_t *counts,
                                           tutti_dtype dtype, int root, const tutti_call_options *options);
TUTTI_API tutti_status tutti_all_to_all_parts(tutti_comm *comm, const void *const *inputs, const size_t *send_counts,
                                              void *const *outputs, const size_t *recv_counts, tutti_dtype dtype,
                                              const tutti_call_options *options);

/* Returns when every rank has called it. */
TUTTI_API tutti_status tutti_barrier(tutti_comm *comm, const tutti_call_options *options);

/* ---- gradient compression ---- */

/* A codec compresses what travels in all-reduces (sum, avg) of one tensor of float32, float16 or bfloat16, whatever the
 * algorithm and transport; the files in src/codec/ say what each does, with formula and source.  It owns the tensor's
 * residual, what compression has left out so far at this rank, and adds it to the next call's input (error feedback),
 * so that nothing is lost, only late:
 *     output(t) + sum over ranks of residual(t) = sum over ranks of input(t) + sum over ranks of residual(t-1)
 * All ranks give equal codecs that have seen equally many calls (else TUTTI_MISMATCH); all get bit-identical outputs.
 * A chunk of the tensor in which any rank has an infinity or a not-a-number becomes not-a-numbers on all ranks, and
 * leaves residuals as they are.  Codec fp16 clips what it sends, partial sums and the undivided sums of averages too,
 * to +-65504; with feedback the rest is sent later.  A codec serves one call at a time, of any communicator.  After a
 * call that failed on the way it refuses further calls until it is reset or imported.  Its functions are local and
 * report to tutti_last_error(NULL). */

/* "int8", "topk:ratio=0.01,values=fp16", "auto:int4:group=128" …: [auto:] name [: key=value, …].  Names: fp16, bf16,
 * fp8_e4m3, fp8_e5m2; int8, int4, int2, qsgd, terngrad; sign; topk; randomk.  "auto:" compresses only where measured
 * rates say that it pays; the first such call on a communicator waits for all ranks.  Memory: 4 bytes an element if it
 * has a residual, 4 more with momentum. */
TUTTI_API tutti_status tutti_codec_create(tutti_codec **codec, const char *spec, size_t count, tutti_dtype dtype);

/* The same by fields.  After tutti_codec_config_init all stand for the defaults of `name`. */
typedef struct tutti_codec_config {
  size_t struct_size;   /* sizeof(tutti_codec_config); set by tutti_codec_config_init */
  const char *name;     /* a name as above; required */
  int automatic;        /* 1: "auto:" */
  int feedback;         /* -1: on for biased codecs; 0, 1 */
  int group;            /* 0; elements that share a scale */
  const char *rounding; /* NULL; "nearest", "stochastic" */
  const char *range;    /* NULL; "absmax", "minmax" */
  int levels;           /* 0; of qsgd */
  double ratio;         /* 0; of topk and randomk */
  int k;                /* 0; elements of each chunk instead of a ratio */
  int chunk;            /* 0; elements of a chunk of topk and randomk */
  const char *values;   /* NULL; of topk and randomk: "fp32", "fp16", "bf16", "int8" */
  double momentum;      /* 0; Deep Gradient Compression, of topk, as all that follow; not with `automatic` */
  double clip_norm;     /* 0; takes momentum */
  int masking;          /* -1; 0 (takes momentum), 1 */
  int warmup;           /* 0; calls in each stage of the schedule */
  uint64_t seed;        /* 0; of stochastic rounding and randomk; equal on all ranks */
} tutti_codec_config;
TUTTI_API void tutti_codec_config_init(tutti_codec_config *config);
TUTTI_API void tutti_codec_config_init_sized(tutti_codec_config *config, size_t struct_size);
#define tutti_codec_config_init(config) tutti_codec_config_init_sized(config, sizeof(tutti_codec_config))
TUTTI_API tutti_status tutti_codec_create_from(tutti_codec **codec, const tutti_codec_config *config, size_t count,
                                               tutti_dtype dtype);

/* Refused (TUTTI_INVALID_ARGUMENT) while a call uses the codec.  NULL is allowed. */
TUTTI_API tutti_status tutti_codec_destroy(tutti_codec *codec);

/* The codec as tutti_codec_create would take it, "topk:ratio=0.01".  Belongs to the codec; never NULL. */
TUTTI_API const char *tutti_codec_spec(const tutti_codec *codec);

/* Residual, momentum and number of steps as after creation. */
TUTTI_API tutti_status tutti_codec_reset(tutti_codec *codec);

/* Multiplies the residual.  Where the learning rate multiplies what comes out, call it with old rate / new rate when
 * the rate changes: what was left out then counts at the rate of its own step.  Not needed where gradients are
 * multiplied before they go in. */
TUTTI_API tutti_status tutti_codec_scale(tutti_codec *codec, double factor);

/* L2 norm of this rank's residual, in units of the sum (for avg too).  0 without feedback. */
TUTTI_API tutti_status tutti_codec_norm(const tutti_codec *codec, double *norm);

/* A checkpoint of this rank's residual, momentum and number of steps.  Export: *bytes is the room at `memory` on entry,
 * the length on return; with memory NULL only the length is told.  Import takes what an equal codec of this rank
 * exported, whole; anything else is refused and changes nothing. */
TUTTI_API tutti_status tutti_codec_export(const tutti_codec *codec, void *memory, size_t *bytes);
TUTTI_API tutti_status tutti_codec_import(tutti_codec *codec, const void *memory, size_t bytes);

/* ---- point to point ---- */

#define TUTTI_ANY_SOURCE (-1)
#define TUTTI_ANY_TAG (-1)

/* What a receive got. */
typedef struct tutti_received {
  int source; /* rank of the sender */
  int tag;
  size_t count; /* elements */
} tutti_received;

/* Options of one send or receive; NULL stands for the defaults.  The two ends need not have the same. */
typedef struct tutti_message_options {
  size_t struct_size;       /* sizeof(tutti_message_options); set by tutti_message_options_init */
  int timeout_ms;           /* 0: the communicator's.  Longest time without any progress */
  tutti_received *received; /* NULL; of a receive: filled in when tutti_recv, tutti_wait or tutti_test returns its success */
  void *stream;             /* NULL, or a cudaStream_t: what is on it is waited for, see "memory of devices" */
} tutti_message_options;

TUTTI_API void tutti_message_options_init(tutti_message_options *options);
TUTTI_API void tutti_message_options_init_sized(tutti_message_options *options, size_t struct_size);
#define tutti_message_options_init(options) tutti_message_options_init_sized(options, sizeof(tutti_message_options))

/* `count` elements (0 is a message, too) to `peer`, which receives them by tutti_recv with the same dtype and tag.
 * tag: 0 or more.  A receive takes up to `count` elements, in messages from `peer` or TUTTI_ANY_SOURCE, of `tag` or
 * TUTTI_ANY_TAG; a longer message, or one of another dtype, is TUTTI_MISMATCH.  A message goes to the receive that was
 * called first of those that ask for it, so messages of one rank and tag arrive in order; tags, and what different ranks
 * send, do not wait for each other.  How a rank's messages lie among its collectives is its own affair: a message whose
 * receiver is late keeps nothing else waiting.
 * A send may return before the peer has received, or wait for it; to this rank itself it does not wait, but for
 * tutti_send_start the buffer is in use until the message is received.  Messages that a receive passes over, since it
 * asks for another tag of the same rank, are held in memory of the library's: up to 256 MiB of each sender, or one
 * message of any length; beyond this they must be received before those behind them.  Over TCP a receive from
 * TUTTI_ANY_SOURCE makes connections to all ranks. */
TUTTI_API tutti_status tutti_send(tutti_comm *comm, const void *input, size_t count, tutti_dtype dtype, int peer, int tag,
                                  const tutti_message_options *options);
TUTTI_API tutti_status tutti_recv(tutti_comm *comm, void *output, size_t count, tutti_dtype dtype, int peer, int tag,
                                  const tutti_message_options *options);

/* Between begin and end tutti_send and tutti_recv only take note and return; end carries all of them out at once, as if
 * each had been started by itself, so a ring or exchange of sends and receives cannot deadlock.  Of this thread's calls; it makes
 * no other in between. */
TUTTI_API tutti_status tutti_group_begin(tutti_comm *comm);
TUTTI_API tutti_status tutti_group_end(tutti_comm *comm);
TUTTI_API tutti_status tutti_group_end_start(tutti_comm *comm, tutti_request **request);

/* ---- the same, asynchronous: *request is set on success and must be ended by tutti_wait, or tutti_test saying done ---- */

TUTTI_API tutti_status tutti_all_reduce_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                              tutti_op op, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_all_reduce_list_start(tutti_comm *comm, const void *const *inputs, void *const *outputs,
                                                   const size_t *counts, size_t n, tutti_dtype dtype, tutti_op op,
                                                   const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_reduce_scatter_start(tutti_comm *comm, const void *input, void *output, size_t count,
                                                  tutti_dtype dtype,
                                                  tutti_op op, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_reduce_scatter_v_start(tutti_comm *comm, const void *input, void *output, const size_t *counts,
                                                    tutti_dtype dtype, tutti_op op, const tutti_call_options *options,
                                                    tutti_request **request);
TUTTI_API tutti_status tutti_all_gather_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                              const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_all_gather_v_start(tutti_comm *comm, const void *input, void *output, const size_t *counts,
                                                tutti_dtype dtype, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_broadcast_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                             int root, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_reduce_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                          tutti_op op, int root, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_scan_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                        tutti_op op, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_exscan_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                          tutti_op op, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_gather_start(tutti_comm *comm, const void *input, void *output, size_t count,
                                          tutti_dtype dtype, int root,
                                          const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_gather_v_start(tutti_comm *comm, const void *input, void *output, const size_t *counts,
                                            tutti_dtype dtype, int root, const tutti_call_options *options,
                                            tutti_request **request);
TUTTI_API tutti_status tutti_scatter_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                           int root, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_scatter_v_start(tutti_comm *comm, const void *input, void *output, const size_t *counts,
                                             tutti_dtype dtype, int root, const tutti_call_options *options,
                                             tutti_request **request);
TUTTI_API tutti_status tutti_all_to_all_start(tutti_comm *comm, const void *input, void *output, size_t count, tutti_dtype dtype,
                                              const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_all_to_all_v_start(tutti_comm *comm, const void *input, const size_t *send_counts,
                                                const size_t *send_offsets, void *output, const size_t *recv_counts,
                                                const size_t *recv_offsets, tutti_dtype dtype, const tutti_call_options *options,
                                                tutti_request **request);
TUTTI_API tutti_status tutti_all_gather_parts_start(tutti_comm *comm, const void *input, void *const *outputs,
                                                    const size_t *counts, tutti_dtype dtype, const tutti_call_options *options,
                                                    tutti_request **request);
TUTTI_API tutti_status tutti_reduce_scatter_parts_start(tutti_comm *comm, const void *const *inputs, void *output,
                                                        const size_t *counts, tutti_dtype dtype, tutti_op op,
                                                        const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_gather_parts_start(tutti_comm *comm, const void *input, void *const *outputs, const size_t *counts,
                                                tutti_dtype dtype, int root, const tutti_call_options *options,
                                                tutti_request **request);
TUTTI_API tutti_status tutti_scatter_parts_start(tutti_comm *comm, const void *const *inputs, void *output, const size_t *counts,
                                                 tutti_dtype dtype, int root, const tutti_call_options *options,
                                                 tutti_request **request);
TUTTI_API tutti_status tutti_all_to_all_parts_start(tutti_comm *comm, const void *const *inputs, const size_t *send_counts,
                                                    void *const *outputs, const size_t *recv_counts, tutti_dtype dtype,
                                                    const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_barrier_start(tutti_comm *comm, const tutti_call_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_send_start(tutti_comm *comm, const void *input, size_t count, tutti_dtype dtype, int peer, int tag,
                                        const tutti_message_options *options, tutti_request **request);
TUTTI_API tutti_status tutti_recv_start(tutti_comm *comm, void *output, size_t count, tutti_dtype dtype, int peer, int tag,
                                        const tutti_message_options *options, tutti_request **request);

/* Waits for the operation and frees the request, also on failure.  NULL is TUTTI_SUCCESS. */
TUTTI_API tutti_status tutti_wait(tutti_request *request);

/* *done = 1 and the request is freed if the operation has ended (its status is returned), else *done = 0 and TUTTI_SUCCESS. */
TUTTI_API tutti_status tutti_test(tutti_request *request, int *done);

/* As tutti_wait, but gives up waiting after timeout_ms: then *done = 0 and TUTTI_SUCCESS, the request is as before, and
 * the library's thread goes on with the operation at once; after tutti_test it leaves that to the caller for a moment. */
TUTTI_API tutti_status tutti_wait_for(tutti_request *request, int timeout_ms, int *done);

/* `function(context)` is called once, when the operation has ended, with success or not, by whichever thread finds that:
 * this one at once, one that waits for something, or a thread of the library's, on which it keeps all asynchronous calls of
 * the process waiting, so it should be short.  No lock of the library's is held: it may call anything but
 * tutti_comm_destroy; then tutti_test and tutti_wait end the request without waiting, as somebody must.  It may run
 * before this returns.  Once for each request. */
typedef void (*tutti_notify_function)(void *context);
TUTTI_API tutti_status tutti_request_notify(tutti_request *request, tutti_notify_function function, void *context);

#ifdef __cplusplus
}
#endif
#endif

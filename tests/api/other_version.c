/* A caller compiled against another version of the header than the library: OLDER has one member fewer in each struct,
 * NEWER one more.
 * Behind each struct lie bytes that the library must neither write nor take for members. */
#include OTHER_HEADER

#include <stdio.h>
#include <string.h>

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      printf("line %d: %s; %s\n", __LINE__, #condition, tutti_last_error(NULL));    \
      return 1;                                                                     \
    }                                                                               \
  } while (0)

enum { kGuard = 0xA5 };

#define GUARDED(type, name)   \
  struct {                    \
    type it;                  \
    unsigned char guard[256]; \
  } name;                     \
  memset(&name, kGuard, sizeof name)

static int untouched(const unsigned char *guard) {
  int i;
  for (i = 0; i < 256; ++i)
    if (guard[i] != kGuard) return 0;
  return 1;
}

#ifdef NEWER
/* Whether the last failure names the struct and its size in the caller's header, and says that the library is older. */
static int explains(const char *text, const char *name, size_t size) {
  char bytes[32];
  snprintf(bytes, sizeof bytes, " %u bytes", (unsigned)size);
  return strstr(text, name) != NULL && strstr(text, bytes) != NULL && strstr(text, "older than the header") != NULL;
}
#endif

static int create(tutti_comm **comm) {
  tutti_unique_id id;
  GUARDED(tutti_config, config);
  CHECK(tutti_get_unique_id(&id) == TUTTI_SUCCESS);
  tutti_config_init(&config.it);
  CHECK(untouched(config.guard) && config.it.struct_size == sizeof config.it && config.it.rank == -1 && config.it.store == NULL);
  config.it.rank = 0;
  config.it.size = 1;
  config.it.id = &id;
#ifdef NEWER
  CHECK(config.it.added_later == 0);
  config.it.added_later = 7;
  CHECK(tutti_comm_create(comm, &config.it) == TUTTI_UNSUPPORTED && *comm == NULL);
  CHECK(explains(tutti_last_error(NULL), "tutti_config", sizeof config.it));
  config.it.added_later = 0;
#endif
  CHECK(tutti_comm_create(comm, &config.it) == TUTTI_SUCCESS);
  return 0;
}

static int message(tutti_comm *comm) {
  float value = 3, got = 0;
  GUARDED(tutti_message_options, options);
  tutti_message_options_init(&options.it);
  CHECK(untouched(options.guard) && options.it.struct_size == sizeof options.it && options.it.timeout_ms == 0);
  CHECK(tutti_send(comm, &value, 1, TUTTI_FLOAT32, 0, 5, &options.it) == TUTTI_SUCCESS);
#ifdef NEWER
  options.it.added_later = 7;
  CHECK(tutti_recv(comm, &got, 1, TUTTI_FLOAT32, 0, 5, &options.it) == TUTTI_UNSUPPORTED);
  CHECK(explains(tutti_last_error(comm), "tutti_message_options", sizeof options.it));
  options.it.added_later = 0;
#endif
  CHECK(tutti_recv(comm, &got, 1, TUTTI_FLOAT32, 0, 5, &options.it) == TUTTI_SUCCESS);
  CHECK(got == 3);
  return 0;
}

static int call(tutti_comm *comm) {
  float value = 3, sum = 0;
  GUARDED(tutti_call_options, options);
  tutti_call_options_init(&options.it);
  CHECK(untouched(options.guard) && options.it.struct_size == sizeof options.it && options.it.timeout_ms == 0);
  options.it.algorithm = "no such algorithm";
  CHECK(tutti_all_reduce(comm, &value, &sum, 1, TUTTI_FLOAT32, TUTTI_SUM, &options.it) == TUTTI_INVALID_ARGUMENT);
  options.it.algorithm = "ring";
#ifdef NEWER
  options.it.added_later = 7;
  CHECK(tutti_all_reduce(comm, &value, &sum, 1, TUTTI_FLOAT32, TUTTI_SUM, &options.it) == TUTTI_UNSUPPORTED);
  CHECK(explains(tutti_last_error(comm), "tutti_call_options", sizeof options.it));
  options.it.added_later = 0;
#endif
  CHECK(tutti_all_reduce(comm, &value, &sum, 1, TUTTI_FLOAT32, TUTTI_SUM, &options.it) == TUTTI_SUCCESS);
  CHECK(sum == 3);
  return 0;
}

static int ask(tutti_comm *comm) {
  GUARDED(tutti_stats, stats);
  stats.it.struct_size = sizeof stats.it;
  CHECK(tutti_comm_stats(comm, &stats.it) == TUTTI_SUCCESS);
  CHECK(untouched(stats.guard) && stats.it.struct_size == sizeof stats.it);
  CHECK(stats.it.operations == 1 && stats.it.input_bytes == 4 && strcmp(stats.it.last_algorithm, "ring") == 0);
#ifdef NEWER
  CHECK(stats.it.added_later == 0);
#endif
  return 0;
}

static int compress(void) {
  tutti_codec *codec = NULL;
  GUARDED(tutti_codec_config, config);
  tutti_codec_config_init(&config.it);
  CHECK(untouched(config.guard) && config.it.struct_size == sizeof config.it && config.it.feedback == -1 && config.it.name == NULL);
  config.it.name = "topk";
  config.it.ratio = 0.25;
#ifdef NEWER
  config.it.added_later = 7;
  CHECK(tutti_codec_create_from(&codec, &config.it, 1000, TUTTI_FLOAT32) == TUTTI_UNSUPPORTED && codec == NULL);
  CHECK(explains(tutti_last_error(NULL), "tutti_codec_config", sizeof config.it));
  config.it.added_later = 0;
#endif
  CHECK(tutti_codec_create_from(&codec, &config.it, 1000, TUTTI_FLOAT32) == TUTTI_SUCCESS);
  CHECK(strcmp(tutti_codec_spec(codec), "topk:ratio=0.25") == 0);
  CHECK(tutti_codec_destroy(codec) == TUTTI_SUCCESS);
  return 0;
}

int main(void) {
  tutti_comm *comm = NULL;
  if (create(&comm) || call(comm) || ask(comm) || message(comm) || compress()) return 1;
  return tutti_comm_destroy(comm) == TUTTI_SUCCESS ? 0 : 1;
}

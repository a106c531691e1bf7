/* The public header compiled alone, as strict C99 and as C++, and linked: every type has its size, every constant its number. */
#include <tutti/tutti.h>

typedef char status_is_numbered[TUTTI_SUCCESS == 0 && TUTTI_INTERNAL == 10 ? 1 : -1];
typedef char dtype_is_numbered[TUTTI_INT8 == 0 && TUTTI_FLOAT64 == 9 ? 1 : -1];
typedef char op_is_numbered[TUTTI_SUM == 0 && TUTTI_AVG == 4 ? 1 : -1];
typedef char id_has_128_bytes[sizeof(tutti_unique_id) == 128 ? 1 : -1];

int main(void) {
  tutti_config config;
  tutti_call_options options;
  status_is_numbered status = {0};
  dtype_is_numbered dtype = {0};
  op_is_numbered op = {0};
  id_has_128_bytes id = {0};
  tutti_config_init(&config);
  tutti_call_options_init(&options);
  if (config.struct_size != sizeof config || config.rank != -1 || config.size != -1 || config.store != NULL) return 1;
  if (options.struct_size != sizeof options || options.algorithm != NULL || options.timeout_ms != 0) return 2;
  return tutti_version()[0] == '0' + TUTTI_VERSION_MAJOR ? status[0] + dtype[0] + op[0] + id[0] : 3;
}

// The output for a person on stdout: nccl-tests' table, or OSU's.  Everything else stands on lines that begin with
// '#', and every line is flushed as it comes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "measure.h"
#include "memcpy_limit.h"
#include "roster.h"

namespace tutti::bench {

// "# text".  All of the tool's own lines go through here.
void comment(const std::string& text);

// A requested size and the choice for it.
struct Chosen {
  uint64_t bytes;
  Choice choice;
};

// `devices`: by rank; empty: buffers are in the host's memory.
void print_opening(const Options& options, const Roster& roster, const std::vector<DeviceInfo>& devices, const Rotation& rotation,
                   const MemcpyLimit& limit, const Placement& placement);
// One line for each range of sizes that Tutti treats alike.
void print_choices(const std::vector<Chosen>& chosen);

void print_header(const Options& options);
void print_row(const Options& options, const Row& row);
void print_codec(const CodecFigures& figures);  // below its row
// nccl-tests' footer.
void print_footer(const Options& options, const std::vector<Row>& rows);

uint64_t wrong_values(const std::vector<Row>& rows);
double mean_bus_bandwidth(const std::vector<Row>& rows);

// Which algorithm won each size, out of place, of the tables of a sweep.
struct Sweep {
  std::string algorithm;
  std::vector<Row> rows;
};
void print_fastest(const std::vector<Sweep>& sweeps);
// "4 ranks over shared memory: 64 MiB all-reduce in 12.3 ms, 5.4 GB/s … all results correct."
void print_closing(const Options& options, const std::vector<Row>& rows, const MemcpyLimit& limit);

}  // namespace tutti::bench

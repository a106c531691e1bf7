#include "workload.h"

#include <algorithm>
#include <array>

#include "bench_types.h"

namespace tutti::bench {
namespace {

constexpr std::array<std::string_view, 12> kNames{"all_reduce", "reduce_scatter", "all_gather", "broadcast",
                                                  "reduce",     "gather",         "scatter",    "all_to_all",
                                                  "scan",       "exscan",         "barrier",    "send_recv"};

// Input and output of a slot start on lines of their own.
constexpr size_t kLine = 128;
size_t lined(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

bool input_is_larger(Kind kind) { return kind == Kind::reduce_scatter || kind == Kind::scatter; }
bool output_is_larger(Kind kind) { return kind == Kind::all_gather || kind == Kind::gather; }
bool scans(Kind kind) { return kind == Kind::scan || kind == Kind::exscan; }
bool all_are_divided(Kind kind) { return input_is_larger(kind) || output_is_larger(kind) || kind == Kind::all_to_all; }

bool same_letters(std::string_view text, std::string_view name) {
  size_t at = 0;
  for (const char c : text) {
    if (c == '-' || c == '_') continue;
    while (at < name.size() && name[at] == '_') ++at;
    if (at == name.size() || name[at++] != c) return false;
  }
  return at == name.size();
}

bool has_input(const Workload& work) {
  if (work.kind == Kind::broadcast || work.kind == Kind::scatter) return work.rank == work.root;
  return work.kind != Kind::barrier;
}

bool has_output(const Workload& work) {
  if (work.kind == Kind::reduce || work.kind == Kind::gather) return work.rank == work.root;
  if (work.kind == Kind::exscan) return work.rank > 0;
  return work.kind != Kind::barrier;
}

}  // namespace

std::span<const std::string_view> kind_names() { return kNames; }
std::string_view name(Kind kind) { return kNames[static_cast<size_t>(kind)]; }

std::optional<Kind> kind_named(std::string_view text) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (same_letters(text, kNames[i])) return static_cast<Kind>(i);
  return std::nullopt;
}

bool reduces(Kind kind) { return kind == Kind::all_reduce || kind == Kind::reduce_scatter || kind == Kind::reduce || scans(kind); }

bool may_be_called(Kind kind, tutti_op op, tutti_dtype type) {
  return !reduces(kind) || (is_defined(op, type) && !(scans(kind) && op == TUTTI_AVG));
}

bool rooted(Kind kind) { return kind == Kind::broadcast || kind == Kind::reduce || kind == Kind::gather || kind == Kind::scatter; }

bool has_in_place(Kind kind) { return kind != Kind::barrier && kind != Kind::send_recv; }

double bus_factor(Kind kind, int ranks) {
  const double others = static_cast<double>(ranks - 1) / ranks;
  if (kind == Kind::all_reduce) return 2 * others;
  return all_are_divided(kind) ? others : 1;
}

Workload Workload::of(Kind kind, uint64_t bytes, tutti_dtype type, tutti_op op, int root, int rank, int ranks) {
  Workload work{kind, type, op, rooted(kind) ? root : -1, rank, ranks, 0};
  if (kind == Kind::barrier) return work;
  const uint64_t elements = bytes / type_size(type) / (all_are_divided(kind) ? static_cast<uint64_t>(ranks) : 1);
  work.count = std::max<size_t>(elements, 1);
  return work;
}

size_t Workload::bytes() const { return std::max(input_elements(), output_elements()) * type_size(type); }

size_t Workload::input_elements() const {
  return input_is_larger(kind) || kind == Kind::all_to_all ? count * static_cast<size_t>(ranks) : count;
}

size_t Workload::output_elements() const {
  return output_is_larger(kind) || kind == Kind::all_to_all ? count * static_cast<size_t>(ranks) : count;
}

size_t Workload::buffer_bytes() const {
  return lined(input_elements() * type_size(type)) + lined(output_elements() * type_size(type));
}

Placed place(const Workload& work, std::byte* slot, bool in_place) {
  // Where this rank's share begins.
  const size_t part = work.count * type_size(work.type) * static_cast<size_t>(work.rank);
  Placed data{slot, slot};
  if (!in_place) data.output = slot + lined(work.input_elements() * type_size(work.type));
  const bool at_root = !rooted(work.kind) || work.rank == work.root;
  if (in_place && at_root && input_is_larger(work.kind)) data.output = slot + part;
  if (in_place && at_root && output_is_larger(work.kind)) data.input = slot + part;
  if (!has_input(work)) data.input = nullptr;
  if (!has_output(work)) data.output = nullptr;
  return data;
}

std::vector<Expected> expected_output(const Workload& work) {
  const size_t share = work.count * static_cast<size_t>(work.rank);
  std::vector<Expected> runs;
  if (!has_output(work)) return runs;
  switch (work.kind) {
    case Kind::all_reduce:
    case Kind::reduce: runs.push_back({0, work.count, -work.ranks, 0}); break;
    case Kind::reduce_scatter: runs.push_back({0, work.count, -work.ranks, share}); break;
    case Kind::scan: runs.push_back({0, work.count, -work.rank - 1, 0}); break;
    case Kind::exscan: runs.push_back({0, work.count, -work.rank, 0}); break;
    case Kind::broadcast: runs.push_back({0, work.count, work.root, 0}); break;
    case Kind::scatter: runs.push_back({0, work.count, work.root, share}); break;
    case Kind::send_recv: runs.push_back({0, work.count, (work.rank + work.ranks - 1) % work.ranks, 0}); break;
    case Kind::all_gather:
    case Kind::gather:
      for (int r = 0; r < work.ranks; ++r) runs.push_back({static_cast<size_t>(r) * work.count, work.count, r, 0});
      break;
    case Kind::all_to_all:
      for (int r = 0; r < work.ranks; ++r) runs.push_back({static_cast<size_t>(r) * work.count, work.count, r, share});
      break;
    case Kind::barrier: break;
  }
  return runs;
}

tutti_status call(tutti_comm* comm, const Workload& work, const Placed& data, const tutti_call_options* options) {
  const auto& [kind, type, op, root, rank, ranks, count] = work;
  switch (kind) {
    case Kind::all_reduce: return tutti_all_reduce(comm, data.input, data.output, count, type, op, options);
    case Kind::reduce_scatter: return tutti_reduce_scatter(comm, data.input, data.output, count, type, op, options);
    case Kind::all_gather: return tutti_all_gather(comm, data.input, data.output, count, type, options);
    case Kind::broadcast: return tutti_broadcast(comm, data.input, data.output, count, type, root, options);
    case Kind::reduce: return tutti_reduce(comm, data.input, data.output, count, type, op, root, options);
    case Kind::scan: return tutti_scan(comm, data.input, data.output, count, type, op, options);
    case Kind::exscan: return tutti_exscan(comm, data.input, data.output, count, type, op, options);
    case Kind::gather: return tutti_gather(comm, data.input, data.output, count, type, root, options);
    case Kind::scatter: return tutti_scatter(comm, data.input, data.output, count, type, root, options);
    case Kind::all_to_all: return tutti_all_to_all(comm, data.input, data.output, count, type, options);
    case Kind::barrier: return tutti_barrier(comm, options);
    case Kind::send_recv: break;
  }
  // A ring: everyone sends to the next rank and receives from the one before.
  if (const tutti_status s = tutti_group_begin(comm); s != TUTTI_SUCCESS) return s;
  const tutti_status sent = tutti_send(comm, data.input, count, type, (rank + 1) % ranks, 0, nullptr);
  const tutti_status received = tutti_recv(comm, data.output, count, type, (rank + ranks - 1) % ranks, 0, nullptr);
  const tutti_status ended = tutti_group_end(comm);
  if (sent != TUTTI_SUCCESS) return sent;
  return received != TUTTI_SUCCESS ? received : ended;
}

}  // namespace tutti::bench

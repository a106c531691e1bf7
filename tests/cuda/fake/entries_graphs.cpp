// Graphs.
#include "entries.h"
#include "graphs.h"

namespace fake_cuda {
namespace {

Error capture_info(CUstream handle, CaptureStatus* status, uint64_t* number) {
  const auto stream = stream_of(handle);
  if (!stream) return Error::invalid_handle;
  *status = capture_status(*stream, number);
  return Error::success;
}

Error stream_begin_capture(CUstream handle, CaptureMode mode) {
  const auto stream = stream_of(handle);
  if (!stream) return Error::invalid_handle;
  if (stream == stream->context.legacy) return Error::stream_capture_unsupported;
  return begin_capture(stream, mode);
}

Error stream_end_capture(CUstream handle, CUgraph* out) {
  *out = nullptr;
  const auto stream = stream_of(handle);
  if (!stream) return Error::invalid_handle;
  std::shared_ptr<Graph> graph;
  const Error error = end_capture(*stream, graph);
  if (graph) *out = registry<Graph>().add<CUgraph>(std::move(graph));
  return error;
}

Error exchange_capture_mode(CaptureMode* mode) {
  *mode = exchange_mode(*mode);
  return Error::success;
}

// A graph that is ready is a graph of its own; its handle is that of another type.
struct ReadyGraph {
  Graph graph;
};

Error graph_instantiate(CUgraphExec* out, CUgraph handle, unsigned long long) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  const auto graph = registry<Graph>().find(handle);
  if (!graph) return Error::invalid_handle;
  *out = registry<ReadyGraph>().add<CUgraphExec>(std::make_shared<ReadyGraph>(ReadyGraph{*graph}));
  return Error::success;
}

Error graph_launch(CUgraphExec handle, CUstream on) {
  auto graph = registry<ReadyGraph>().find(handle);
  if (!graph) return Error::invalid_handle;
  return put_on(on, [graph = std::move(graph)] { return run_graph(graph->graph); });
}

Error graph_exec_destroy(CUgraphExec handle) {
  return registry<ReadyGraph>().remove(handle) ? Error::success : Error::invalid_handle;
}
Error graph_destroy(CUgraph handle) { return registry<Graph>().remove(handle) ? Error::success : Error::invalid_handle; }

}  // namespace

std::vector<Row> graph_rows() {
  return {
      row<"cuStreamGetCaptureInfo", &capture_info>(),
      row<"cuStreamBeginCapture", &stream_begin_capture>(),
      row<"cuStreamEndCapture", &stream_end_capture>(),
      row<"cuThreadExchangeStreamCaptureMode", &exchange_capture_mode>(),
      row<"cuGraphInstantiateWithFlags", &graph_instantiate>(),
      row<"cuGraphLaunch", &graph_launch>(),
      row<"cuGraphExecDestroy", &graph_exec_destroy>(),
      row<"cuGraphDestroy", &graph_destroy>(),
  };
}

}  // namespace fake_cuda

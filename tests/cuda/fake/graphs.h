#pragma once

#include "streams.h"

namespace fake_cuda {

CaptureMode exchange_mode(CaptureMode mode);  // of the calling thread
Error begin_capture(const std::shared_ptr<Stream>& stream, CaptureMode mode);
Error end_capture(Stream& stream, std::shared_ptr<Graph>& graph);
CaptureStatus capture_status(Stream& stream, uint64_t* number = nullptr);  // `number`: of its capture
void invalidate(Stream& stream);  // its capture, if there is one
// The event stands for what has been captured on the stream; false where nothing is being captured.
bool record_captured(Stream& stream, Event& event);
// The stream joins the event's capture.
Error wait_captured(Stream& stream, const Event& event);
Error run_graph(const Graph& graph);

}  // namespace fake_cuda

// From a call to the operation that carries it out: which algorithm serves it, the program, where its blocks lie, how
// it is cut.
//
// Everything that may fail happens in route() and prepare…(), before the engine is asked; none of it changes what
// another call sees.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "algorithms.h"
#include "communicator_parts.h"
#include "device_program.h"
#include "engine.h"
#include "plan.h"
#include "recent_memory.h"
#include "route.h"
#include "routed_call.h"
#include "staged_operation.h"
#include "tuning.h"

namespace tutti {

// A program and the slots that one stripe of it takes.
struct Compiled {
  std::shared_ptr<const Program> program;
  uint32_t slots = 0;
};

// A call that is ready to become an operation.
struct PreparedCall {
  std::string_view algorithm;
  Signature signature;
  Compiled compiled;
  Binding binding;
  Cut cut{1, 64};
  Arithmetic arithmetic;
  PlanOperation::Tags tags;
  std::unique_ptr<StagedData> staged;       // the call's data, if a StagedOperation is to carry it out
  std::unique_ptr<CustomReduction> custom;  // by which it is reduced
  std::unique_ptr<CodedPayload> coded;      // if it travels compressed

  std::shared_ptr<Operation> make(LinkTable& link_table);  // once
};

// A codec's tensor that TensorCodec::begin() has taken for a call: given back as it was, unless the call is started.
class TensorTaken {
 public:
  explicit TensorTaken(std::shared_ptr<TensorCodec> tensor) : tensor_(std::move(tensor)) {}
  TensorTaken(TensorTaken&&) = default;
  TensorTaken& operator=(TensorTaken&&) = delete;
  ~TensorTaken();
  void keep() { tensor_.reset(); }

 private:
  std::shared_ptr<TensorCodec> tensor_;
};

// The packets that a codec makes of a whole tensor.
Packed packed_by(const TensorCodec& tensor);

class Dispatch {
 public:
  // Both outlive this.
  Dispatch(const CommunicatorParts& parts, Engine& engine);

  // Before the first call that has a choice; equal on all ranks.
  void tune(const std::shared_ptr<const Tuning>& tuning);
  const RouteTerms& terms() const { return terms_; }

  using Routed = std::shared_ptr<const RoutedCall>;
  // Where a call without a codec leads.  Repeated calls are the rule: that of the last one is kept.  `lent`: all ranks'
  // buffers are of tutti_alloc.
  Result<Routed> route(const Call& call, bool lent = false);
  Result<Routed> route_anew(const Call& call, bool lent = false) const;  // nothing is kept
  const RoutedCall* last_route() const { return last_.get(); }
  const Routed& repeated() const { return last_; }
  // Should the ranks ask each other whether all their buffers can be lent?  All ranks answer alike.
  bool asks_whether_lent(const Call& call, const RoutedCall& routed) const;
  bool can_lend(const Call& call, uint64_t bytes) const;  // this rank's buffers

  Result<PreparedCall> prepare(const Call& call, const RoutedCall& routed, uint32_t sequence);
  // With a codec: routed, too.
  struct Coded {
    Routed routed;
    Packed packed;
    TensorTaken tensor;
    PreparedCall prepared;
  };
  Result<Coded> prepare_coded(const Call& call, uint32_t sequence);

  // Operations of messages, one of each: first the receives.  `copies`: of messages to this rank itself.
  Engine::Operations messages(const std::vector<Message>& messages, bool copies, LinkTable& link_table);
  static Routed route_of(const std::vector<Message>& messages);

  // A call as kernels of a device carry it out.
  struct ForDevice {
    Route route;
    Signature signature;
    std::shared_ptr<const Program> program;
    const DeviceProgram* flat = nullptr;  // the program as kernels read it
    DeviceProtocol protocol = DeviceProtocol::flagged;
    Cut cut{1, 64};
  };
  // kFlat as route: they do not.
  Result<Route> route_on_device(const Call& call) const { return tutti::route_on_device(terms_, kind_of(call, bytes_of(call))); }
  // Partial sums of such a call would be rounded, and no kernel computes them wide.
  bool rounds_twice(const Call& call, const Route& route) const {
    return averages_halves(call) && makes_partial_sums(call.collective, route.name, terms_.team);
  }
  Result<ForDevice> prepare_for_device(const Call& call, const Route& route, uint32_t sequence, const DeviceSlots& slots);
  // Where the elements of this rank's input lie, and where each would be in a copy of all.
  std::vector<StagedData::Input> inputs_of(const Call& call) const;
  uint64_t bytes_of(const Call& call) const { return total_count(call, parts_.size) * element_size(call.type); }

  // Fills in what every queued operation has besides.
  std::shared_ptr<Operation> equipped(std::shared_ptr<Operation> operation, const Call& call, uint64_t bytes) const;

  Signature sign(const Call& call, uint8_t algorithm, uint32_t sequence) const {
    return signature_of(call, parts_.size, algorithm, parts_.context, sequence);
  }
  Arithmetic arithmetic_of(const Call& call) const;  // but for its output_store
  static bool is_staged(const Call& call) {
    const bool exchanges_in_place = call.collective == Collective::all_to_all && call.input == call.output;
    return call.factor || (exchanges_in_place && call.input);
  }
  // Makes of a call that is staged, or wide, the one over data that are made ready for it.
  // `packs`: of a list one tensor, whose parts go to the outputs afterwards.
  std::unique_ptr<StagedData> stage(Call& call, bool wide = false, bool packs = false) const;
  // Through the caches or past them (recent_memory.h).  `bytes`: of the whole data.
  kernels::Store output_store(const Call& call, uint64_t bytes);

  // A call of two ranks of this communicator by a plan of theirs alone, for measuring; float32, sum.
  Compiled compile_for(const Plan& plan, Collective collective, int root);
  PreparedCall prepare_pair(const Compiled& compiled, Collective collective, const void* input, void* output, uint64_t bytes) const;

 private:
  CallKind kind_of(const Call& call, uint64_t bytes) const;
  const Compiled& program_of(uint8_t algorithm, Collective collective, int root);
  bool must_be_wide(const Call& call, const RoutedCall& routed) const;
  void bind(const Call& call, const RoutedCall& routed, PreparedCall& prepared) const;
  Status fits(const Call& call, const PreparedCall& prepared) const;
  Signature sign_message(const Message& message) const;
  std::shared_ptr<PlanOperation> make_transfer(bool send, int peer, std::byte* data, const Signature& message,
                                               LinkTable& link_table);
  std::shared_ptr<Operation> make_message(const Message& message, bool copies, LinkTable& link_table);

  static constexpr uint64_t kLeastStreamed = 64 << 10;  // bytes of output; of less nothing was gained

  const CommunicatorParts& parts_;
  Engine& engine_;
  RouteTerms terms_;
  Routed last_, last_lent_;
  std::map<std::pair<uint8_t, int>, Compiled> programs_;              // by (algorithm, root)
  std::map<std::pair<uint8_t, int>, DeviceProgram> device_programs_;  // likewise
  std::map<std::pair<int, bool>, Compiled> message_programs_;         // by (peer, is a send)
  RecentMemory recent_;
};

}  // namespace tutti

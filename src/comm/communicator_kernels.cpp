// How a communicator runs a call on device memory by kernels (device_kernels.h).
#include <algorithm>
#include <utility>

#include "communicator.h"
#include "device_kernels.h"
#include "device_operation.h"
#include "with_memory.h"

namespace tutti {
namespace {

constexpr const char* kInTheMiddle = " cannot go on in the middle of a call: ";

std::vector<int> ranks_of(const Program& program) {
  std::vector<int> ranks;
  for (const Program::Peer& peer : program.peers) ranks.push_back(peer.rank);
  return ranks;
}

}  // namespace

std::string Communicator::why_never_kernels() const {
  if (parts_->settings.cuda == DeviceUse::staged) return "TUTTI_CUDA=staged";
  if (parts_->team.hosts() > 1) return "the ranks are on several hosts";
  const int most = DeviceKernels::kMostRanks;
  return parts_->size > most ? "there are more than " + std::to_string(most) + " ranks" : "";
}

// Some calls of the library's own.  Whether kernels can be used all ranks find out alike; why not, each for itself.  A
// rank that fails in between goes on from there when its call comes again: the others have been answered.
Status Communicator::meet_on_devices(const Call& about) {
  if (met_on_devices_) return {};
  std::string why = why_never_kernels();
  if (why.empty()) {
    if (!connected_) {
      meeting_ = std::make_unique<DeviceKernels>(*parts_, device_->context());
      const DeviceCard mine = meeting_->make_ready();
      std::vector<DeviceCard> cards(static_cast<size_t>(parts_->size));
      Call question;
      question.collective = Collective::all_gather;
      question.input = &mine;
      question.output = cards.data();
      question.count = sizeof mine;
      question.about = &about;
      question.service = {kQuestion, sequence_of(about), 0};
      question.timeout_ns = about.timeout_ns;
      if (Status status = run_service(question); !status.ok()) return status;
      connected_ = with_memory([&] { return meeting_->connect(cards); });
    }
    if (!all_connected_) {
      const auto all = all_say(connected_->ok(), about);
      if (!all.ok()) return all.status();
      all_connected_ = *all;
    }
    bool all_heard = false;
    if (*all_connected_) {
      if (!heard_) heard_ = with_memory([&] { return meeting_->hear(); });
      const auto all = all_say(heard_->ok(), about);
      if (!all.ok()) return all.status();
      all_heard = *all;
    }
    if (all_heard) {
      meeting_->begin();
      kernels_ = std::move(meeting_);
      ready_kernels_.store(kernels_.get(), std::memory_order_release);
    } else {
      meeting_.reset();
      if_possible([&] {
        why = !connected_->ok()         ? connected_->message()
              : heard_ && !heard_->ok() ? heard_->message()
                                        : "another rank cannot use kernels";
      });
    }
  }
  met_on_devices_ = true;
  if_possible([&] {
    why_no_kernels_ = why;
    parts_->log.info("communicator " + parts_->name + ": memory of devices is " +
                     (kernels_ ? "reduced and moved by kernels, in up to " + std::to_string(kernels_->lanes()) + " lanes"
                               : "copied through the host's: " + why));
  });
  return {};
}

// None: the call goes through the host's memory.  All ranks decide alike.
Result<std::optional<Route>> Communicator::kernel_route(const Call& call, std::string& why_not) {
  using Answer = std::optional<Route>;
  if (call.collective == Collective::barrier || call.codec) return Answer();
  if (call.custom) {
    why_not = "a reduction of the caller's own runs on the host";
    return Answer();
  }
  if (Status status = meet_on_devices(call); !status.ok()) return status;
  why_not = why_no_kernels_;
  if (!kernels_) return Answer();
  auto route = dispatch_->route_on_device(call);
  if (!route.ok()) return route.status();
  if (route->algorithm == kFlat)
    why_not = "algorithm flat is the host's";
  else if (dispatch_->rounds_twice(call, *route))
    why_not = "its partial sums would be rounded";
  else
    return Answer(std::move(*route));
  return Answer();
}

// CUDA's loads and stores must be aligned; one that is not would cost the process its context.
Status Communicator::check_alignment(const Call& call) const {
  const size_t element = element_size(call.type);
  const size_t parts = call.list_counts ? call.list_length : static_cast<size_t>(parts_->size);
  bool aligned = true;
  const auto check = [&](const void* memory) { aligned = aligned && reinterpret_cast<uintptr_t>(memory) % element == 0; };
  check(call.input);
  check(call.output);
  for (size_t i = 0; call.inputs && i < parts; ++i) check(call.inputs[i]);
  for (size_t i = 0; call.outputs && i < parts; ++i) check(call.outputs[i]);
  if (aligned) return {};
  return Status(Code::invalid_argument, "tutti_" + std::string(name(call.collective)) +
                                            ": a buffer in a device's memory begins at "
                                            "an address that is no multiple of its element's " +
                                            std::to_string(element) + " bytes");
}

// The number that the device counts to when it has ended, if that is asked for.
Result<uint32_t> Communicator::put_kernels(const Call& call, const Route& route, bool counted) {
  if (Status status = check_alignment(call); !status.ok()) return status;
  const uint32_t sequence = sequence_of(call);
  const auto ready = dispatch_->prepare_for_device(call, route, sequence, kernels_->slots());
  if (!ready.ok()) return ready.status();
  const cuda::CurrentContext current(*device_->context());
  if (!current.status().ok()) return current.status();
  auto noted = std::make_shared<RoutedCall>();
  noted->collective = call.collective;
  noted->type = call.type;
  noted->op = call.op;
  noted->on_device = true;
  noted->count = call.count;
  noted->bytes = dispatch_->bytes_of(call);
  noted->route = route;
  const std::string how = "by kernels, " + std::string(kDeviceProtocols[static_cast<size_t>(ready->protocol)]);
  noted->route.reason = how + "; " + route.reason;
  std::string lent_reason = how + ", large messages lent; " + route.reason;  // nothing may be missing once kernels are launched
  noted->predictable = false;
  auto number = with_memory([&]() -> Result<uint32_t> {
    const Program& program = *ready->program;
    kernels_->begin_call({ready->signature, program.steps, call.timeout_ns}, call.stream, counted);
    std::vector<size_t> offsets;
    const Call bound = with_own_input(call, offsets);
    const Binding binding = binding_of(bound, parts_->rank, parts_->size, program.blocks, ready->cut.stripe_bytes);
    kernels_->launch({*ready->flat, ranks_of(program), binding, call.type, call.op, ready->cut.lanes, ready->protocol});
    if (call.list_counts) hand_out(call, static_cast<const std::byte*>(bound.output));
    return kernels_->end_call();
  });
  if (!number.ok()) {
    const Status status(number.status().code(), "tutti_" + std::string(name(call.collective)) + ": " + number.status().message());
    return kernels_->has_launched() ? ended_by(kInTheMiddle, status) : unless_lost(status);
  }
  if (kernels_->has_lent()) noted->route.reason = std::move(lent_reason);
  begun(call, noted, ready->cut);
  return number;
}

Communicator::Started Communicator::start_kernels(const Call& call, const Route& route, bool asynchronous) {
  const Signature signature = dispatch_->sign(call, route.algorithm, sequence_of(call));  // before it is counted
  const auto number = put_kernels(call, route, true);
  if (!number.ok()) return number.status();
  const auto make = [&](LinkTable&) {
    auto operation = std::make_shared<DeviceOperation>(signature, route.name, kernels_->ended(), *number, kernels_->hearsay(),
                                                       kernels_->words());
    return dispatch_->equipped(std::move(operation), call, dispatch_->bytes_of(call));
  };
  auto operation = with_memory([&] { return engine_->start(make, asynchronous); });
  return operation.ok() ? operation : ended_by(kInTheMiddle, operation.status());  // the device carries the call out
}

// Of a list one tensor is made, as ranks may have cut it differently.  A factor is this rank's alone, and so is an
// exchange in place, whose input is overwritten while others still wait for it.  In all these the input is read from
// memory of the rank's own.  `offsets`: of all_to_all_v.
Call Communicator::with_own_input(const Call& call, std::vector<size_t>& offsets) {
  if (!Dispatch::is_staged(call) && !call.list_counts) return call;
  const size_t element = element_size(call.type);
  const std::vector<StagedData::Input> inputs = dispatch_->inputs_of(call);
  size_t count = 0;
  for (const StagedData::Input& input : inputs) count = std::max(count, input.first + input.count);
  std::byte* const memory = kernels_->temporary(std::max<size_t>(count * element, 1));
  if (!memory) return call;  // which will not be launched
  Call own = call;
  own.input = memory;
  own.inputs = nullptr;
  own.factor = nullptr;
  if (call.list_counts) own.output = memory, own.outputs = nullptr;
  own.list_counts = nullptr;
  for (const StagedData::Input& input : inputs) {
    offsets.push_back(input.first);
    std::byte* const to = memory + input.first * element;
    const auto* const from = static_cast<const std::byte*>(input.from);
    if (input.count > 0 && call.factor)
      kernels_->scale(call.type, to, from, input.count, *call.factor);
    else if (input.count > 0)
      kernels_->copy(to, from, input.count * element);
  }
  if (call.send_counts) own.send_offsets = offsets.data();
  return own;
}

void Communicator::hand_out(const Call& list, const std::byte* from) {
  for (size_t i = 0; i < list.list_length && from; ++i) {
    const size_t bytes = list.list_counts[i] * element_size(list.type);
    if (bytes > 0) kernels_->copy(static_cast<std::byte*>(list.outputs[i]), from, bytes);
    from += bytes;
  }
}

}  // namespace tutti

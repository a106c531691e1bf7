// How a communicator runs a call on device memory: by kernels (communicator_kernels.cpp), or in pieces through the
// host's memory, each as any other call.
#include <utility>

#include "bounced_operation.h"
#include "clock.h"
#include "communicator.h"
#include "device_kernels.h"
#include "tensor_codec.h"
#include "with_memory.h"

namespace tutti {
namespace {

// A call's route, that says first where its data go, since what is told of a reason is short (tutti_stats).
std::shared_ptr<const RoutedCall> through_the_host(const RoutedCall& routed, const Call& call, size_t pieces, uint64_t bytes,
                                                   const std::string& why) {
  auto noted = std::make_shared<RoutedCall>(routed);
  noted->count = call.count;
  noted->bytes = bytes;
  std::string way = "staged";
  if (pieces > 1) way += " in " + std::to_string(pieces) + " pieces";
  if (!why.empty()) way += ", since " + why;
  noted->route.reason = way + "; " + routed.route.reason;
  noted->predictable = false;  // its copies are in no table
  return noted;
}

}  // namespace

// Of what the device was asked for.  If it can do nothing more, neither can this rank, and others would wait for it.
Status Communicator::unless_lost(Status status) {
  if (status.ok() || !device_->is_lost()) return status;
  return ended_by(" cannot go on with its device: ", status);
}

Status Communicator::ended_by(const char* what, const Status& cause) {
  Status end(Code::system, peer_name(-1) + what + cause.message());
  fail(-1, end);
  return end;
}

Result<int> Communicator::device_of(std::span<const void* const> pointers, void* stream) {
  const auto device = device_->device_of(pointers, stream);
  return device.ok() ? device : unless_lost(device.status());
}

Status Communicator::open_device(int device) {
  const CallLock lock(call_lock_);
  return unless_lost(device_->open(device));
}

Result<void*> Communicator::allocate_on_device(size_t bytes) {
  const CallLock lock(call_lock_);
  if (Status status = failed_status(); !status.ok()) return status;
  const auto device = device_->present();
  if (!device.ok()) return device.status();
  if (Status status = device_->open(*device); !status.ok()) return unless_lost(status);
  auto memory = parts_->domain->memory->allocate_on(device_->context(), *this, bytes);
  return memory.ok() ? Result<void*>(*memory) : unless_lost(memory.status());
}

// A device that fails counts no more pieces, so whoever waits asks about its health now and then: not the engine, which
// calls nothing of CUDA while calls are on streams (device_side.h).
Status Communicator::wait(Operation& operation) {
  while (device_->is_open()) {
    const DeviceKernels* const kernels = ready_kernels_.load(std::memory_order_acquire);
    if (const auto status = engine_->drive_until(operation, now_ns() + kSecond)) {
      if (status->ok()) return {};
      device_->settle();  // what is under way on the device may still write
      if (kernels) kernels->settle();
      return *status;
    }
    Status health = device_->health();
    if (health.ok() && kernels) health = kernels->health();
    if (!health.ok()) (void)ended_by(" cannot go on in the middle of a call: ", health);
  }
  return engine_->drive(operation);
}

// `piece`: over the host's memory.  All pieces bear the signature of the whole call, so that they tell what was called.
Result<Communicator::Maker> Communicator::maker_of(const Call& piece, const Call& whole, PieceNotes& notes) {
  const uint32_t sequence = sequence_of(whole);
  if (piece.codec) {
    auto coded = dispatch_->prepare_coded(piece, sequence);
    if (!coded.ok()) return coded.status();
    notes.routed = coded->routed;
    notes.cut = coded->prepared.cut;
    notes.coded = std::make_shared<Dispatch::Coded>(std::move(*coded));
    return Maker([kept = notes.coded](LinkTable& table) { return kept->prepared.make(table); });
  }
  const auto routed = dispatch_->route(piece);
  if (!routed.ok()) return routed.status();
  notes.routed = *routed;
  if ((*routed)->is_flat()) {
    notes.cut = {1, (*routed)->bytes};
    return flat_maker(piece, *routed, whole);
  }
  auto prepared = dispatch_->prepare(piece, **routed, sequence);
  if (!prepared.ok()) return prepared.status();
  notes.cut = prepared->cut;
  prepared->signature = dispatch_->sign(whole, (*routed)->route.algorithm, sequence);
  return Maker([kept = std::make_shared<PreparedCall>(std::move(*prepared))](LinkTable& table) { return kept->make(table); });
}

Communicator::Started Communicator::start_on_device(const Call& call, bool asynchronous) {
  if (Status status = failed_status(); !status.ok()) return status;
  if (call.codec) {
    const auto decision = decided(call);
    if (!decision.ok()) return decision.status();
    if (!(*decision)->compresses) {
      Call plain = call;
      plain.codec = nullptr;
      std::string why = "none: " + (*decision)->why;
      auto operation = start_on_device(plain, asynchronous);
      if (operation.ok()) calls_.note_codec(std::move(why));
      return operation;
    }
  }
  std::string why_staged;
  const auto route = kernel_route(call, why_staged);
  if (!route.ok()) return route.status();
  return *route ? start_kernels(call, **route, asynchronous) : start_staged(call, asynchronous, why_staged);
}

Communicator::Started Communicator::start_staged(const Call& call, bool asynchronous, const std::string& why) {
  const std::vector<DevicePiece> pieces = cut_for_device(call, parts_->rank, parts_->size, parts_->settings.cuda_piece_bytes);
  const auto titled = [&](const Status& status) {
    return Status(status.code(), "tutti_" + std::string(name(call.collective)) + ": " + status.message());
  };
  auto reserved = device_->reserve(pieces, call.stream);
  if (!reserved.ok()) return titled(unless_lost(reserved.status()));
  std::vector<Maker> makers;
  PieceNotes notes;
  for (size_t i = 0; i < pieces.size(); ++i) {
    PieceNotes of_piece;
    auto maker = maker_of(pieces[i].bound_to(reserved->inputs[i], reserved->outputs[i]), call, of_piece);
    if (!maker.ok()) return maker.status();
    makers.push_back(std::move(*maker));
    if (i == 0) notes = std::move(of_piece);
  }
  const uint64_t bytes = total_count(call, parts_->size) * element_size(call.type);
  const Routed noted = through_the_host(*notes.routed, call, pieces.size(), bytes, why);
  auto carrier = with_memory([&] { return device_->put(pieces, std::move(*reserved), call.stream); });
  if (!carrier.ok()) return titled(unless_lost(carrier.status()));
  const auto make_all = [&](LinkTable& table) {
    std::vector<std::shared_ptr<Operation>> inner;
    for (const Maker& make : makers) inner.push_back(make(table));
    return dispatch_->equipped(std::make_shared<BouncedOperation>(std::move(*carrier), std::move(inner)), call, bytes);
  };
  auto operation = with_memory([&] { return engine_->start(make_all, asynchronous); });
  if (!operation.ok())  // the streams take the call for made, and will change its output
    return ended_by(" cannot go on in the middle of a call: ", operation.status());
  if (notes.coded) notes.coded->tensor.keep();
  begun(call, noted, notes.cut);
  if (notes.coded) if_possible([&] { note_coded(call, *notes.routed, notes.coded->packed); });
  return operation;
}

Status Communicator::put_on_stream(const Call& call) {
  const CallLock lock(call_lock_);
  if (Status status = failed_status(); !status.ok()) return status;
  std::string why_staged;
  const auto route = kernel_route(call, why_staged);
  if (!route.ok()) return route.status();
  if (!*route) return call.codec ? start_on_device(call, true).status() : start_staged(call, true, why_staged).status();
  const Status status = put_kernels(call, **route, false).status();
  if (status.ok()) flat_totals_.count_device(dispatch_->bytes_of(call));
  return status;
}

// A send's data are copied before it is started; a receive's when it has them.
Result<Engine::Operations> Communicator::start_device_messages(std::vector<Message> messages, bool asynchronous) {
  for (Message& message : messages) {
    if (!message.on_device) continue;
    const size_t bytes = message.count * element_size(message.type);
    if (message.send) {
      auto fetched = device_->fetch_now(message.data, bytes, message.stream);
      if (!fetched.ok()) return unless_lost(fetched.status());
      message.data = fetched->get();
      message.keeps = std::move(*fetched);
      continue;
    }
    const auto receive = std::make_shared<std::weak_ptr<ReceiveOperation>>();
    const size_t element = element_size(message.type);
    auto carried = device_->receive(message.data, bytes, message.stream, [receive, element]() -> size_t {
      const auto made = receive->lock();
      return made ? made->got().count * element : 0;
    });
    if (!carried.ok()) return unless_lost(carried.status());
    message.data = carried->host;
    auto carrier = std::make_shared<std::unique_ptr<PieceCarrier>>(std::move(carried->carrier));
    message.wrap = [receive, carrier](std::shared_ptr<ReceiveOperation> made) -> std::shared_ptr<Operation> {
      *receive = made;  // which the operation keeps
      return std::make_shared<BouncedOperation>(std::move(*carrier), std::vector<std::shared_ptr<Operation>>{std::move(made)});
    };
  }
  return start_messages(messages, asynchronous);
}

}  // namespace tutti

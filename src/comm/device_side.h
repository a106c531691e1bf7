// What a communicator has of a CUDA device at this rank: it tells device memory from the host's, and carries the pieces
// of calls on device memory (device_pieces.h) through buffers of the host's.
//
// All of a call's copies are put on two streams of our own when the call is made, one each way: what is fetched waits
// for the user's stream, and what is delivered waits until the host has handled it.  Device and host tell each other by
// words of the host's memory, which count pieces:
//   fetched     written by the device: the inputs of so many are in their buffers
//   handled     written by the host: so many results may be delivered
//   delivered   written by the device: so many buffers are free again
// So while a call is under way the host reads and writes memory, and calls nothing of CUDA: a function of CUDA's that
// waits for the device, as cudaFree does, may hold its locks until the call has ended.
//
// Threads: any, those that start calls one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bounced_operation.h"
#include "device_memory.h"
#include "device_pieces.h"
#include "family_memory.h"
#include "stream.h"

namespace tutti {

struct CommunicatorParts;

class DeviceSide {
 public:
  static constexpr size_t kRing = 3;  // pieces under way each way

  // Both outlive this.
  DeviceSide(const CommunicatorParts& parts, const FamilyMemory::Member& member);
  ~DeviceSide();

  // Pointers are worth a look: the process had loaded CUDA when this was made, or a call has named a stream since.
  bool sees_devices() const { return driver_.load(std::memory_order_acquire) != nullptr; }

  // The device whose memory these are, or -1 for the host's; null pointers are nobody's.  Without any, `stream` decides
  // (null: none was given).  An error where they are of several.
  Result<int> device_of(std::span<const void* const> pointers, void* stream);

  // The device that calls use, or if there have been none the one whose context is the thread's.
  Result<int> present();

  // Before calls on this device's memory: the first makes what is needed, later ones must be of the same device.
  Status open(int device);

  bool is_open() const { return opened_.load(std::memory_order_acquire); }
  const cuda::SharedContext& context() const;  // once it is open

  // A failure of the device that no call has reported.  May wait for functions of CUDA's that other threads are in.
  Status health() const;

  // After an error: nothing can be done on the device any more.
  bool is_lost() const;

  // Copies of a call that has failed end within moments, if its stream has come to them; waits for that.
  void settle() const;

  size_t memory_bytes() const;  // of the host's, that is kept for copies

  // The buffers of a call's pieces; those that do not fit into the ring have some of their own.
  struct Reserved {
    std::vector<std::byte*> inputs, outputs;  // by piece
    std::vector<cuda::PinnedMemory> own;
  };
  // `stream`: that the call is to be put on; null: none.
  Result<Reserved> reserve(const std::vector<DevicePiece>& pieces, void* stream);
  // Puts the copies on our streams, behind what is on `stream`, which then waits for the last one; null: behind what is
  // on the legacy default stream, which does not wait.
  Result<std::unique_ptr<PieceCarrier>> put(const std::vector<DevicePiece>& pieces, Reserved reserved, void* stream);

  // One message that is received, into what `stream` leaves (null: the legacy default stream).  `got`: how many bytes
  // are to be delivered.
  struct CarriedMessage {
    std::byte* host = nullptr;
    std::unique_ptr<PieceCarrier> carrier;
  };
  Result<CarriedMessage> receive(std::byte* device, size_t bytes, void* stream, std::function<size_t()> got);
  // Copies at once what that stream has made of it, and waits for that.
  Result<std::shared_ptr<std::byte>> fetch_now(const std::byte* device, size_t bytes, void* stream);

 private:
  Status record(const cuda::Event& event, void* stream) const;
  struct Shared;
  class CallCarrier;
  class MessageCarrier;

  Result<const cuda::Driver*> driver();
  Status open_in(const cuda::SharedContext& context);
  Status open_ring(Shared& shared);
  Status put_copies(const std::vector<DevicePiece>& pieces, const Reserved& reserved, uint32_t first);
  bool wait_for_copies() const;  // all that are on the streams

  const CommunicatorParts& parts_;
  const FamilyMemory::Member& member_;
  std::atomic<const cuda::Driver*> driver_{nullptr};
  std::atomic<bool> opened_{false};
  // The device was lost before open(); or a call is on the streams that has failed, and has changed more than nothing.
  std::atomic<bool> unusable_{false};
  std::shared_ptr<Shared> shared_;  // with the carriers; null before open()
};

}  // namespace tutti

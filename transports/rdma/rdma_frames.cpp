#include "rdma_frames.h"

#include <cstring>

namespace tutti::rdma {
namespace {

constexpr uint8_t kLeastMtu = 1, kMostMtu = 5;  // IBV_MTU_256 … IBV_MTU_4096
constexpr uint32_t kMostNumber = 1 << 24;       // of queue pairs and packets: 24 bits

}  // namespace

std::optional<EndAddress> decode_end_address(std::span<const std::byte> bytes) {
  EndAddress address;
  const EndAddress known;
  if (bytes.size() != sizeof address) return std::nullopt;
  std::memcpy(&address, bytes.data(), sizeof address);
  const bool sound = address.magic == known.magic && address.version == known.version && address.queue_pair < kMostNumber &&
                     address.first_packet < kMostNumber && address.mtu >= kLeastMtu && address.mtu <= kMostMtu &&
                     address.ethernet <= 1 && address.landing[0] != 0;
  if (!sound) return std::nullopt;
  return address;
}

std::optional<Frame> decode_frame(std::span<const std::byte> bytes) {
  Frame frame;
  if (bytes.size() < sizeof frame) return std::nullopt;
  std::memcpy(static_cast<void*>(&frame), bytes.data(), sizeof frame);
  const bool message = frame.kind == Frame::Kind::message;
  const bool follows = message && frame.place == 0;
  const bool sound = frame.magic == Frame::kMagic && (message || frame.kind == Frame::Kind::credits) &&
                     frame.returned <= kMostLanding && bytes.size() - sizeof frame == (follows ? frame.bytes : 0);
  if (!sound) return std::nullopt;
  return frame;
}

}  // namespace tutti::rdma

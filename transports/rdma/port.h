// Ports of RDMA devices: which there are, which of them serve, and by which address (GID) each is reached.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"
#include "verbs.h"

namespace tutti::rdma {

enum class GidType : uint8_t { infiniband, roce_v1, roce_v2 };
std::string_view name(GidType type);  // "RoCE v2"

struct Gid {
  uint32_t index = 0;
  GidType type = GidType::infiniband;
  ibv_gid address{};
  std::string to_text() const;  // "::ffff:10.0.0.1"
};

// Which of a port's addresses peers are given.  `wanted`: TUTTI_RDMA_GID, an index, or -1.  `address`: at which other
// ranks reach this one by IP, or "".  RoCE v2 is routed, and v1 is not; of its addresses first the one that is
// `address`, then one of IPv4, then one that is not link-local.
Result<Gid> choose_gid(std::span<const Gid> gids, int wanted, std::string_view address);

struct Port {
  std::string device;  // "mlx5_0"
  uint8_t number = 1;  // in the device
  bool ethernet = false;
  uint16_t lid = 0;  // of InfiniBand
  ibv_mtu mtu = IBV_MTU_256;
  std::vector<Gid> gids;
  std::string network_interface;  // "eth0"; "" if the system does not say
  bool near = false;              // to the cores of this process
  std::string objection;          // why it does not serve; "" if it does

  bool serves() const { return objection.empty(); }
  std::string name() const;    // "mlx5_0 port 1"
  std::string fabric() const;  // ports of the same reach each other: "RoCE", "InfiniBand fe80000000000000"
};

constexpr int bytes_of(ibv_mtu mtu) { return 128 << mtu; }  // of a packet's payload

std::string class_folder();  // where the system lists RDMA devices: "/sys/class/infiniband"

// All ports of this machine, those that serve first, of these the near ones.  `filter`: TUTTI_INTERFACE, which names
// devices or their network interfaces.
Result<std::vector<Port>> find_ports(const Verbs& verbs, std::string_view filter);

// An opened device, one for all communicators of the process that use it.
class Device {
 public:
  static Result<std::shared_ptr<Device>> open(const Verbs& verbs, const std::string& name);
  const Verbs& verbs() const { return verbs_; }
  ibv_context* context() const { return context_.get(); }
  ibv_pd* domain() const { return domain_.get(); }
  const ibv_device_attr& limits() const { return limits_; }

  // Of memory that is to be sent from and, with IBV_ACCESS_REMOTE_WRITE, written by peers.
  Result<Owned<ibv_mr>> register_memory(void* memory, size_t bytes, int access) const;

  // Not success once the device is gone; looks for news of it.
  Status state();

 private:
  Device(const Verbs& verbs, std::string name, Owned<ibv_context> context, Owned<ibv_pd> domain, const ibv_device_attr& limits);
  const Verbs& verbs_;
  const std::string name_;
  const Owned<ibv_context> context_;
  const Owned<ibv_pd> domain_;
  const ibv_device_attr limits_;
  std::atomic<bool> gone_{false};
};

}  // namespace tutti::rdma

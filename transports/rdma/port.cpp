#include "port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "byte_units.h"
#include "files.h"
#include "net_address.h"
#include "resource_limits.h"
#include "words.h"

namespace tutti::rdma {
namespace {

// The first line of a file of the system about RDMA devices; "" if there is none.
std::string fact(const std::string& path) {
  const auto text = read_file(class_folder() + "/" + path, 4096, "a fact of an RDMA device");
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

// "0-3,8": whether this thread may run on one of these.
bool may_run_on(std::string_view cores) {
  cpu_set_t allowed;
  if (cores.empty() || ::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  for (const std::string_view range : split(cores, ',')) {
    const std::string first(range.substr(0, range.find('-')));
    const std::string last(range.substr(range.find('-') == std::string_view::npos ? 0 : range.find('-') + 1));
    for (int core = std::atoi(first.c_str()); core <= std::atoi(last.c_str()); ++core)
      if (core < CPU_SETSIZE && CPU_ISSET(core, &allowed)) return true;
  }
  return false;
}

bool is_ipv4(const ibv_gid& gid) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(gid.raw, kMapped, sizeof kMapped) == 0;
}

bool is_link_local(const ibv_gid& gid) { return gid.raw[0] == 0xfe && (gid.raw[1] & 0xc0) == 0x80; }

bool is_zero(const ibv_gid& gid) {
  return std::all_of(std::begin(gid.raw), std::end(gid.raw), [](uint8_t byte) { return byte == 0; });
}

std::optional<ibv_gid> gid_of(std::string_view address) {
  ibv_gid gid{};
  const std::string text(address.substr(0, address.find('%')));
  if (::inet_pton(AF_INET6, text.c_str(), gid.raw) == 1) return gid;
  gid.raw[10] = gid.raw[11] = 0xff;
  if (::inet_pton(AF_INET, text.c_str(), gid.raw + 12) == 1) return gid;
  return std::nullopt;
}

std::vector<Gid> gids_of(const Verbs& verbs, ibv_context* context, uint8_t port, int entries) {
  std::vector<Gid> gids;
  for (int i = 0; i < entries; ++i) {
    ibv_gid_entry entry{};
    if (verbs.query_gid(context, port, static_cast<uint32_t>(i), &entry, 0, sizeof entry) != 0 || is_zero(entry.gid)) continue;
    const GidType type = entry.gid_type == IBV_GID_TYPE_ROCE_V2   ? GidType::roce_v2
                         : entry.gid_type == IBV_GID_TYPE_ROCE_V1 ? GidType::roce_v1
                                                                  : GidType::infiniband;
    gids.push_back({entry.gid_index, type, entry.gid});
  }
  return gids;
}

std::string_view state_of(ibv_port_state state) {
  switch (state) {
    case IBV_PORT_DOWN: return "down: no cable, or its network interface is down (ip link set … up)";
    case IBV_PORT_INIT: return "not configured: on InfiniBand no subnet manager has seen it (opensm)";
    case IBV_PORT_ARMED: return "not active yet";
    case IBV_PORT_ACTIVE_DEFER: return "recovering";
    default: return "in no known state";
  }
}

void add_ports(const Verbs& verbs, ibv_device* device, const InterfaceSelector& selector, std::vector<Port>& ports) {
  Port port;
  port.device = verbs.get_device_name(device);
  port.near = may_run_on(fact(port.device + "/device/local_cpulist"));
  const auto context = owned(verbs.open_device(device), verbs.close_device);
  ibv_device_attr limits{};
  if (!context || verbs.query_device(context.get(), &limits) != 0) {
    port.objection =
        "it cannot be opened: " + std::string(std::strerror(errno)) +
        (errno == EACCES || errno == EPERM ? "; /dev/infiniband/uverbs* must be readable and writable for this user" : "");
    ports.push_back(std::move(port));
    return;
  }
  for (uint8_t number = 1; number <= limits.phys_port_cnt; ++number) {
    Port found = port;
    found.number = number;
    ibv_port_attr attributes{};
    if (verbs.query_port(context.get(), number, reinterpret_cast<_compat_ibv_port_attr*>(&attributes)) != 0) continue;
    found.ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
    found.lid = attributes.lid;
    found.mtu = attributes.active_mtu;
    found.network_interface = fact(port.device + "/ports/" + std::to_string(number) + "/gid_attrs/ndevs/0");
    found.gids = gids_of(verbs, context.get(), number, attributes.gid_tbl_len);
    const auto named = [&] { return selector.names(found.device) || selector.names(found.network_interface); };
    if (attributes.state != IBV_PORT_ACTIVE)
      found.objection = "it is " + std::string(state_of(attributes.state));
    else if (attributes.link_layer != IBV_LINK_LAYER_ETHERNET && attributes.link_layer != IBV_LINK_LAYER_INFINIBAND)
      found.objection = "it is neither InfiniBand nor RoCE (iWARP has no queue pairs that are connected by verbs alone)";
    else if (found.gids.empty())
      found.objection = "it has no address (GID)";
    else if (!selector.words.empty() && named() == selector.exclude)
      found.objection = "TUTTI_INTERFACE excludes it";
    ports.push_back(std::move(found));
  }
}

}  // namespace

std::string_view name(GidType type) {
  return type == GidType::roce_v2 ? "RoCE v2" : type == GidType::roce_v1 ? "RoCE v1" : "InfiniBand";
}

std::string Gid::to_text() const {
  char text[INET6_ADDRSTRLEN] = "";
  (void)::inet_ntop(AF_INET6, address.raw, text, sizeof text);
  return text;
}

Result<Gid> choose_gid(std::span<const Gid> gids, int wanted, std::string_view address) {
  if (wanted >= 0) {
    const auto found =
        std::find_if(gids.begin(), gids.end(), [&](const Gid& gid) { return gid.index == static_cast<uint32_t>(wanted); });
    if (found != gids.end()) return *found;
    std::string known;
    for (const Gid& gid : gids)
      known +=
          (known.empty() ? "" : ", ") + std::to_string(gid.index) + " (" + gid.to_text() + ", " + std::string(name(gid.type)) + ")";
    return Status(Code::invalid_argument, "TUTTI_RDMA_GID=" + std::to_string(wanted) + ": the port has no such address; it has " +
                                              (known.empty() ? "none" : known));
  }
  if (gids.empty()) return Status(Code::unreachable, "the port has no address (GID)");
  const auto own = gid_of(address);
  const auto rank = [&](const Gid& gid) {  // lower is better
    int penalty = gid.type == GidType::roce_v1 ? 8 : 0;
    if (!own || std::memcmp(gid.address.raw, own->raw, sizeof own->raw) != 0) penalty += 4;
    if (gid.type != GidType::infiniband && !is_ipv4(gid.address)) penalty += 1;
    if (gid.type != GidType::infiniband && is_link_local(gid.address)) penalty += 2;
    return penalty;
  };
  return *std::min_element(gids.begin(), gids.end(), [&](const Gid& a, const Gid& b) { return rank(a) < rank(b); });
}

// libibverbs heeds the same variable.
std::string class_folder() {
  const char* const system = ::secure_getenv("SYSFS_PATH");
  return std::string(system ? system : "/sys") + "/class/infiniband";
}

std::string Port::name() const { return device + " port " + std::to_string(number); }

std::string Port::fabric() const {
  if (ethernet) return "RoCE";
  char prefix[17] = "";
  for (int i = 0; i < 8; ++i) std::snprintf(prefix + 2 * i, 3, "%02x", gids.empty() ? 0 : gids[0].address.raw[i]);
  return std::string("InfiniBand ") + prefix;
}

Result<std::vector<Port>> find_ports(const Verbs& verbs, std::string_view filter) {
  InterfaceSelector selector;
  if (!filter.empty()) {
    auto parsed = InterfaceSelector::parse(filter);
    if (!parsed.ok()) return parsed.status();
    selector = std::move(*parsed);
  }
  int count = 0;
  ibv_device** const devices = verbs.get_device_list(&count);
  if (!devices) {
    if (errno == ENOSYS) return std::vector<Port>();  // the kernel has no RDMA
    return system_error("listing RDMA devices");
  }
  std::vector<Port> ports;
  for (int i = 0; i < count; ++i) add_ports(verbs, devices[i], selector, ports);
  verbs.free_device_list(devices);
  const auto order = [](const Port& port) { return (port.serves() ? 0 : 2) + (port.near ? 0 : 1); };
  std::stable_sort(ports.begin(), ports.end(), [&](const Port& a, const Port& b) { return order(a) < order(b); });
  return ports;
}

// ---- devices ----

Device::Device(const Verbs& verbs, std::string name, Owned<ibv_context> context, Owned<ibv_pd> domain,
               const ibv_device_attr& limits)
    : verbs_(verbs), name_(std::move(name)), context_(std::move(context)), domain_(std::move(domain)), limits_(limits) {}

Result<std::shared_ptr<Device>> Device::open(const Verbs& verbs, const std::string& name) {
  static std::mutex mutex;
  static std::map<std::pair<pid_t, std::string>, std::weak_ptr<Device>> opened;  // a child opens its own
  const std::lock_guard lock(mutex);
  std::weak_ptr<Device>& known = opened[{::getpid(), name}];
  if (auto device = known.lock()) return device;
  int count = 0;
  ibv_device** const devices = verbs.get_device_list(&count);
  if (!devices) return system_error("listing RDMA devices");
  auto context = owned<ibv_context>(nullptr, verbs.close_device);
  for (int i = 0; i < count; ++i)
    if (name == verbs.get_device_name(devices[i])) context.reset(verbs.open_device(devices[i]));
  const int error = errno;
  verbs.free_device_list(devices);
  errno = error;
  if (!context) return system_error("opening the RDMA device " + name);
  auto domain = owned(verbs.alloc_pd(context.get()), verbs.dealloc_pd);
  ibv_device_attr limits{};
  if (!domain || verbs.query_device(context.get(), &limits) != 0) return system_error("opening the RDMA device " + name);
  const int flags = ::fcntl(context->async_fd, F_GETFL);
  if (flags < 0 || ::fcntl(context->async_fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return system_error("opening the RDMA device " + name);
  std::shared_ptr<Device> device(new Device(verbs, name, std::move(context), std::move(domain), limits));
  known = device;
  return device;
}

Result<Owned<ibv_mr>> Device::register_memory(void* memory, size_t bytes, int access) const {
  auto region = owned(verbs_.reg_mr(domain_.get(), memory, bytes, access), verbs_.dereg_mr);
  if (region) return region;
  const std::string doing = "registering " + describe_bytes(bytes) + " of memory with the RDMA device " + name_;
  if (errno == ENOMEM)
    return Status(Code::out_of_memory, doing +
                                           ": the limit of locked memory is too low; raise it (ulimit -l unlimited; in "
                                           "containers --ulimit memlock=-1, under systemd LimitMEMLOCK=infinity, under Slurm "
                                           "PropagateResourceLimitsExcept=MEMLOCK)");
  return system_error(doing);
}

Status Device::state() {
  ibv_async_event event;
  while (!gone_ && verbs_.get_async_event(context_.get(), &event) == 0) {
    if (event.event_type == IBV_EVENT_DEVICE_FATAL) gone_ = true;
    verbs_.ack_async_event(&event);
  }
  if (!gone_) return {};
  return Status(Code::system, "the RDMA device " + name_ + " was removed or has failed (dmesg tells more)");
}

}  // namespace tutti::rdma

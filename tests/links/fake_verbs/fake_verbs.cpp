// A libibverbs of our own for tests without a device: queue pairs between the threads of one process.  It is loaded in
// the real one's place (LD_LIBRARY_PATH), so what is tested is what runs.
//
// It keeps what verbs promise and no more.  Requests of one queue pair take effect and complete in order, a frame after
// the write before it.  Between queue pairs there is no order, and when something happens is its own affair: in its
// moods (set_moody, FAKE_VERBS_MOODY) requests take effect while somebody polls, and completions are handed out later
// still.  It checks what a device checks: keys, bounds and rights of memory, posted receives, states of queue pairs,
// lengths of queues, and that what is sent to an address (GID) is meant for a queue pair of that port.
#include "fake_verbs.h"

#include <fcntl.h>
#include <infiniband/verbs.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

// The headers make macros of these.
#undef ibv_reg_mr
#undef ibv_query_port

namespace {

struct Context;
struct Queue;

struct Channel {
  ibv_comp_channel verbs{};
  std::deque<Queue*> told;
};

struct Queue {
  ibv_cq verbs{};
  std::map<uint32_t, std::deque<ibv_wc>> waiting;  // by queue pair, each in order
  size_t held = 0;
  bool armed = false, overrun = false;
};

struct Region {
  ibv_mr verbs{};
  int access = 0;
  bool reaches(uint64_t address, uint64_t bytes) const {
    const auto begin = reinterpret_cast<uintptr_t>(verbs.addr);
    return address >= begin && bytes <= verbs.length && address - begin <= verbs.length - bytes;
  }
};

struct Send {
  ibv_send_wr request{};
  ibv_sge from{};
  std::vector<std::byte> beside;  // of an inline one
};

struct Pair {
  ibv_qp verbs{};
  ibv_qp_cap most{};
  ibv_qp_state state = IBV_QPS_RESET;
  uint32_t peer = 0, first_sent = 0, first_expected = 0;
  uint8_t port = 0;
  ibv_gid from{}, to{};
  std::deque<Send> sends;
  size_t unfinished = 0;  // sends posted whose completion, or that of a later one, has not been polled
  std::deque<std::pair<uint64_t, ibv_sge>> receives;
};

struct Context {
  ibv_context verbs{};
  int device = 0;
  std::deque<ibv_event_type> events;
};

struct World {
  World() {
    for (int i = 0; i < 4; ++i) std::snprintf(device[i].name, sizeof device[i].name, "fake%d", i);
  }
  std::mutex mutex;
  bool moody = std::getenv("FAKE_VERBS_MOODY") != nullptr;
  int devices = 1, ports = 1;
  bool port_up[2] = {true, true};  // of the first device
  std::minstd_rand mood{1};
  uint64_t lockable = UINT64_MAX, locked = 0;
  uint64_t until_failure = UINT64_MAX;
  ibv_wc_status failure = IBV_WC_SUCCESS;
  uint64_t not_ready = 0, objects = 0;
  uint32_t next_key = 1, next_pair = 17;
  std::map<uint32_t, Pair*> pairs;
  std::map<uint32_t, Region*> regions;
  std::vector<Context*> contexts;
  ibv_device device[4] = {};
};

World& world() {
  static World* const made = new World;  // objects may be destroyed while the process ends
  return *made;
}

template <class T, class V>
T* of(V* verbs) {  // the first member of each is verbs' part
  return reinterpret_cast<T*>(verbs);
}

// The addresses of a port: link-local ones, and 10.0.0.1 for the first port of the first device, 10.0.1.2 for the
// second of the second.
ibv_gid gid_of(int device, uint32_t port, uint32_t index) {
  ibv_gid gid{};
  if (index < 2) {
    gid.raw[0] = 0xfe;
    gid.raw[1] = 0x80;
  } else {
    gid.raw[10] = gid.raw[11] = 0xff;
    gid.raw[12] = 10;
  }
  gid.raw[14] = static_cast<uint8_t>(port - 1);
  gid.raw[15] = static_cast<uint8_t>(device + 1);
  return gid;
}

bool same(const ibv_gid& a, const ibv_gid& b) { return std::memcmp(a.raw, b.raw, sizeof a.raw) == 0; }

// ---- what happens ----

void add_completion(Queue& queue, const ibv_wc& completion) {
  if (queue.held == static_cast<size_t>(queue.verbs.cqe)) queue.overrun = true;
  ++queue.held;
  queue.waiting[completion.qp_num].push_back(completion);
  if (!queue.armed) return;
  queue.armed = false;
  Channel* const channel = of<Channel>(queue.verbs.channel);
  channel->told.push_back(&queue);
  const uint64_t one = 1;
  (void)!::write(channel->verbs.fd, &one, sizeof one);
}

ibv_wc completion_of(const Pair& pair, uint64_t id, ibv_wc_opcode opcode, ibv_wc_status status) {
  ibv_wc completion{};
  completion.wr_id = id;
  completion.status = status;
  completion.opcode = opcode;
  completion.qp_num = pair.verbs.qp_num;
  return completion;
}

void flush(Pair& pair) {
  pair.state = IBV_QPS_ERR;
  while (!pair.sends.empty()) {
    add_completion(*of<Queue>(pair.verbs.send_cq),
                   completion_of(pair, pair.sends.front().request.wr_id, IBV_WC_SEND, IBV_WC_WR_FLUSH_ERR));
    pair.sends.pop_front();
  }
  while (!pair.receives.empty()) {
    add_completion(*of<Queue>(pair.verbs.recv_cq),
                   completion_of(pair, pair.receives.front().first, IBV_WC_RECV, IBV_WC_WR_FLUSH_ERR));
    pair.receives.pop_front();
  }
}

Region* region_of(uint32_t key) {
  const auto found = world().regions.find(key);
  return found != world().regions.end() ? found->second : nullptr;
}

// The first send of the pair takes effect, or does not.
ibv_wc_status carry_out(const Pair& pair, const Send& send, Pair* peer) {
  const uint64_t bytes = send.request.num_sge == 0 ? 0 : send.from.length;
  const std::byte* from = send.beside.data();
  if (send.beside.empty() && bytes > 0) {
    const Region* const region = region_of(send.from.lkey);
    if (!region || !region->reaches(send.from.addr, bytes)) return IBV_WC_LOC_PROT_ERR;
    from = reinterpret_cast<const std::byte*>(send.from.addr);
  }
  if (!peer || peer->peer != pair.verbs.qp_num || peer->first_expected != pair.first_sent || !same(peer->from, pair.to) ||
      !same(peer->to, pair.from) || (peer->state != IBV_QPS_RTR && peer->state != IBV_QPS_RTS))
    return IBV_WC_RETRY_EXC_ERR;
  if (send.request.opcode == IBV_WR_RDMA_WRITE) {
    const Region* const region = region_of(send.request.wr.rdma.rkey);
    if (!region || !(region->access & IBV_ACCESS_REMOTE_WRITE) || !region->reaches(send.request.wr.rdma.remote_addr, bytes))
      return IBV_WC_REM_ACCESS_ERR;
    std::memcpy(reinterpret_cast<void*>(send.request.wr.rdma.remote_addr), from, bytes);
    return IBV_WC_SUCCESS;
  }
  if (peer->receives.empty()) {
    ++world().not_ready;
    return IBV_WC_RNR_RETRY_EXC_ERR;
  }
  const auto [id, to] = peer->receives.front();
  const Region* const region = region_of(to.lkey);
  if (to.length < bytes || !region || !(region->access & IBV_ACCESS_LOCAL_WRITE) || !region->reaches(to.addr, to.length))
    return IBV_WC_REM_INV_REQ_ERR;
  peer->receives.pop_front();
  std::memcpy(reinterpret_cast<void*>(to.addr), from, bytes);
  ibv_wc completion = completion_of(*peer, id, IBV_WC_RECV, IBV_WC_SUCCESS);
  completion.byte_len = static_cast<uint32_t>(bytes);
  add_completion(*of<Queue>(peer->verbs.recv_cq), completion);
  return IBV_WC_SUCCESS;
}

void advance(Pair& pair) {
  World& w = world();
  const Send send = std::move(pair.sends.front());
  pair.sends.pop_front();
  const auto found = w.pairs.find(pair.peer);
  Pair* const peer = found != w.pairs.end() ? found->second : nullptr;
  const bool fails = w.until_failure != UINT64_MAX && w.until_failure-- == 0;
  if (fails) w.until_failure = UINT64_MAX;
  const ibv_wc_status status = fails ? w.failure : carry_out(pair, send, peer);
  const bool well = status == IBV_WC_SUCCESS;
  if (!well || (send.request.send_flags & IBV_SEND_SIGNALED))
    add_completion(
        *of<Queue>(pair.verbs.send_cq),
        completion_of(pair, send.request.wr_id, send.request.opcode == IBV_WR_SEND ? IBV_WC_SEND : IBV_WC_RDMA_WRITE, status));
  if (!well) flush(pair);
}

// Something of what is under way, of any pairs.
void happen() {
  World& w = world();
  std::vector<Pair*> busy;
  for (const auto& [number, pair] : w.pairs)
    if (!pair->sends.empty()) busy.push_back(pair);
  for (size_t steps = w.mood() % 4; steps > 0 && !busy.empty(); --steps) {
    Pair* const pair = busy[w.mood() % busy.size()];
    if (!pair->sends.empty()) advance(*pair);
  }
}

// ---- the device's own table ----

int post_send(ibv_qp* qp, ibv_send_wr* request, ibv_send_wr** refused) {
  const std::lock_guard lock(world().mutex);
  Pair& pair = *of<Pair>(qp);
  for (; request; request = request->next) {
    *refused = request;
    if (pair.state != IBV_QPS_RTS && pair.state != IBV_QPS_ERR) return EINVAL;
    if (request->num_sge > 1 || pair.unfinished >= pair.most.max_send_wr) return ENOMEM;
    Send send{*request, {}, {}};
    if (request->num_sge == 1) send.from = request->sg_list[0];
    if (request->send_flags & IBV_SEND_INLINE) {
      if (send.from.length > pair.most.max_inline_data) return EINVAL;
      const auto* const from = reinterpret_cast<const std::byte*>(send.from.addr);
      send.beside.assign(from, from + send.from.length);
    }
    ++pair.unfinished;
    pair.sends.push_back(std::move(send));
    if (pair.state == IBV_QPS_ERR)
      flush(pair);
    else
      while (!world().moody && !pair.sends.empty()) advance(pair);
  }
  return 0;
}

int post_receive(ibv_qp* qp, ibv_recv_wr* request, ibv_recv_wr** refused) {
  const std::lock_guard lock(world().mutex);
  Pair& pair = *of<Pair>(qp);
  for (; request; request = request->next) {
    *refused = request;
    if (pair.state == IBV_QPS_RESET || request->num_sge != 1) return EINVAL;
    if (pair.receives.size() >= pair.most.max_recv_wr) return ENOMEM;
    pair.receives.emplace_back(request->wr_id, request->sg_list[0]);
    if (pair.state == IBV_QPS_ERR) flush(pair);
  }
  return 0;
}

int poll_queue(ibv_cq* cq, int most, ibv_wc* completions) {
  const std::lock_guard lock(world().mutex);
  World& w = world();
  Queue& queue = *of<Queue>(cq);
  if (queue.overrun) return -1;
  if (w.moody) {
    happen();
    most = std::min<int>(most, static_cast<int>(w.mood() % 3));
  }
  int n = 0;
  while (n < most && queue.held > 0) {
    auto from = queue.waiting.begin();
    std::advance(from, w.moody ? w.mood() % queue.waiting.size() : 0);
    completions[n] = from->second.front();
    from->second.pop_front();
    if (from->second.empty()) queue.waiting.erase(from);
    --queue.held;
    const auto pair = w.pairs.find(completions[n].qp_num);
    // Whatever was posted before what completes is finished, too.
    if (pair != w.pairs.end() && completions[n].opcode != IBV_WC_RECV) {
      size_t later = pair->second->sends.size();
      if (const auto rest = queue.waiting.find(completions[n].qp_num); rest != queue.waiting.end())
        later += static_cast<size_t>(
            std::count_if(rest->second.begin(), rest->second.end(), [](const ibv_wc& one) { return one.opcode != IBV_WC_RECV; }));
      pair->second->unfinished = std::min(pair->second->unfinished, 2 * later);
    }
    ++n;
  }
  return n;
}

int arm(ibv_cq* cq, int) {
  const std::lock_guard lock(world().mutex);
  of<Queue>(cq)->armed = true;
  return 0;
}

}  // namespace

// ---- the library's functions ----

extern "C" {

int ibv_fork_init(void) { return 0; }

ibv_device** ibv_get_device_list(int* count) {
  const std::lock_guard lock(world().mutex);
  World& w = world();
  auto** const list = new ibv_device* [5] {};
  for (int i = 0; i < w.devices; ++i) list[i] = &w.device[i];
  *count = w.devices;
  return list;
}
void ibv_free_device_list(ibv_device** list) { delete[] list; }
const char* ibv_get_device_name(ibv_device* device) { return device->name; }

ibv_context* ibv_open_device(ibv_device* device) {
  const std::lock_guard lock(world().mutex);
  auto* const context = new Context;
  context->device = static_cast<int>(device - world().device);
  context->verbs.device = device;
  context->verbs.ops.post_send = post_send;
  context->verbs.ops.post_recv = post_receive;
  context->verbs.ops.poll_cq = poll_queue;
  context->verbs.ops.req_notify_cq = arm;
  context->verbs.async_fd = ::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
  world().contexts.push_back(context);
  ++world().objects;
  return &context->verbs;
}
int ibv_close_device(ibv_context* verbs) {
  const std::lock_guard lock(world().mutex);
  std::erase(world().contexts, of<Context>(verbs));
  ::close(verbs->async_fd);
  delete of<Context>(verbs);
  --world().objects;
  return 0;
}

int ibv_query_device(ibv_context*, ibv_device_attr* attributes) {
  *attributes = {};
  attributes->phys_port_cnt = static_cast<uint8_t>(world().ports);
  attributes->max_cqe = 32767;
  attributes->max_qp = 1024;
  return 0;
}

int ibv_query_port(ibv_context* context, uint8_t port, _compat_ibv_port_attr* compatible) {
  if (port < 1 || port > world().ports) return EINVAL;
  auto* const attributes = reinterpret_cast<ibv_port_attr*>(compatible);
  attributes->state = of<Context>(context)->device == 0 && !world().port_up[port - 1] ? IBV_PORT_DOWN : IBV_PORT_ACTIVE;
  attributes->max_mtu = IBV_MTU_4096;
  attributes->active_mtu = IBV_MTU_1024;
  attributes->gid_tbl_len = 4;
  attributes->link_layer = IBV_LINK_LAYER_ETHERNET;
  return 0;
}

int _ibv_query_gid_ex(ibv_context* context, uint32_t port, uint32_t index, ibv_gid_entry* entry, uint32_t, size_t) {
  if (port < 1 || port > static_cast<uint32_t>(world().ports) || index > 3) return ENODATA;
  *entry = {};
  entry->gid_index = index;
  entry->port_num = port;
  entry->gid_type = index % 2 == 0 ? IBV_GID_TYPE_ROCE_V1 : IBV_GID_TYPE_ROCE_V2;
  entry->gid = gid_of(of<Context>(context)->device, port, index);
  return 0;
}

int ibv_get_async_event(ibv_context* verbs, ibv_async_event* event) {
  uint64_t count = 0;
  if (::read(verbs->async_fd, &count, sizeof count) != sizeof count) return -1;
  const std::lock_guard lock(world().mutex);
  Context& context = *of<Context>(verbs);
  event->event_type = context.events.front();
  context.events.pop_front();
  return 0;
}
void ibv_ack_async_event(ibv_async_event*) {}

ibv_pd* ibv_alloc_pd(ibv_context* context) {
  const std::lock_guard lock(world().mutex);
  ++world().objects;
  auto* const domain = new ibv_pd{};
  domain->context = context;
  return domain;
}
int ibv_dealloc_pd(ibv_pd* domain) {
  const std::lock_guard lock(world().mutex);
  --world().objects;
  delete domain;
  return 0;
}

ibv_mr* ibv_reg_mr(ibv_pd* domain, void* address, size_t bytes, int access) {
  const std::lock_guard lock(world().mutex);
  World& w = world();
  if (bytes > w.lockable || w.locked > w.lockable - bytes) {
    errno = ENOMEM;
    return nullptr;
  }
  w.locked += bytes;
  ++w.objects;
  auto* const region = new Region;
  region->verbs.context = domain->context;
  region->verbs.pd = domain;
  region->verbs.addr = address;
  region->verbs.length = bytes;
  region->verbs.lkey = region->verbs.rkey = w.next_key++;
  region->access = access;
  w.regions[region->verbs.lkey] = region;
  return &region->verbs;
}
int ibv_dereg_mr(ibv_mr* verbs) {
  const std::lock_guard lock(world().mutex);
  world().locked -= verbs->length;
  world().regions.erase(verbs->lkey);
  --world().objects;
  delete of<Region>(verbs);
  return 0;
}

ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  const std::lock_guard lock(world().mutex);
  ++world().objects;
  auto* const channel = new Channel;
  channel->verbs.context = context;
  channel->verbs.fd = ::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
  return &channel->verbs;
}
int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  const std::lock_guard lock(world().mutex);
  --world().objects;
  ::close(channel->fd);
  delete of<Channel>(channel);
  return 0;
}

ibv_cq* ibv_create_cq(ibv_context* context, int entries, void* user, ibv_comp_channel* channel, int) {
  const std::lock_guard lock(world().mutex);
  ++world().objects;
  auto* const queue = new Queue;
  queue->verbs.context = context;
  queue->verbs.cqe = entries;
  queue->verbs.cq_context = user;
  queue->verbs.channel = channel;
  return &queue->verbs;
}
int ibv_resize_cq(ibv_cq* queue, int entries) {
  const std::lock_guard lock(world().mutex);
  if (static_cast<size_t>(entries) < of<Queue>(queue)->held) return EINVAL;
  queue->cqe = entries;
  return 0;
}
int ibv_destroy_cq(ibv_cq* queue) {
  const std::lock_guard lock(world().mutex);
  --world().objects;
  delete of<Queue>(queue);
  return 0;
}
int ibv_get_cq_event(ibv_comp_channel* verbs, ibv_cq** queue, void** user) {
  uint64_t count = 0;
  if (::read(verbs->fd, &count, sizeof count) != sizeof count) return -1;
  const std::lock_guard lock(world().mutex);
  Channel& channel = *of<Channel>(verbs);
  *queue = &channel.told.front()->verbs;
  *user = (*queue)->cq_context;
  channel.told.pop_front();
  return 0;
}
void ibv_ack_cq_events(ibv_cq*, unsigned) {}

ibv_qp* ibv_create_qp(ibv_pd* domain, ibv_qp_init_attr* wanted) {
  const std::lock_guard lock(world().mutex);
  World& w = world();
  if (wanted->qp_type != IBV_QPT_RC || wanted->cap.max_inline_data > 512) {
    errno = EINVAL;
    return nullptr;
  }
  ++w.objects;
  auto* const pair = new Pair;
  pair->verbs.context = domain->context;
  pair->verbs.pd = domain;
  pair->verbs.send_cq = wanted->send_cq;
  pair->verbs.recv_cq = wanted->recv_cq;
  pair->verbs.qp_num = w.next_pair++;
  pair->most = wanted->cap;
  w.pairs[pair->verbs.qp_num] = pair;
  return &pair->verbs;
}

int ibv_modify_qp(ibv_qp* qp, ibv_qp_attr* attributes, int mask) {
  const std::lock_guard lock(world().mutex);
  Pair& pair = *of<Pair>(qp);
  if (!(mask & IBV_QP_STATE)) return errno = EINVAL;
  const auto moves = [&](ibv_qp_state from, int needed) { return pair.state == from && (mask & needed) == needed; };
  switch (attributes->qp_state) {
    case IBV_QPS_INIT:
      if (!moves(IBV_QPS_RESET, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) || attributes->port_num < 1 ||
          attributes->port_num > world().ports)
        return errno = EINVAL;
      pair.port = attributes->port_num;
      break;
    case IBV_QPS_RTR:
      if (!moves(IBV_QPS_INIT, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
                                   IBV_QP_MIN_RNR_TIMER) ||
          !attributes->ah_attr.is_global || attributes->ah_attr.port_num != pair.port)
        return errno = EINVAL;
      pair.to = attributes->ah_attr.grh.dgid;
      pair.from = gid_of(of<Context>(qp->context)->device, pair.port, attributes->ah_attr.grh.sgid_index);
      pair.peer = attributes->dest_qp_num;
      pair.first_expected = attributes->rq_psn;
      break;
    case IBV_QPS_RTS:
      if (!moves(IBV_QPS_RTR, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC))
        return errno = EINVAL;
      pair.first_sent = attributes->sq_psn;
      break;
    case IBV_QPS_ERR: flush(pair); break;
    default: return errno = EINVAL;
  }
  pair.state = attributes->qp_state;
  return 0;
}

int ibv_destroy_qp(ibv_qp* qp) {
  const std::lock_guard lock(world().mutex);
  World& w = world();
  for (ibv_cq* verbs : {qp->send_cq, qp->recv_cq}) {  // what it has completed is gone with it
    Queue& queue = *of<Queue>(verbs);
    if (const auto found = queue.waiting.find(qp->qp_num); found != queue.waiting.end()) {
      queue.held -= found->second.size();
      queue.waiting.erase(found);
    }
  }
  w.pairs.erase(qp->qp_num);
  --w.objects;
  delete of<Pair>(qp);
  return 0;
}

const char* ibv_wc_status_str(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_SUCCESS: return "success";
    case IBV_WC_RETRY_EXC_ERR: return "transport retry counter exceeded";
    case IBV_WC_RNR_RETRY_EXC_ERR: return "RNR retry counter exceeded";
    case IBV_WC_REM_ACCESS_ERR: return "remote access error";
    case IBV_WC_LOC_PROT_ERR: return "local protection error";
    case IBV_WC_WR_FLUSH_ERR: return "Work Request Flushed Error";
    default: return "another error";
  }
}

__attribute__((visibility("default"))) extern const tutti::test::FakeVerbs tutti_fake_verbs;
const tutti::test::FakeVerbs tutti_fake_verbs = {
    .set_moody =
        [](bool moody, uint32_t seed) {
          const std::lock_guard lock(world().mutex);
          world().moody = moody;
          world().mood.seed(seed + 1);
        },
    .fail_message =
        [](uint64_t skip, int status) {
          const std::lock_guard lock(world().mutex);
          world().until_failure = skip;
          world().failure = static_cast<ibv_wc_status>(status);
        },
    .set_devices =
        [](int devices, int ports) {
          world().devices = devices;
          world().ports = ports;
        },
    .set_port = [](int port, bool up) { world().port_up[port - 1] = up; },
    .set_lockable =
        [](uint64_t bytes) {
          const std::lock_guard lock(world().mutex);
          world().lockable = bytes == UINT64_MAX ? bytes : world().locked + bytes;
        },
    .locked =
        [] {
          const std::lock_guard lock(world().mutex);
          return world().locked;
        },
    .remove_device =
        [] {
          const std::lock_guard lock(world().mutex);
          for (Context* context : world().contexts) {
            context->events.push_back(IBV_EVENT_DEVICE_FATAL);
            const uint64_t one = 1;
            (void)!::write(context->verbs.async_fd, &one, sizeof one);
          }
        },
    .receivers_not_ready = [] { return world().not_ready; },
    .objects = [] { return world().objects; },
};

}  // extern "C"

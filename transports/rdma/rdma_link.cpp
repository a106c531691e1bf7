#include "rdma_link.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "rdma_transport.h"

namespace tutti::rdma {
namespace {

// A lost packet is sent again after 4.096 µs · 2^16 = 0.27 s, six times: a peer that is gone is known after 2 s, and
// links survive a network that was gone for one.  Soft-RoCE takes 7 for "forever".
constexpr uint8_t kTimeout = 16, kRetries = 6;
constexpr uint32_t kInlineBytes = sizeof(Frame) + 64;  // asked for; what the device reads from the request itself
constexpr char kReady = 'r';

uint32_t random_packet_number() { return static_cast<uint32_t>(std::random_device()()) & 0xffffff; }

}  // namespace

RdmaLink::RdmaLink(RdmaTransport& owner, Setup setup)
    : owner_(owner),
      number_(setup.number),
      peer_name_(std::move(setup.peer_name)),
      connector_(std::move(setup.connector)),
      landing_slots_(setup.landing.size()),
      landing_(setup.landing.begin(), setup.landing.end()),
      error_(std::move(setup.broken)) {}

// ---- connecting ----

void RdmaLink::start() {
  if (stage_ != Stage::unused) return;
  stage_ = Stage::meeting;
  owner_.watch(*this);
  if (awaits_accept())
    if (const Status status = owner_.accept(); !status.ok()) die(status);
  move();
}

bool RdmaLink::awaits_accept() const { return error_.ok() && !connector_ && stage_ == Stage::meeting; }

// A dead link that was still to do something never rests: progress() keeps telling.
bool RdmaLink::at_rest() const {
  return stage_ == Stage::unused || (stage_ == Stage::connected && (error_.ok() || first_lost_ == UINT64_MAX));
}

bool RdmaLink::accepted(OwnedFd fd) {
  if (!error_.ok() || connector_ || stage_ > Stage::meeting) return false;
  owner_.watch(*this);
  if (Status status = begin_telling(std::move(fd)); !status.ok()) die(std::move(status));
  return true;
}

void RdmaLink::move() {
  if (!error_.ok()) return;
  if (stage_ == Stage::meeting && connector_) {
    auto fd = connector_->advance();
    Status status = fd.status();
    if (fd.ok() && *fd) status = begin_telling(std::move(*fd));
    if (!status.ok()) {
      die(Status(status.code(), "no RDMA connection to " + peer_name_ + " can be made: " + status.message()));
      return;
    }
  }
  if (stage_ == Stage::telling)
    if (Status status = tell(); !status.ok()) die(std::move(status));
}

Status RdmaLink::begin_telling(OwnedFd fd) {
  socket_ = std::move(fd);
  stage_ = Stage::telling;
  return make_queue_pair();
}

Status RdmaLink::to_state(ibv_qp_attr& attributes, int mask, const char* doing) {
  const int error = owner_.verbs().modify_qp(queue_pair_.get(), &attributes, mask | IBV_QP_STATE);
  if (error == 0) return {};
  errno = error;
  return system_error(std::string(doing) + " the queue pair to " + peer_name_ + " on " + owner_.port().name() + " (GID " +
                      owner_.gid().to_text() + ")");
}

Status RdmaLink::make_queue_pair() {
  if (Status status = owner_.room_for_link(); !status.ok()) return status;
  constexpr size_t kBytes = (kReceives + kSends) * kBufferBytes;
  buffers_ = std::make_unique<std::byte[]>(kBytes);
  auto region = owner_.device().register_memory(buffers_.get(), kBytes, IBV_ACCESS_LOCAL_WRITE);
  if (!region.ok()) return region.status();
  region_ = std::move(*region);
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = owner_.completions();
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap = {
      .max_send_wr = 2 * kSends, .max_recv_wr = kReceives, .max_send_sge = 1, .max_recv_sge = 1, .max_inline_data = kInlineBytes};
  const Verbs& verbs = owner_.verbs();
  queue_pair_ = owned(verbs.create_qp(owner_.device().domain(), &wanted), verbs.destroy_qp);
  if (!queue_pair_) {  // not all devices read as much from the request
    wanted.cap.max_inline_data = 0;
    queue_pair_ = owned(verbs.create_qp(owner_.device().domain(), &wanted), verbs.destroy_qp);
  }
  if (!queue_pair_) return system_error("making a queue pair to " + peer_name_ + " on " + owner_.port().name());
  inline_bytes_ = wanted.cap.max_inline_data;
  first_packet_ = random_packet_number();
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = owner_.port().number;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  if (Status status = to_state(attributes, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, "preparing"); !status.ok())
    return status;
  for (uint32_t i = 0; i < kReceives; ++i)
    if (Status status = post_receive(i); !status.ok()) return status;
  return {};
}

// Tells and hears addresses, and then that the peer receives; never blocks.
Status RdmaLink::tell() {
  const auto broke = [this](const char* how) {
    return Status(Code::peer_lost, peer_name_ + " " + how + " while the RDMA connection to it was being made");
  };
  const auto say = [&](const void* bytes, size_t n) {  // an empty send buffer has room for this
    return ::send(socket_.get(), bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(n);
  };
  if (!told_address_) {
    EndAddress mine;
    mine.queue_pair = queue_pair_->qp_num;
    mine.first_packet = first_packet_;
    std::memcpy(mine.gid, owner_.gid().address.raw, sizeof mine.gid);
    mine.lid = owner_.port().lid;
    mine.mtu = static_cast<uint8_t>(owner_.port().mtu);
    mine.ethernet = owner_.port().ethernet;
    mine.key = owner_.region().rkey;
    mine.slot_bytes = owner_.pool().slot_bytes();
    for (size_t i = 0; i < landing_.size(); ++i) mine.landing[i] = reinterpret_cast<uintptr_t>(landing_[i].data);
    if (!say(&mine, sizeof mine)) return broke("closed the connection");
    told_address_ = true;
  }
  while (heard_ < sizeof said_) {
    const ssize_t n = ::recv(socket_.get(), said_ + heard_, sizeof said_ - heard_, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return broke("closed the connection");
    heard_ += static_cast<size_t>(n);
  }
  if (heard_ >= sizeof(EndAddress) && !told_ready_) {
    const auto peer = decode_end_address(std::span(said_, sizeof(EndAddress)));
    if (!peer) return broke("sent bytes that are no address of this version");
    if (Status status = connect_to(*peer); !status.ok()) return status;
    if (!say(&kReady, 1)) return broke("closed the connection");
    told_ready_ = true;
  }
  if (heard_ < sizeof said_) return {};
  if (static_cast<char>(said_[sizeof(EndAddress)]) != kReady) return broke("sent bytes that mean nothing");
  socket_.reset();
  stage_ = Stage::connected;
  return {};
}

Status RdmaLink::connect_to(const EndAddress& peer) {
  const Port& port = owner_.port();
  if ((peer.ethernet == 1) != port.ethernet)
    return Status(Code::unreachable, "this rank's " + port.name() + " is " + (port.ethernet ? "RoCE" : "InfiniBand") +
                                         " and that of " + peer_name_ + " is not; TUTTI_INTERFACE chooses devices");
  if (peer.slot_bytes != owner_.pool().slot_bytes()) return Status(Code::internal, peer_name_ + " has slots of another size");
  const auto peer_mtu = static_cast<ibv_mtu>(peer.mtu);
  if (peer_mtu != port.mtu) owner_.warn_of_mtu(peer_name_, peer_mtu);
  ibv_qp_attr to{};
  to.qp_state = IBV_QPS_RTR;
  to.path_mtu = std::min(port.mtu, peer_mtu);
  to.dest_qp_num = peer.queue_pair;
  to.rq_psn = peer.first_packet;
  to.min_rnr_timer = 12;
  to.ah_attr.port_num = port.number;
  to.ah_attr.dlid = peer.lid;
  to.ah_attr.is_global = port.ethernet;
  std::memcpy(to.ah_attr.grh.dgid.raw, peer.gid, sizeof peer.gid);
  to.ah_attr.grh.sgid_index = static_cast<uint8_t>(owner_.gid().index);
  to.ah_attr.grh.hop_limit = 64;
  Status status =
      to_state(to, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
               "connecting");
  if (!status.ok()) return status;
  ibv_qp_attr from{};
  from.qp_state = IBV_QPS_RTS;
  from.timeout = kTimeout;
  from.retry_cnt = kRetries;
  from.rnr_retry = 0;  // see Credits
  from.sq_psn = first_packet_;
  status =
      to_state(from, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC, "connecting");
  if (!status.ok()) return status;
  peer_key_ = peer.key;
  for (const uint64_t place : peer.landing)
    if (place != 0) peer_landing_.push_back(place);
  return {};
}

// ---- sending ----

Status RdmaLink::post_receive(uint32_t buffer) {
  ibv_sge place{reinterpret_cast<uintptr_t>(receive_buffer(buffer)), kBufferBytes, region_->lkey};
  ibv_recv_wr request{};
  request.wr_id = request_id(number_, Request::receive, buffer);
  request.sg_list = &place;
  request.num_sge = 1;
  ibv_recv_wr* refused = nullptr;
  if (const int error = ibv_post_recv(queue_pair_.get(), &request, &refused); error != 0) {
    errno = error;
    return system_error("posting a receive for " + peer_name_);
  }
  return {};
}

// `write`: what goes to frame.place first; null: nothing does.
Status RdmaLink::post(const Frame& frame, const std::byte* payload, size_t payload_bytes, const Piece* write) {
  std::byte* const buffer = send_buffer(sends_posted_);
  std::memcpy(buffer, &frame, sizeof frame);
  if (payload_bytes > 0) std::memcpy(buffer + sizeof frame, payload, payload_bytes);
  const auto total = static_cast<uint32_t>(sizeof frame + payload_bytes);

  ibv_sge what{reinterpret_cast<uintptr_t>(buffer), total, region_->lkey};
  ibv_send_wr send{};
  send.wr_id = request_id(number_, Request::send, 0);
  send.sg_list = &what;
  send.num_sge = 1;
  send.opcode = IBV_WR_SEND;
  send.send_flags = IBV_SEND_SIGNALED | (total <= inline_bytes_ ? IBV_SEND_INLINE : 0);

  ibv_sge from{};
  ibv_send_wr first{};
  if (write) {
    from = {reinterpret_cast<uintptr_t>(write->data), static_cast<uint32_t>(write->bytes), owner_.region().lkey};
    first.wr_id = request_id(number_, Request::write, 0);
    first.next = &send;
    first.sg_list = &from;
    first.num_sge = 1;
    first.opcode = IBV_WR_RDMA_WRITE;
    first.wr.rdma = {frame.place, peer_key_};
  }
  ibv_send_wr* refused = nullptr;
  if (const int error = ibv_post_send(queue_pair_.get(), write ? &first : &send, &refused); error != 0) {
    errno = error;
    return system_error("sending to " + peer_name_ + " by " + owner_.port().name());
  }
  ++sends_posted_;
  counters_.writes += write != nullptr;
  return {};
}

void RdmaLink::add_credits(Frame& frame) {
  frame.taken = told_taken_ = taken_;
  while (!owed_landing_.empty() && frame.returned < kMostLanding) {
    frame.landing[frame.returned++] = reinterpret_cast<uintptr_t>(owed_landing_.front().data);
    landing_.push_back(owed_landing_.front());
    owed_landing_.pop_front();
  }
}

Progress RdmaLink::send(Slot slot, size_t bytes, const Signature& signature) {
  if (error_.ok() && stage_ != Stage::connected) start();
  if (!error_.ok()) return verdict();
  if (stage_ != Stage::connected || !can_post() || messages_sent_ - messages_taken_ >= kMessages) return Progress::busy;
  const bool is_short = bytes <= kMostShort;
  if (!is_short && peer_landing_.empty()) return Progress::busy;
  Frame frame;
  frame.bytes = static_cast<uint32_t>(bytes);
  frame.signature = signature;
  if (!is_short) {
    frame.place = peer_landing_.front();
    peer_landing_.pop_front();
  }
  add_credits(frame);
  const Piece piece{slot.data, bytes};
  if (Status status = post(frame, slot.data, is_short ? bytes : 0, is_short ? nullptr : &piece); !status.ok())
    return die(std::move(status));
  ++messages_sent_;
  ++counters_.messages;
  sent_bytes_ += bytes;
  if (!is_short)
    writing_.push_back({messages_sent_, sends_posted_, slot});
  else if (slot)
    owner_.pool().release(slot);
  return Progress::done;
}

// Who sends nothing must still say what it has taken out, or the peer runs out of credits.
void RdmaLink::pay_debts() {
  const bool due = taken_ - told_taken_ >= kMessages / 2 || owed_landing_.size() >= std::max<size_t>(landing_slots_ / 2, 1);
  if (!due || !can_post()) return;
  Frame frame;
  frame.kind = Frame::Kind::credits;
  add_credits(frame);
  ++counters_.credit_frames;
  if (Status status = post(frame, nullptr, 0, nullptr); !status.ok()) die(std::move(status));
}

// ---- receiving ----

// A frame has arrived in this buffer.
void RdmaLink::arrive(uint32_t buffer, size_t bytes) {
  const auto frame = decode_frame(std::span(receive_buffer(buffer), bytes));
  const bool believed = frame && frame->taken >= messages_taken_ && frame->taken <= messages_sent_ &&
                        peer_landing_.size() + frame->returned <= kMostLanding;
  if (!believed) {
    die(Status(Code::peer_lost, peer_name_ + " sent a frame over RDMA that makes no sense"));
    return;
  }
  messages_taken_ = frame->taken;
  for (size_t i = 0; i < frame->returned; ++i) peer_landing_.push_back(frame->landing[i]);
  if (frame->kind == Frame::Kind::credits) {
    if (Status status = post_receive(buffer); !status.ok()) die(std::move(status));
    return;
  }
  Arrived arrived{buffer, *frame, {}};
  if (frame->place != 0) {  // slots are used in the order in which they were told
    const bool known = !landing_.empty() && frame->place == reinterpret_cast<uintptr_t>(landing_.front().data) &&
                       frame->bytes <= owner_.pool().slot_bytes();
    if (!known) {
      die(Status(Code::peer_lost, peer_name_ + " wrote a message over RDMA where it was not asked to"));
      return;
    }
    arrived.slot = landing_.front();
    landing_.pop_front();
  }
  arrived_.push_back(arrived);
}

Progress RdmaLink::peek(Signature& next) {
  if (arrived_.empty()) {
    if (error_.ok()) start();
    return error_.ok() ? Progress::busy : verdict();
  }
  next = arrived_.front().frame.signature;
  return Progress::done;
}

Progress RdmaLink::receive(Slot& slot, size_t bytes, const Signature& expected) {
  Signature next;
  if (const Progress progress = peek(next); progress != Progress::done) return progress;
  const Arrived arrived = arrived_.front();
  if (arrived.frame.bytes != bytes || !(next == expected)) {
    offender_ = next;
    return die(Status(Code::mismatch, peer_name_ + " sent " + std::to_string(arrived.frame.bytes) + " bytes of " + describe(next) +
                                          " where " + std::to_string(bytes) + " bytes of " + describe(expected) + " were due"));
  }
  arrived_.pop_front();
  return take(arrived, slot);
}

Progress RdmaLink::take(const Arrived& arrived, Slot& slot) {
  if (arrived.slot) {
    owed_landing_.push_back(std::exchange(slot, arrived.slot));
  } else if (arrived.frame.bytes > 0) {
    std::memcpy(slot.data, receive_buffer(arrived.buffer) + sizeof(Frame), arrived.frame.bytes);
    counters_.copied_bytes += arrived.frame.bytes;
  }
  ++taken_;
  if (!error_.ok()) return Progress::done;  // what arrived before the loss
  Status status = post_receive(arrived.buffer);
  if (!status.ok()) die(std::move(status));
  pay_debts();
  return Progress::done;
}

// ---- completions ----

void RdmaLink::completed(const ibv_wc& completion) {
  ++counters_.completions;
  const auto request = static_cast<Request>(completion.wr_id >> 16 & 0xff);
  const bool well = completion.status == IBV_WC_SUCCESS;
  if (request == Request::send) {
    ++sends_completed_;
    while (!writing_.empty() && writing_.front().send <= sends_completed_) {
      owner_.pool().release(writing_.front().slot);
      writing_.pop_front();
    }
    if (well && error_.ok()) pay_debts();
  }
  if (well) {
    if (request == Request::receive && error_.ok()) arrive(static_cast<uint32_t>(completion.wr_id & 0xffff), completion.byte_len);
    return;
  }
  if (completion.status == IBV_WC_WR_FLUSH_ERR || !error_.ok()) return;  // a consequence of what is known
  const bool unanswered = completion.status == IBV_WC_RETRY_EXC_ERR;
  die(Status(Code::peer_lost, "the RDMA connection to " + peer_name_ + " broke: " + owner_.verbs().status_text(completion.status) +
                                  (unanswered ? "; its process has ended, or the network between " + owner_.port().name() +
                                                    " and it does not carry RDMA"
                                              : "")));
}

// What is queued is flushed, which lets its slots go.
Progress RdmaLink::die(Status why) {
  if (error_.ok()) error_ = std::move(why);
  if (!writing_.empty()) first_lost_ = std::min(first_lost_, writing_.front().message);
  socket_.reset();
  owner_.watch(*this);
  if (queue_pair_) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_ERR;
    (void)owner_.verbs().modify_qp(queue_pair_.get(), &attributes, IBV_QP_STATE);
  }
  return verdict();
}

void RdmaLink::fail(const Status& why) {
  if (error_.ok()) die(Status(why.code(), why.message() + "; this ended the connection to " + peer_name_));
}

size_t RdmaLink::memory_bytes() const {
  return sizeof *this + (buffers_ ? (kReceives + kSends) * kBufferBytes : 0) + landing_slots_ * owner_.pool().slot_bytes();
}

}  // namespace tutti::rdma

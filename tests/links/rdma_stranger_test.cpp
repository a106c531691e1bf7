// A peer that does not keep to the protocol, over a real device or the fake one: the link ends with a sentence that
// names it, and nothing else happens.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rdma_world.h"
#include "stranger.h"

namespace tutti {
namespace {

using rdma::EndAddress;
using rdma::Frame;
using test::fake_verbs;
using testing::HasSubstr;

// Rank 0 of two, by hand: it connects to rank 1, tells an address, and posts what it likes.
class StrangePeer {
 public:
  StrangePeer(rdma::RdmaTransport& victim, const rdma::Port& port)
      : verbs_(**rdma::Verbs::load()),
        port_(port),
        gid_(*rdma::choose_gid(port.gids, -1, "")),
        device_(*rdma::Device::open(verbs_, port.device)),
        endpoint_(*tcp::parse_endpoint(victim.address())),
        socket_(endpoint_.address) {
    socket_.say(right_hello(endpoint_, 0));
    region_ =
        std::move(*device_->register_memory(memory_.data(), memory_.size(), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE));
    completions_ = rdma::owned(verbs_.create_cq(device_->context(), 64, nullptr, nullptr, 0), verbs_.destroy_cq);
    ibv_qp_init_attr wanted{};
    wanted.send_cq = wanted.recv_cq = completions_.get();
    wanted.qp_type = IBV_QPT_RC;
    wanted.cap = {.max_send_wr = 16, .max_recv_wr = 16, .max_send_sge = 1, .max_recv_sge = 1, .max_inline_data = 0};
    pair_ = rdma::owned(verbs_.create_qp(device_->domain(), &wanted), verbs_.destroy_qp);
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = port_.number;
    attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
    to(attributes, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  }

  // What an honest peer would tell.
  EndAddress address() const {
    EndAddress address;
    address.queue_pair = pair_->qp_num;
    std::memcpy(address.gid, gid_.address.raw, sizeof address.gid);
    address.lid = port_.lid;
    address.mtu = static_cast<uint8_t>(port_.mtu);
    address.ethernet = port_.ethernet;
    address.key = region_->rkey;
    address.slot_bytes = kSlotBytes;
    address.landing[0] = reinterpret_cast<uintptr_t>(memory_.data());
    return address;
  }
  void tell(const EndAddress& address) { socket_.say(address); }
  void tell_ready() { socket_.say("r", 1); }
  void leave() { socket_.leave(); }

  // False until the victim has told its own address.
  bool connect() {
    if (::recv(socket_.fd(), &victim_, sizeof victim_, MSG_PEEK | MSG_DONTWAIT) != sizeof victim_) return false;
    ibv_qp_attr far{};
    far.qp_state = IBV_QPS_RTR;
    far.path_mtu = port_.mtu;
    far.dest_qp_num = victim_.queue_pair;
    far.rq_psn = victim_.first_packet;
    far.min_rnr_timer = 12;
    far.ah_attr.port_num = port_.number;
    far.ah_attr.dlid = victim_.lid;
    far.ah_attr.is_global = port_.ethernet;
    std::memcpy(far.ah_attr.grh.dgid.raw, victim_.gid, sizeof victim_.gid);
    far.ah_attr.grh.sgid_index = static_cast<uint8_t>(gid_.index);
    far.ah_attr.grh.hop_limit = 64;
    to(far, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    ibv_qp_attr near{};
    near.qp_state = IBV_QPS_RTS;
    near.timeout = 14;
    near.retry_cnt = 1;
    to(near, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
    tell_ready();
    return true;
  }
  uint64_t place_at_victim() const { return victim_.landing[0]; }

  void send(const void* bytes, size_t count) {
    std::memcpy(memory_.data(), bytes, count);
    ibv_sge from{reinterpret_cast<uintptr_t>(memory_.data()), static_cast<uint32_t>(count), region_->lkey};
    ibv_send_wr request{};
    request.sg_list = &from;
    request.num_sge = 1;
    request.opcode = IBV_WR_SEND;
    ibv_send_wr* refused = nullptr;
    ASSERT_EQ(ibv_post_send(pair_.get(), &request, &refused), 0);
  }

  static constexpr size_t kSlotBytes = 8192;

 private:
  void to(ibv_qp_attr& attributes, int mask) { ASSERT_EQ(verbs_.modify_qp(pair_.get(), &attributes, mask | IBV_QP_STATE), 0); }

  const rdma::Verbs& verbs_;
  const rdma::Port port_;
  const rdma::Gid gid_;
  const std::shared_ptr<rdma::Device> device_;
  const tcp::Endpoint endpoint_;
  Stranger socket_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(kSlotBytes);
  rdma::Owned<ibv_mr> region_;
  rdma::Owned<ibv_cq> completions_;
  rdma::Owned<ibv_qp> pair_;
  EndAddress victim_;
};

class RdmaStrangers : public testing::Test {
 protected:
  void SetUp() override {
    if (!RdmaWorld::available()) GTEST_SKIP() << "this machine has no RDMA port";
    log_ = OwnedFd(::memfd_create("log", MFD_CLOEXEC));
    meet();
  }
  void TearDown() override {
    stranger_.reset();
    victim_.reset();
  }
  // A victim, and a stranger that it has let in.
  void meet() {
    TearDown();
    const rdma::Port port = RdmaWorld::ports().front();
    const rdma::Gid gid = *rdma::choose_gid(port.gids, -1, "");
    heap_ = std::make_unique<HeapArena>(memory::ArenaShape{1, kSlots, StrangePeer::kSlotBytes});
    pool_ = std::make_unique<memory::ArenaPool>(heap_->arena(), 0);
    rdma::RdmaOptions options;
    options.rank = 1;
    options.size = 2;
    options.listen_address = "127.0.0.1";
    options.context = 7;
    options.pool = pool_.get();
    options.message_pools = {pool_.get(), pool_.get()};
    options.serves = {true, false};
    options.memory = heap_->arena().all_slots();
    options.name = "test";
    options.log = Log(LogLevel::warn, "", log_.get());
    auto victim = rdma::RdmaTransport::open(std::move(options), *rdma::Device::open(**rdma::Verbs::load(), port.device), port, gid);
    ASSERT_TRUE(victim.ok()) << victim.status().message();
    victim_ = std::move(*victim);
    ASSERT_TRUE(victim_->set_peers({victim_->address(), ""}, {"rank 0 (host b, pid 9)", "rank 1"}).ok());
    stranger_ = std::make_unique<StrangePeer>(*victim_, port);
  }
  void connect(const EndAddress& told) {
    stranger_->tell(told);
    ASSERT_TRUE(until([&] { return stranger_->connect(); }));
    ASSERT_TRUE(until([&] { return link().connected(); }));
  }
  rdma::RdmaLink& link() { return victim_->link_to(0); }
  template <class Condition>
  bool until(Condition condition) {
    return settle([&] { return condition() ? Progress::done : Progress::busy; },
                  [&] {
                    Signature next;
                    (void)link().peek(next);
                    (void)victim_->progress();
                  }) == Progress::done;
  }
  std::string ending() {
    EXPECT_TRUE(until([&] { return !link().error().ok(); }));
    EXPECT_EQ(link().error().code(), Code::peer_lost);
    return link().error().message();
  }
  void send(size_t bytes) {
    const Slot slot = pool_->acquire();
    ASSERT_EQ(link().send(slot, bytes, call(1)), Progress::done);
  }
  std::string log() const {
    std::string text(4096, '\0');
    text.resize(static_cast<size_t>(std::max<ssize_t>(::pread(log_.get(), text.data(), text.size(), 0), 0)));
    return text;
  }

  static constexpr uint32_t kSlots = 16;
  OwnedFd log_;
  std::unique_ptr<HeapArena> heap_;
  std::unique_ptr<memory::ArenaPool> pool_;
  std::unique_ptr<rdma::RdmaTransport> victim_;
  std::unique_ptr<StrangePeer> stranger_;
};

TEST_F(RdmaStrangers, FramesThatMakeNoSense) {
  Frame magic, kind, taken, returned, payload;
  magic.magic = 1;
  kind.kind = static_cast<Frame::Kind>(9);
  taken.kind = returned.kind = Frame::Kind::credits;
  taken.taken = 1;                         // nothing has been sent
  returned.returned = rdma::kMostLanding;  // more than there can be
  payload.bytes = 1;
  for (const Frame& frame : {magic, kind, taken, returned, payload}) {
    meet();
    ASSERT_NO_FATAL_FAILURE(connect(stranger_->address()));
    stranger_->send(&frame, sizeof frame);
    EXPECT_EQ(ending(), "rank 0 (host b, pid 9) sent a frame over RDMA that makes no sense");
  }
  meet();
  ASSERT_NO_FATAL_FAILURE(connect(stranger_->address()));
  stranger_->send("?", 1);
  EXPECT_EQ(ending(), "rank 0 (host b, pid 9) sent a frame over RDMA that makes no sense");
}

TEST_F(RdmaStrangers, MessagesWhereNoneWasAskedFor) {
  for (const bool too_long : {false, true}) {
    meet();
    ASSERT_NO_FATAL_FAILURE(connect(stranger_->address()));
    Frame frame;
    frame.bytes = too_long ? static_cast<uint32_t>(StrangePeer::kSlotBytes + 1) : 1000;
    frame.place = stranger_->place_at_victim() + (too_long ? 0 : 64);
    stranger_->send(&frame, sizeof frame);
    EXPECT_EQ(ending(), "rank 0 (host b, pid 9) wrote a message over RDMA where it was not asked to");
  }
}

TEST_F(RdmaStrangers, MessagesLongerThanTheirBuffer) {
  ASSERT_NO_FATAL_FAILURE(connect(stranger_->address()));
  const std::vector<std::byte> bytes(rdma::kBufferBytes + 1);
  stranger_->send(bytes.data(), bytes.size());
  if (fake_verbs()) return;  // which tells only the sender
  EXPECT_THAT(ending(), HasSubstr("the RDMA connection to rank 0 (host b, pid 9) broke: "));
}

TEST_F(RdmaStrangers, AKeyThatIsNotOfItsMemory) {
  EndAddress address = stranger_->address();
  address.key ^= 0x5a5a5a;
  ASSERT_NO_FATAL_FAILURE(connect(address));
  ASSERT_NO_FATAL_FAILURE(send(4096));
  EXPECT_EQ(ending(), "the RDMA connection to rank 0 (host b, pid 9) broke: remote access error");
}

TEST_F(RdmaStrangers, AnAddressOutsideOfItsMemory) {
  EndAddress address = stranger_->address();
  address.landing[0] += StrangePeer::kSlotBytes;
  ASSERT_NO_FATAL_FAILURE(connect(address));
  ASSERT_NO_FATAL_FAILURE(send(4096));
  EXPECT_EQ(ending(), "the RDMA connection to rank 0 (host b, pid 9) broke: remote access error");
}

TEST_F(RdmaStrangers, APeerThatPostsNoReceive) {
  ASSERT_NO_FATAL_FAILURE(connect(stranger_->address()));
  ASSERT_NO_FATAL_FAILURE(send(64));
  EXPECT_EQ(ending(), "the RDMA connection to rank 0 (host b, pid 9) broke: RNR retry counter exceeded");
}

TEST_F(RdmaStrangers, AddressesThatMakeNoSense) {
  EndAddress magic = stranger_->address(), mtu = magic, landing = magic;
  magic.magic = 1;
  mtu.mtu = 9;
  landing.landing[0] = 0;
  for (EndAddress address : {magic, mtu, landing}) {
    meet();
    address.queue_pair = stranger_->address().queue_pair;
    stranger_->tell(address);
    EXPECT_EQ(ending(),
              "rank 0 (host b, pid 9) sent bytes that are no address of this version while the RDMA connection to it "
              "was being made");
  }
  meet();
  EndAddress slots = stranger_->address();
  slots.slot_bytes *= 2;
  stranger_->tell(slots);
  EXPECT_TRUE(until([&] { return !link().error().ok(); }));
  EXPECT_EQ(link().error().message(), "rank 0 (host b, pid 9) has slots of another size");
  meet();
  EndAddress fabric = stranger_->address();
  fabric.ethernet = !fabric.ethernet;
  stranger_->tell(fabric);
  EXPECT_TRUE(until([&] { return !link().error().ok(); }));
  EXPECT_THAT(link().error().message(), HasSubstr("is RoCE and that of rank 0 (host b, pid 9) is not"));
}

TEST_F(RdmaStrangers, WhoLeavesMeanwhile) {
  stranger_->leave();
  EXPECT_EQ(ending(), "rank 0 (host b, pid 9) closed the connection while the RDMA connection to it was being made");
  meet();
  stranger_->tell(stranger_->address());
  stranger_->leave();
  EXPECT_EQ(ending(), "rank 0 (host b, pid 9) closed the connection while the RDMA connection to it was being made");
}

TEST_F(RdmaStrangers, SmallerPacketsAreUsedAndToldOf) {
  EndAddress address = stranger_->address();
  address.mtu = IBV_MTU_256;
  ASSERT_NO_FATAL_FAILURE(connect(address));
  const std::string text = log();
  EXPECT_THAT(text, HasSubstr("bytes and rank 0 (host b, pid 9) packets of 256; the smaller are used"));
  EXPECT_THAT(text, HasSubstr("communicator test: this rank's " + RdmaWorld::ports().front().name() + " has packets of " +
                              std::to_string(rdma::bytes_of(RdmaWorld::ports().front().mtu))));
}

}  // namespace
}  // namespace tutti

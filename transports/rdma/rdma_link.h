// A link to one peer over one reliable connected queue pair.
//
// How a message travels.  A short one (kMostShort) is sent with its frame into a buffer that the receiver has posted.
// A longer one is first written straight into a landing slot of the receiver's, and its frame says where.  What rests
// on verbs: requests of a queue pair take effect at the peer in the order in which they are posted, and a completed
// receive shows all writes before it, so when the frame has arrived, all of the message is in memory; and sends
// complete in order.
//
// Credits.  The peer has posted kMessages + kCredits buffers.  A message takes one of kMessages until the receiver has
// taken it out of the link.  Every frame says how many that are so far, and where new landing slots are; a receiver
// that owes half of either and sends nothing says so in a frame of its own.  Such a frame is not kept, and its buffer
// is posted again when it is seen.  Before a third half can be owed the peer must have seen the first frame, so at most
// two for each sort are under way: kCredits.  So every send finds a buffer, and rnr_retry is 0.
//
// The queue pair is made when the link is first used.  The ends tell each other their addresses over a TCP connection,
// made by the lower rank and closed once both receive.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "owned_fd.h"
#include "port.h"
#include "rdma_frames.h"
#include "tcp_connector.h"
#include "transport.h"

namespace tutti::rdma {

class RdmaTransport;

// What the link did, for tests and tutti-bench.
struct Counters {
  uint64_t messages = 0, writes = 0, credit_frames = 0;  // sent
  uint64_t completions = 0;                              // of both directions
  uint64_t copied_bytes = 0;                             // of messages received, those that came with their frame
};

class RdmaLink final : public PutLink {
 public:
  static constexpr uint32_t kMessages = 32, kCredits = 4;  // buffers of the receiver's, by what they are for
  static constexpr uint32_t kReceives = kMessages + kCredits, kSends = kMessages + 2 * kCredits;

  struct Setup {
    uint32_t number = 0;                         // among the transport's links
    std::string peer_name;                       // "rank 3 (host b, pid 4711)"
    std::optional<tcp::TcpConnector> connector;  // if this rank connects
    std::vector<Slot> landing;                   // set aside for the peer's messages
    Status broken;                               // why it can never work, or success
  };
  RdmaLink(RdmaTransport& owner, Setup setup);

  Progress send(Slot slot, size_t bytes, const Signature& signature) override;
  Progress receive(Slot& slot, size_t bytes, const Signature& expected) override;
  Progress peek(Signature& next) override;
  uint64_t last_ticket() const override { return writing_.empty() ? 0 : messages_sent_; }
  bool sent(uint64_t ticket) const override {  // stays false for what a loss left unsent
    return ticket < first_lost_ && (writing_.empty() || writing_.front().message > ticket);
  }
  Status error() const override { return error_; }
  Signature offender() const override { return offender_; }

  // For the transport.
  void move();                 // what can be done to connect now
  bool accepted(OwnedFd fd);   // false if it is connected already
  bool at_rest() const;        // there is nothing to move and nothing to tell
  bool awaits_accept() const;  // the peer is to connect and has not yet
  void completed(const ibv_wc& completion);
  void fail(const Status& why);  // the device is gone
  bool connected() const { return stage_ == Stage::connected; }
  bool drained() const { return !error_.ok() || sends_posted_ == sends_completed_; }
  size_t memory_bytes() const;
  uint64_t sent_bytes() const { return sent_bytes_; }
  const Counters& counters() const { return counters_; }

  // The halves of ibv_wc::wr_id.
  enum class Request : uint8_t { receive, write, send };
  static uint64_t request_id(uint32_t link, Request request, uint32_t buffer) {
    return uint64_t{link} << 32 | static_cast<uint64_t>(request) << 16 | buffer;
  }

 private:
  enum class Stage : uint8_t { unused, meeting, telling, connected };
  struct Arrived {
    uint32_t buffer;
    Frame frame;
    Slot slot;  // that it lies in; none: it is in the buffer
  };
  struct Writing {
    uint64_t message, send;  // numbers: among the messages, and among the sends
    Slot slot;
  };

  void start();
  Status begin_telling(OwnedFd fd);
  Status make_queue_pair();
  Status tell();
  Status connect_to(const EndAddress& peer);
  Status to_state(ibv_qp_attr& attributes, int mask, const char* doing);
  Status post_receive(uint32_t buffer);
  Status post(const Frame& frame, const std::byte* payload, size_t payload_bytes, const Piece* write);
  void pay_debts();
  void add_credits(Frame& frame);
  Progress take(const Arrived& arrived, Slot& slot);
  void arrive(uint32_t buffer, size_t bytes);
  bool can_post() const { return sends_posted_ - sends_completed_ < kSends; }
  Progress verdict() const { return error_.code() == Code::mismatch ? Progress::mismatch : Progress::lost; }
  Progress die(Status why);
  std::byte* receive_buffer(uint32_t i) const { return buffers_.get() + i * kBufferBytes; }
  std::byte* send_buffer(uint64_t i) const { return buffers_.get() + (kReceives + i % kSends) * kBufferBytes; }

  RdmaTransport& owner_;
  const uint32_t number_;
  const std::string peer_name_;
  std::optional<tcp::TcpConnector> connector_;
  Stage stage_ = Stage::unused;
  OwnedFd socket_;  // while telling
  size_t heard_ = 0;
  std::byte said_[sizeof(EndAddress) + 1] = {};
  bool told_address_ = false, told_ready_ = false;

  // Destroyed in this order, from below: the queue pair before what it writes and reads.
  std::unique_ptr<std::byte[]> buffers_;
  Owned<ibv_mr> region_;
  Owned<ibv_qp> queue_pair_;
  uint32_t first_packet_ = 0;
  uint32_t inline_bytes_ = 0;
  uint32_t peer_key_ = 0;

  // Sending.
  std::deque<uint64_t> peer_landing_;                // where this rank may write
  uint64_t messages_sent_ = 0, messages_taken_ = 0;  // by the peer, as it says
  uint64_t sends_posted_ = 0, sends_completed_ = 0;
  uint64_t sent_bytes_ = 0;
  std::deque<Writing> writing_;
  uint64_t first_lost_ = UINT64_MAX;  // message

  // Receiving.
  const size_t landing_slots_;
  std::deque<Slot> landing_;       // that the peer knows of and has not used, in the order in which it was told
  std::deque<Slot> owed_landing_;  // that it is to be told of
  uint64_t taken_ = 0, told_taken_ = 0;
  std::deque<Arrived> arrived_;

  Counters counters_;
  Status error_;  // not success: the link is dead
  Signature offender_;
};

}  // namespace tutti::rdma

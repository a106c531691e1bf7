// A link to one peer: active messages with numbers, as many at a time as the window allows.
//
// Receiving.  What has arrived waits in UCX's memory until receive() takes it: short messages whole, of long ones a
// description, with which they are then fetched straight to where the caller wants them.
//
// Sending.  A message is out of the caller's memory when UCX says so, but its end may still be in UCX's, where the
// system does not take more.  A call must not return then, since afterwards nobody might drive UCX.  UCX has no
// question for that: its flush also waits for the peer, which may have left its call.  But UCX takes a word only once
// the messages before it are with the system; so where much may be under way, a word is sent behind the last message.
#pragma once

#include <cstdint>
#include <vector>

#include "status.h"
#include "transport.h"
#include "ucx_endpoint.h"

namespace tutti::ucx {

class UcxTransport;

class UcxLink final : public ByteLink {
 public:
  UcxLink(UcxTransport& owner, UcxWorker& worker, UcxEndpoint& endpoint, SlotPool& pool, int rank, LinkUse use);

  Progress send(Slot slot, size_t bytes, const Signature& signature) override;
  Progress send(Pieces pieces, const Signature& signature, uint64_t& ticket) override;
  bool sent(uint64_t ticket) const override;
  uint64_t last_ticket() const override { return idle() ? 0 : accepted_; }
  Progress receive(Pieces pieces, const Signature& expected) override;
  Progress peek(Signature& next) override;
  Status error() const override { return error_; }
  Signature offender() const override { return offender_; }

  // For the transport.

  // Of UCX's callback.  True: `data` is kept.
  bool arrived(const Header& header, void* data, size_t bytes, bool to_be_fetched);
  void move(bool caught_up);  // `caught_up`: what has arrived is known here
  bool at_rest() const;       // nothing is left to move
  bool connecting();          // the connection had better not be closed yet
  bool drained();             // and the connection may be closed
  UcxEndpoint& endpoint() const { return endpoint_; }
  bool fetching() const { return taking_ == Taking::fetching; }  // UCX may write into the caller's memory
  bool under_way();                                              // UCX may still use memory of the caller's or of this link
  void return_slots();                                           // of messages that will not be sent, once nothing is under way
  void forget();                                                 // gives what was kept back to UCX
  size_t memory_bytes() const;
  uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  struct Outgoing {
    Header header;
    std::vector<ucp_dt_iov_t> parts;
    ucs_status_ptr_t operation = nullptr;
    uint64_t bytes = 0;
    Slot slot;
  };
  struct Arrival {
    bool there = false, to_be_fetched = false;
    Signature signature;
    size_t bytes = 0;
    void* data = nullptr;  // of UCX; null: nothing is kept any more
  };
  enum class Taking : uint8_t { not_begun, fetching, fetched };  // the next message

  Outgoing& outgoing(uint64_t number) { return outgoing_[number % kWindow]; }
  Arrival& arrival(uint64_t number) { return arrivals_[number % kWindow]; }
  bool next_is_there() const { return !arrivals_.empty() && arrivals_[received_ % kWindow].there; }
  Header header_of(Kind kind, const Signature& signature);
  Progress transmit(Pieces pieces, const Signature& signature, Slot slot);
  Progress await_next();
  Progress take(Arrival& next, Pieces pieces);
  void taken(Arrival& next);
  Progress told();
  void finish();
  void end(Outgoing& message);
  bool much_is_under_way() const;
  void push();
  void tell();
  bool word_is_out();
  void acknowledge(uint32_t received);
  bool idle() const { return finished_ == accepted_ && !unpushed_; }
  bool owes_word() const { return received_ - told_ >= kWindow / 2; }

  // Of a dead link.
  Progress verdict() const { return error_.code() == Code::mismatch ? Progress::mismatch : Progress::lost; }
  Progress die(Status why);
  Progress lose(Status why);  // and nothing of this peer's is under way any more
  Progress refuse(const Arrival& next, size_t bytes, const Signature& expected);

  UcxTransport& owner_;
  UcxWorker& worker_;
  UcxEndpoint& endpoint_;
  SlotPool& pool_;
  int rank_;
  LinkUse use_;

  // Messages of this rank: acknowledged_ ≤ accepted_ and finished_ ≤ accepted_ ≤ both + kWindow.
  std::vector<Outgoing> outgoing_;  // a ring; made when first needed
  uint64_t accepted_ = 0;
  uint64_t finished_ = 0;      // all before are out of this rank's memory
  uint64_t acknowledged_ = 0;  // the peer has received these
  bool unpushed_ = false;      // the end of the last may be in UCX's memory
  bool pushing_ = false;       // the word behind it is on its way
  uint64_t sent_bytes_ = 0;

  // Messages of the peer.
  std::vector<Arrival> arrivals_;  // a ring; made when first needed
  uint64_t received_ = 0;
  uint64_t told_ = 0;  // the peer has been sent word of these
  Taking taking_ = Taking::not_begun;
  ucs_status_ptr_t operation_ = nullptr;  // of taking_
  std::vector<ucp_dt_iov_t> parts_;       // likewise
  Outgoing word_;                         // the last
  bool said_word_ = false;

  bool noise_ = false;  // the peer sent what no link sends
  Status error_;        // not success: the link is dead
  Signature offender_;
};

}  // namespace tutti::ucx

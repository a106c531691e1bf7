#include "tcp_connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "clock.h"

namespace tutti::tcp {
namespace {

constexpr size_t kMaxParts = kMaxPieces + 1;  // the header is one too

// The parts of a message from byte `skip` on; how many they are.
size_t gather(const Header& header, Pieces pieces, size_t skip, iovec* parts) {
  size_t count = 0;
  const auto add = [&](void* data, size_t bytes) {
    const size_t skipped = std::min(skip, bytes);
    skip -= skipped;
    if (bytes > skipped) parts[count++] = {static_cast<std::byte*>(data) + skipped, bytes - skipped};
  };
  add(const_cast<Header*>(&header), sizeof header);
  for (const Piece& piece : pieces) add(piece.data, piece.bytes);
  return count;
}

// Calls the system until no signal interrupts it, and notes what that cost.
template <class Fn>
ssize_t call(bool metered, std::vector<double>& costs, Fn system) {
  const uint64_t start = metered ? now_ns() : 0;
  ssize_t n = 0;
  do n = system();
  while (n < 0 && errno == EINTR);
  if (metered && n >= static_cast<ssize_t>(StreamMeter::kLeast) && costs.size() < StreamMeter::kMost)
    costs.push_back(static_cast<double>(now_ns() - start) * 1e-9 / static_cast<double>(n));
  return n;
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

TcpConnection::TcpConnection(SlotPool& pool, StreamMeter& meter) : pool_(&pool), meter_(&meter) {}

TcpConnection::~TcpConnection() { hang_up(); }

void TcpConnection::close() {
  for (; queued_ > 0; --queued_, first_ = (first_ + 1) % kQueued)
    if (queue_[first_].slot) pool_->release(queue_[first_].slot);
  hang_up();
}

void TcpConnection::hang_up() {
  if (fd_) ::shutdown(fd_.get(), SHUT_WR);  // so that a close with unread input still delivers what was written
  fd_.reset();
}

ssize_t TcpConnection::write(iovec* parts, size_t count) {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  const ssize_t n = call(meter_->on, meter_->sent, [&] { return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
  if (n > 0) written_bytes_ += static_cast<uint64_t>(n);
  return n;
}

void TcpConnection::message_written(Slot slot) {
  ++written_;
  if (slot) pool_->release(slot);
}

Outcome TcpConnection::send(const Header& header, Pieces pieces, Slot slot) {
  if (is_open() && !idle())
    if (const Outcome flushed = flush(); flushed.progress == Progress::lost) return flushed;
  size_t taken = 0;
  if (is_open() && idle()) {
    iovec parts[kMaxParts];
    const ssize_t n = write(parts, gather(header, pieces, 0, parts));
    if (n < 0 && !would_block(errno)) return {Progress::lost, errno};
    taken = n < 0 ? 0 : static_cast<size_t>(n);
    if (taken == sizeof header + header.length) {
      message_written(slot);
      return {Progress::done};
    }
  }
  if (queued_ == kQueued) return {Progress::busy};
  enqueue(header, pieces, slot, taken);
  return {Progress::done};
}

void TcpConnection::enqueue(const Header& header, Pieces pieces, Slot slot, size_t already_written) {
  if (queue_.empty()) queue_.resize(kQueued);
  Outgoing& message = queue_[(first_ + queued_++) % kQueued];
  message.header = header;
  message.slot = slot;
  message.next = 0;
  message.parts.resize(pieces.size() + 1);
  message.parts.resize(gather(message.header, pieces, already_written, message.parts.data()));
}

Outcome TcpConnection::flush() {
  while (queued_ > 0) {
    if (!is_open()) return {Progress::busy};
    Outgoing& message = queue_[first_];
    const ssize_t n = write(message.parts.data() + message.next, message.parts.size() - message.next);
    if (n < 0) return {would_block(errno) ? Progress::busy : Progress::lost, errno};
    size_t left = static_cast<size_t>(n);
    for (; message.next < message.parts.size() && left >= message.parts[message.next].iov_len; ++message.next)
      left -= message.parts[message.next].iov_len;
    if (message.next < message.parts.size()) {  // the socket is full
      iovec& part = message.parts[message.next];
      part = {static_cast<std::byte*>(part.iov_base) + left, part.iov_len - left};
      return {Progress::busy};
    }
    first_ = (first_ + 1) % kQueued;
    --queued_;
    message_written(message.slot);
  }
  return {Progress::done};
}

Outcome TcpConnection::read(Pieces pieces, size_t bytes) {
  const size_t total = sizeof(Header) + bytes;
  if (got_ == total) return {Progress::done};  // an empty message, whose header was read before
  iovec parts[kMaxParts];
  const size_t count = gather(incoming_, pieces, got_, parts);
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  const ssize_t n = call(meter_->on, meter_->received, [&] { return ::recvmsg(fd_.get(), &message, MSG_DONTWAIT); });
  if (n < 0) return {would_block(errno) ? Progress::busy : Progress::lost, errno};
  if (n == 0) return {Progress::lost};
  got_ += static_cast<size_t>(n);
  return {got_ == total ? Progress::done : Progress::busy};
}

bool TcpConnection::drained() const {
  int unacknowledged = 0;
  return idle() && (!is_open() || ::ioctl(fd_.get(), SIOCOUTQ, &unacknowledged) != 0 || unacknowledged == 0);
}

size_t TcpConnection::memory_bytes() const {
  size_t bytes = sizeof *this + queue_.capacity() * sizeof(Outgoing);
  for (const Outgoing& message : queue_) bytes += message.parts.capacity() * sizeof(iovec);
  return bytes;
}

}  // namespace tutti::tcp

#include "host_lookup.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "clock.h"
#include "quiet_thread.h"
#include "words.h"

namespace tutti {
namespace {

constexpr uint64_t kSlice = kSecond;  // of waiting for the resolver
constexpr uint64_t kAskAgain = kSecond / 2;

}  // namespace

struct HostLookup::Question {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<Result<std::vector<SocketAddress>>> answer;  // guarded by mutex
};

HostLookup::HostLookup(HostPort host, uint64_t deadline, Log log)
    : host_(std::move(host)), deadline_(deadline), log_(std::move(log)) {}

void HostLookup::ask() {
  const bool has_colon = host_.host.find(':') != std::string::npos;
  if (SocketAddress::parse(has_colon ? '[' + host_.host + ']' : host_.host).ok()) {  // nobody to ask
    const auto itself = resolve(host_.host, host_.port);
    if (itself.ok()) known_ = *itself;
    return;
  }
  const auto question = std::make_shared<Question>();
  auto thread = start_quiet_thread(
      [question, host = host_] {
        auto answer = resolve(host.host, host.port);
        const std::lock_guard lock(question->mutex);
        question->answer = std::move(answer);
        question->answered.notify_all();
      },
      "tutti-resolver");
  if (thread.ok()) {
    thread->detach();
    question_ = question;
  } else {
    why_not_ = thread.status();
    ask_again_ = now_ns() + kAskAgain;
  }
}

// Waits for an answer only while there is none to go on with.
void HostLookup::hear() {
  const uint64_t now = now_ns(), left = now < deadline_ ? deadline_ - now : 0;
  const auto patience = std::chrono::nanoseconds(known_ ? 0 : std::min(left, kSlice));
  std::unique_lock lock(question_->mutex);
  if (!question_->answered.wait_for(lock, patience, [&] { return question_->answer.has_value(); })) {
    why_not_ = Status(Code::unreachable, "no name server has answered what host " + in_quotes(host_.host) + " is");
    return;
  }
  const auto answer = std::move(*question_->answer);
  lock.unlock();
  question_.reset();
  ask_again_ = now_ns() + kAskAgain;
  if (answer.ok()) {
    known_ = *answer;
  } else {
    why_not_ = answer.status();
  }
}

Located HostLookup::locate() {
  if (!question_ && now_ns() >= ask_again_) ask();
  if (question_) hear();
  if (known_) {
    RendezvousPoint point;
    point.addresses = *known_;
    return {std::move(point), {}};
  }
  if (!std::exchange(logged_, true)) log_.warn(why_not_.message() + "; this rank looks again until TUTTI_BOOTSTRAP_TIMEOUT");
  return {std::nullopt, why_not_};
}

}  // namespace tutti

#include "call_log.h"

#include <bit>

#include "byte_units.h"
#include "route.h"

namespace tutti {

uint32_t size_class(uint64_t bytes) {
  if (bytes < 2) return static_cast<uint32_t>(bytes);
  const auto octave = static_cast<uint32_t>(std::bit_width(bytes) - 1);
  return 2 * octave + static_cast<uint32_t>(bytes >> (octave - 1) & 1);
}

CallLog::~CallLog() {
  for (const auto& entry : accounts_)
    if (entry.second.calls < kCallsToLog) if_possible([&] { log(entry.second); });
}

void CallLog::note(const std::shared_ptr<const RoutedCall>& call, const Cut& cut) noexcept {
  if (last_ != call) last_ = call;
  cut_ = cut;
  codec_.clear();
  if (!log_.enabled(LogLevel::trace)) return;
  if_possible([&] {
    log_.trace(std::string(name(call->collective)) + " of " + describe_bytes(call->bytes) + ": " + std::string(call->route.name) +
               " (" + call->route.reason + "), " + std::to_string(cut.lanes) + " lanes of " + describe_bytes(cut.stripe_bytes));
  });
}

bool CallLog::say_once(const std::string& kind, const std::string& line) {
  if (!speaks_ || !said_.insert(kind).second) return false;
  log_.info(line);
  return true;
}

void CallLog::account(uint64_t nanoseconds) {
  if (!last_ || !last_->predictable) return;
  const RoutedCall& call = *last_;
  Account& account = accounts_[{call.collective, {size_class(call.bytes), call.route.algorithm}}];
  if (account.calls == 0) {
    account.choice =
        std::string(name(call.collective)) + " of about " + describe_bytes(call.bytes) + " by " + std::string(call.route.name);
    account.predicted_s = call.route.seconds;
    log_.info(account.choice + ": " + call.route.reason);
  }
  account.nanoseconds += nanoseconds;
  if (++account.calls == kCallsToLog) log(account);
}

void CallLog::log(const Account& account) const {
  log_.info(account.choice + " took " +
            in_words(static_cast<double>(account.nanoseconds) / static_cast<double>(account.calls) * 1e-9) + ", the average of " +
            std::to_string(account.calls) + (account.calls == 1 ? " call" : " calls") +
            (account.predicted_s > 0 ? "; predicted " + in_words(account.predicted_s) : ""));
}

}  // namespace tutti

#include "used_ids.h"

#include <algorithm>
#include <deque>
#include <mutex>

namespace tutti {
namespace {

constexpr size_t kMostRemembered = 1024;

struct UsedIds {
  std::mutex mutex;
  std::deque<Secret> secrets;
};

UsedIds& used_ids() {
  static auto* const ids = new UsedIds;  // never destroyed: the threads of rendezvous servers may outlive main
  return *ids;
}

}  // namespace

void note_used_id(const Secret& secret) {
  UsedIds& ids = used_ids();
  const std::lock_guard lock(ids.mutex);
  if (ids.secrets.size() == kMostRemembered) ids.secrets.pop_front();
  ids.secrets.push_back(secret);
}

bool is_used_id(const Secret& secret) {
  UsedIds& ids = used_ids();
  const std::lock_guard lock(ids.mutex);
  return std::find(ids.secrets.begin(), ids.secrets.end(), secret) != ids.secrets.end();
}

}  // namespace tutti

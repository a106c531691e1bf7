#include "meeting_bootstrap.h"

namespace tutti {

MeetingBootstrap::MeetingBootstrap(MeetingPlace place, uint64_t deadline)
    : Bootstrap(deadline), place_(std::move(place)), exceptions_(std::uncaught_exceptions()) {}

MeetingBootstrap::~MeetingBootstrap() {
  if (std::uncaught_exceptions() <= exceptions_) place_.client->leave();
}

Status MeetingBootstrap::fail(const Status& why) {
  const Status cause = place_.client->fail(why);
  if (place_.server) place_.server->give_up(cause);
  return cause;
}

}  // namespace tutti

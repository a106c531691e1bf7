#include "rendezvous_bootstrap.h"

namespace tutti {

RendezvousBootstrap::RendezvousBootstrap(RendezvousPlace place, uint64_t deadline)
    : Bootstrap(deadline), place_(std::move(place)), exceptions_(std::uncaught_exceptions()) {}

RendezvousBootstrap::~RendezvousBootstrap() {
  if (std::uncaught_exceptions() <= exceptions_) place_.client->leave();
}

Status RendezvousBootstrap::fail(const Status& why) {
  const Status cause = place_.client->fail(why);
  if (place_.server) place_.server->give_up(cause);
  return cause;
}

}  // namespace tutti

// A Bootstrap by a rendezvous.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "rendezvous_file.h"
#include "bootstrap.h"
#include "rendezvous.h"

namespace tutti {

// The objects that a rank holds until its bootstrap is over.  The client leaves before the server ends.
struct RendezvousPlace {
  std::unique_ptr<RendezvousFile> file;
  std::unique_ptr<RendezvousServer> server;  // of rank 0
  std::unique_ptr<RendezvousClient> client;
};

// A rank whose object ends without fail() has all it needs.  If an exception ends the object, the others see the rank
// leave, and fail.
class RendezvousBootstrap final : public Bootstrap {
 public:
  RendezvousBootstrap(RendezvousPlace place, uint64_t deadline);
  ~RendezvousBootstrap() override;
  RendezvousBootstrap(const RendezvousBootstrap&) = delete;
  RendezvousBootstrap& operator=(const RendezvousBootstrap&) = delete;

  Result<std::vector<std::string>> exchange(const std::string& mine) override { return place_.client->exchange(mine); }
  int watched() const override { return place_.client->watched(); }
  Status heard() override { return place_.client->heard(); }
  Status fail(const Status& why) override;

 private:
  RendezvousPlace place_;
  const int exceptions_;  // under way when it was made
};

}  // namespace tutti

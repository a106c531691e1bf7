// A Bootstrap by a meeting.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "birth_file.h"
#include "bootstrap.h"
#include "rendezvous.h"

namespace tutti {

// What a rank holds until its birth is over.  The client leaves before the server ends.
struct MeetingPlace {
  std::unique_ptr<MeetingFile> file;
  std::unique_ptr<MeetingServer> server;  // of rank 0
  std::unique_ptr<MeetingClient> client;
};

// A rank whose object ends without fail() has all it needs, unless an exception ends it: then the others see it leave, and fail.
class MeetingBootstrap final : public Bootstrap {
 public:
  MeetingBootstrap(MeetingPlace place, uint64_t deadline);
  ~MeetingBootstrap() override;
  MeetingBootstrap(const MeetingBootstrap&) = delete;
  MeetingBootstrap& operator=(const MeetingBootstrap&) = delete;

  Result<std::vector<std::string>> exchange(const std::string& mine) override { return place_.client->exchange(mine); }
  int watched() const override { return place_.client->watched(); }
  Status heard() override { return place_.client->heard(); }
  Status fail(const Status& why) override;

 private:
  MeetingPlace place_;
  const int exceptions_;  // under way when it was made
};

}  // namespace tutti

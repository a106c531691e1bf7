// A rendezvous on the loopback interface and ranks as threads that join it.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <memory>

#include "bootstrap_fixture.h"
#include "rendezvous.h"

namespace tutti {

struct Hall {
  std::unique_ptr<RendezvousServer> server;
  SocketAddress address;
};

inline RendezvousOptions server_options(int size, uint64_t timeout_ns = kLong) {
  RendezvousOptions options;
  options.name = "world";
  options.size = size;
  options.timeout_ns = timeout_ns;
  options.shown = "here:1";
  options.log = kSilent;
  return options;
}

inline Result<std::unique_ptr<RendezvousServer>> start_rendezvous(OwnedFd listener, RendezvousOptions options) {
  std::vector<OwnedFd> listeners;
  listeners.push_back(std::move(listener));
  return RendezvousServer::start(std::move(listeners), std::move(options));
}

inline Hall open_hall(RendezvousOptions options) {
  auto listener = listen_on(loopback(), 64);
  const SocketAddress address = *local_address_of(listener->get());
  auto server = start_rendezvous(std::move(*listener), std::move(options));
  EXPECT_TRUE(server.ok()) << server.status().message();
  return {std::move(*server), address};
}

inline RendezvousClient::Options client_options(int rank, int size, uint64_t timeout_ns = kLong) {
  RendezvousClient::Options options;
  options.rank = rank;
  options.size = size;
  options.name = "world";
  options.timeout_ns = timeout_ns;
  options.waiting_for = "rendezvous at here:1";
  options.log = kSilent;
  return options;
}

inline Result<std::unique_ptr<RendezvousClient>> join(const SocketAddress& address, RendezvousClient::Options options,
                                               Secret secret = {}) {
  RendezvousPoint point;
  point.addresses = {address};
  point.secret = secret;
  return RendezvousClient::join(std::move(options), [point]() -> Result<Located> { return Located{point, {}}; });
}

// The words of a rendezvous to a connection beyond its greeting.
inline std::string after_greeting(const std::string& heard) {
  RendezvousGreeting greeting;
  size_t used = 0;
  std::string flaw;
  EXPECT_EQ(decode(heard, greeting, used, flaw), Decoding::complete) << flaw;
  EXPECT_EQ(greeting.version, kRendezvousVersion);
  return heard.substr(used);
}

// The sentence that each of `size` ranks gets from `body`.
inline std::vector<Status> outcomes(int size, const std::function<Status(int)>& body) {
  std::vector<Status> result(static_cast<size_t>(size));
  as_ranks(size, [&](int rank) { result[static_cast<size_t>(rank)] = body(rank); });
  return result;
}

inline size_t entries(const char* folder) {
  size_t count = 0;
  DIR* const dir = ::opendir(folder);
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

using Clients = std::vector<std::unique_ptr<RendezvousClient>>;

inline Clients all_join(const Hall& hall, int size) {
  Clients clients(static_cast<size_t>(size));
  as_ranks(size, [&](int rank) {
    auto client = join(hall.address, client_options(rank, size));
    EXPECT_TRUE(client.ok()) << client.status().message();
    if (client.ok()) clients[static_cast<size_t>(rank)] = std::move(*client);
  });
  return clients;
}

// A wait for something else during a bootstrap.
inline Status await_word(RendezvousClient& client) {
  pollfd entry{client.watched(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 60'000), 1);
  return client.heard();
}

}  // namespace tutti

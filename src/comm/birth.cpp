#include "birth.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "birth_file.h"
#include "clock.h"
#include "launcher.h"
#include "rendezvous.h"
#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kFilePrefix = "file:";
constexpr size_t kLongestId = 127;                   // a tutti_unique_id less its final zero
constexpr int kStoreSliceMs = 1000;                  // of one `get`, so that the deadline and the log keep their say
constexpr uint64_t kPortPause = 100 * kMillisecond;  // between looks at a port that somebody holds
constexpr uint64_t kLeastTimeout = kMillisecond;

// What a rank holds until its birth is over.  The client leaves before the server ends.
struct Session {
  std::unique_ptr<MeetingFile> file;
  std::unique_ptr<MeetingServer> server;  // of rank 0
  std::unique_ptr<MeetingClient> client;
};

// A birth in the making.
struct Making {
  const BirthOptions& options;
  Launch launch;
  std::string name;  // of the meeting: the communicator's, and the job's where one is known
  std::shared_ptr<Session> session = std::make_shared<Session>();

  bool hosts() const { return launch.rank == 0; }
};

// Up to two addresses of this host that other hosts may reach, IPv4 first.
Result<std::vector<SocketAddress>> own_addresses(const std::string& interface, uint16_t port) {
  std::vector<SocketAddress> addresses;
  for (const bool v6 : {false, true}) {
    const auto local = choose_local_address(interface, SocketAddress::any(v6, 0));
    if (!local.ok()) return local.status();
    SocketAddress address = local->address;
    address.set_port(port);
    if (address.is_link_local() && v6) continue;  // its scope means nothing elsewhere
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

// A listener on every interface, and what to tell the others about it.
struct Door {
  OwnedFd listener;
  MeetingPoint point;
};

Result<Door> open_door(const std::string& interface) {
  auto listener = listen_everywhere(0);
  if (!listener.ok()) return listener.status();
  const auto bound = local_address_of(listener->get());
  if (!bound.ok()) return bound.status();
  auto addresses = own_addresses(interface, bound->port());
  if (!addresses.ok()) return addresses.status();
  const auto secret = make_secret();
  if (!secret.ok()) return secret.status();
  Door door;
  door.listener = std::move(*listener);
  door.point.addresses = std::move(*addresses);
  door.point.secret = *secret;
  return door;
}

Status host(Making& making, OwnedFd listener, const Secret& secret, const std::string& shown) {
  MeetingOptions options;
  options.name = making.name;
  options.size = making.launch.size;
  options.secret = secret;
  options.timeout_ns = making.options.timeout_ns;
  options.shown = shown;
  options.log = making.options.log;
  if (MeetingFile* file = making.session->file.get()) options.all_met = [file] { file->remove(); };
  auto server = MeetingServer::start(std::move(listener), std::move(options));
  if (!server.ok()) return server.status();
  making.session->server = std::move(*server);
  return {};
}

Result<Birth> join(Making& making, const std::string& shown, const Locate& locate) {
  MeetingClient::Options options;
  options.rank = making.launch.rank;
  options.size = making.launch.size;
  options.name = making.name;
  options.timeout_ns = making.options.timeout_ns;
  options.waiting_for = "rendezvous at " + shown;
  options.log = making.options.log;
  auto client = MeetingClient::join(std::move(options), locate);
  if (!client.ok()) return client.status();
  const std::shared_ptr<Session> session = making.session;
  session->client = std::move(*client);
  const auto reached_at = session->server ? session->server->reached_at() : std::nullopt;
  const Launch& launch = making.launch;
  const auto exchange = [session](const std::string& mine) { return session->client->exchange(mine); };
  return Birth{{launch.rank, launch.size, launch.source, reached_at.value_or(session->client->local_end()).host()},
               std::make_shared<ExchangeOnly>(exchange, now_ns() + making.options.timeout_ns)};
}

// Rank 0 finds its own server without asking anyone.
Result<Birth> join_own(Making& making, const std::string& shown, const Secret& secret) {
  MeetingPoint point;
  point.addresses = {making.session->server->own_address()};
  point.secret = secret;
  return join(making, shown, [point]() -> Result<std::optional<MeetingPoint>> { return std::optional(point); });
}

Locate locate_host(const HostPort& at) {
  return [at]() -> Result<std::optional<MeetingPoint>> {
    auto addresses = resolve(at.host, at.port);
    if (!addresses.ok()) return addresses.status();  // a misspelt name must not cost the whole timeout
    MeetingPoint point;
    point.addresses = std::move(*addresses);
    return std::optional(std::move(point));
  };
}

// On that address if it is numeric.  A host's name may mean another one here than elsewhere (127.0.1.1), so then everywhere.
Result<OwnedFd> listen_at(const HostPort& at) {
  auto numeric = SocketAddress::parse(at.host.find(':') == std::string::npos ? at.host : '[' + at.host + ']', at.port);
  errno = 0;  // listen_when_free looks at it
  return numeric.ok() ? listen_on(*numeric, 1024) : listen_everywhere(at.port);
}

// Whoever holds the port may be the end of an earlier job, or this job before it was restarted; so it is tried for as long as ranks wait.
Result<OwnedFd> listen_when_free(const HostPort& at, const std::string& shown, uint64_t deadline, const Log& log) {
  for (bool told = false;; told = true) {
    auto listener = listen_at(at);
    const bool held = !listener.ok() && errno == EADDRINUSE;
    if (listener.ok() || !held || now_ns() + kPortPause >= deadline) return listener;
    if (!told) log.warn("rank 0 waits for the rendezvous at " + shown + ": " + listener.status().message());
    const timespec pause{0, kPortPause};
    ::nanosleep(&pause, nullptr);
  }
}

// "host:port".  There is no secret: whoever knows the address, the name and the size belongs to the job.
Result<Birth> meet_at_host(Making& making, const std::string& store) {
  const auto at = parse_host_port(store);
  if (!at.ok()) return at.status();
  const std::string& what = making.launch.store_is;
  const std::string shown = store + (what.empty() ? "" : " (" + what + ")");
  if (!making.hosts()) return join(making, shown, locate_host(*at));
  const uint64_t begin = now_ns(), timeout = making.options.timeout_ns;
  auto listener = listen_when_free(*at, shown, begin + timeout, making.options.log);
  if (!listener.ok())
    return Status(listener.status().code(), "rank 0 cannot open the rendezvous at " + shown +
                                                " (another job may be using it): " + listener.status().message() +
                                                (what.empty() ? "" : "; set TUTTI_STORE=host:port on all ranks to meet elsewhere"));
  BirthOptions rest = making.options;
  const uint64_t waited = now_ns() - begin;
  if (waited >= kPortPause) rest.timeout_ns = std::max(timeout - std::min(timeout, waited), kLeastTimeout);
  Making later{rest, making.launch, making.name, making.session};
  const Status hosting = host(later, std::move(*listener), {}, shown);
  if (!hosting.ok()) return hosting;
  return join_own(later, shown, {});
}

Result<Birth> meet_by_file(Making& making, const std::string& path) {
  const std::string shown = "the place that file " + path + " names";
  if (!making.hosts()) {
    return join(making, shown, [path]() -> Result<std::optional<MeetingPoint>> {
      const auto text = read_meeting_file(path);
      if (!text.ok()) return text.status();
      if (!*text) return std::optional<MeetingPoint>();
      auto point = decode_meeting_point(**text);
      if (!point.ok()) return std::optional<MeetingPoint>();  // an earlier file of somebody else's: rank 0 will overwrite it
      return std::optional(std::move(*point));
    });
  }
  auto door = open_door(making.options.interface);
  if (!door.ok()) return door.status();
  auto file = MeetingFile::write(path, encode(door->point));
  if (!file.ok()) return file.status();
  making.session->file = std::move(*file);
  const Status hosting = host(making, std::move(door->listener), door->point.secret, shown);
  if (!hosting.ok()) return hosting;
  return join_own(making, shown, door->point.secret);
}

// The value of an earlier communicator of the same name leads nowhere, or to a server that does not know its secret; the client then
// asks the store again.
Result<Birth> meet_by_callbacks(Making& making, const StoreCallbacks& store) {
  const std::string key = "tutti/" + making.options.name + "/root";
  const std::string shown = "the place that key " + key + " names";
  if (!making.hosts()) {
    return join(making, shown, [store, key]() -> Result<std::optional<MeetingPoint>> {
      const auto text = store.get(key, kStoreSliceMs);
      if (!text) return std::optional<MeetingPoint>();
      auto point = decode_meeting_point(*text);
      if (!point.ok()) return point.status();
      return std::optional(std::move(*point));
    });
  }
  auto door = open_door(making.options.interface);
  if (!door.ok()) return door.status();
  const Status hosting = host(making, std::move(door->listener), door->point.secret, shown);
  if (!hosting.ok()) return hosting;
  if (!store.set(key, encode(door->point))) return Status(Code::unreachable, "the store of the config refused to set " + key);
  return join_own(making, shown, door->point.secret);
}

Result<Birth> meet_by_id(Making& making, const std::string& id) {
  auto point = decode_meeting_point(id);
  if (!point.ok()) return Status(Code::invalid_argument, "the unique id was not made by tutti_get_unique_id");
  const std::string shown = point->shown;
  return join(making, shown, [point = *point]() -> Result<std::optional<MeetingPoint>> { return std::optional(point); });
}

// By PMIx or PMI.  Rank 0's door is open before its text is shared.
Result<Birth> meet_by_launcher(Making& making) {
  const Launch& launch = making.launch;
  const std::string shown = "the place that " + launch.source + " names";
  std::optional<Door> door;
  if (making.hosts()) {
    auto opened = open_door(making.options.interface);
    if (!opened.ok()) return opened.status();
    door = std::move(*opened);
  }
  const auto text = launch.launcher_store->share(door ? encode(door->point) : "", now_ns() + making.options.timeout_ns);
  if (!text.ok()) return text.status();
  if (door) {
    const Status hosting = host(making, std::move(door->listener), door->point.secret, shown);
    if (!hosting.ok()) return hosting;
    return join_own(making, shown, door->point.secret);
  }
  auto point = decode_meeting_point(*text);
  if (!point.ok()) return point.status();
  return join(making, shown, [found = *point]() -> Result<std::optional<MeetingPoint>> { return std::optional(found); });
}

Birth alone(const Launch& launch, uint64_t deadline) {
  const auto exchange = [](const std::string& mine) -> Result<std::vector<std::string>> { return std::vector<std::string>{mine}; };
  return {{launch.rank, launch.size, launch.source, ""}, std::make_shared<ExchangeOnly>(exchange, deadline)};
}

}  // namespace

Result<Birth> meet(const BirthOptions& options) {
  auto found = find_launch(options);
  if (!found.ok()) return found.status();
  std::string name = options.name + (found->job.empty() ? "" : " of job " + found->job);
  if (name.size() > kLongestName)
    return Status(Code::invalid_argument, "the name " + in_quotes(options.name) + " is too long: at most " +
                                              std::to_string(kLongestName) + " characters, with the launcher's name of the job");
  Making making{options, std::move(*found), std::move(name)};
  const Launch& launch = making.launch;
  options.log.info("birth: rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) + " (from " + launch.source +
                   ")" + (launch.store.empty() ? "" : ", meeting at " + launch.store));
  switch (launch.place) {
    case Place::alone: return alone(launch, now_ns() + options.timeout_ns);
    case Place::unique_id: return meet_by_id(making, *options.unique_id);
    case Place::callbacks: return meet_by_callbacks(making, *options.callbacks);
    case Place::launcher: return meet_by_launcher(making);
    case Place::store: break;
  }
  if (launch.store == kFilePrefix)
    return Status(Code::invalid_argument, "the store \"file:\" names no path; give one that all ranks see, as in file:/shared/meet");
  if (launch.store.starts_with(kFilePrefix)) return meet_by_file(making, launch.store.substr(kFilePrefix.size()));
  return meet_at_host(making, launch.store);
}

Result<std::string> make_unique_id(const std::string& interface, uint64_t timeout_ns, const Log& log) {
  auto door = open_door(interface);
  if (!door.ok()) return door.status();
  std::string text = encode(door->point);
  if (text.size() > kLongestId) {
    door->point.addresses.resize(1);
    text = encode(door->point);
  }
  MeetingOptions options;
  options.secret = door->point.secret;
  options.timeout_ns = timeout_ns;
  options.shown = door->point.addresses.front().to_string();
  options.log = log;
  const Status started = start_detached_meeting(std::move(door->listener), std::move(options));
  if (!started.ok()) return started;
  return text;
}

}  // namespace tutti

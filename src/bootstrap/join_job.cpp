#include "join_job.h"

#include <algorithm>
#include <cerrno>

#include "clock.h"
#include "host_lookup.h"
#include "launcher.h"
#include "own_rendezvous.h"
#include "rendezvous_bootstrap.h"
#include "rendezvous_file.h"
#include "resource_limits.h"
#include "used_ids.h"
#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kFilePrefix = "file:";
constexpr size_t kLongestId = 127;  // a tutti_unique_id less its final zero
constexpr int kStoreSliceMs = 1000;                  // of one `get`, so that the deadline and the log keep their say
constexpr uint64_t kPortPause = 100 * kMillisecond;  // between looks at a port that somebody holds
constexpr auto kIdRule = "each communicator takes a unique id of its own";

// The way of one rank into its job.
struct Joining {
  const JoinOptions& options;
  const uint64_t deadline;
  Launch launch;
  std::string name;  // of the rendezvous: the communicator's, and the job's where one is known
  RendezvousPlace place;

  bool hosts() const { return launch.rank == 0; }
};

Status host(Joining& joining, std::vector<OwnedFd> listeners, const Secret& secret, const std::string& shown) {
  RendezvousOptions options;
  options.name = joining.name;
  options.size = joining.launch.size;
  options.secret = secret;
  options.timeout_ns = joining.options.timeout_ns;
  options.deadline = joining.deadline;
  options.shown = shown;
  options.log = joining.options.log;
  if (RendezvousFile* file = joining.place.file.get()) options.on_all_joined = [file] { file->remove(); };
  auto server = RendezvousServer::start(std::move(listeners), std::move(options));
  if (!server.ok()) return server.status();
  joining.place.server = std::move(*server);
  return {};
}

RendezvousClient::Options client_options(const Joining& joining, const std::string& shown) {
  RendezvousClient::Options options;
  options.rank = joining.launch.rank;
  options.size = joining.launch.size;
  options.name = joining.name;
  options.timeout_ns = joining.options.timeout_ns;
  options.deadline = joining.deadline;
  options.waiting_for = "rendezvous at " + shown;
  options.log = joining.options.log;
  options.called_off = joining.options.called_off;
  return options;
}

// The end of this rank's connection that faces the other hosts.  A rank that came by the unix socket takes the address
// at which other hosts reached its own.
std::string local_address(const RendezvousPlace& place) {
  if (place.server)
    if (const auto reached = place.server->reached_at()) return reached->host();
  const SocketAddress& end = place.client->local_end();
  const auto& reached = place.client->reached_at();
  return !end.is_unix() ? end.host() : reached ? reached->host() : "";
}

Result<JoinedJob> join(Joining& joining, RendezvousClient::Options options, const Locate& locate) {
  auto client = RendezvousClient::join(std::move(options), locate);
  if (!client.ok()) return client.status();
  joining.place.client = std::move(*client);
  const Launch& launch = joining.launch;
  Membership membership{launch.rank, launch.size, launch.source, local_address(joining.place)};
  return JoinedJob{std::move(membership), std::make_shared<RendezvousBootstrap>(std::move(joining.place), joining.deadline)};
}

Result<JoinedJob> join(Joining& joining, const std::string& shown, const Locate& locate) {
  return join(joining, client_options(joining, shown), locate);
}

Locate locate_at(const RendezvousPoint& point) {
  return [point]() -> Result<Located> { return Located{point, {}}; };
}

// Rank 0 finds its own server without asking anyone.
Result<JoinedJob> join_own(Joining& joining, const std::string& shown, const Secret& secret) {
  RendezvousPoint point;
  point.addresses = {joining.place.server->own_address()};
  point.secret = secret;
  return join(joining, shown, locate_at(point));
}

Locate locate_host(const HostPort& at, const Joining& joining) {
  const auto lookup = std::make_shared<HostLookup>(at, joining.deadline, joining.options.log);
  return [lookup]() -> Result<Located> { return lookup->locate(); };
}

// On that address if it is numeric.  A host's name may mean another one here than elsewhere (127.0.1.1), so then
// everywhere.
Result<OwnedFd> listen_at(const HostPort& at) {
  auto numeric = SocketAddress::parse(at.host.find(':') == std::string::npos ? at.host : '[' + at.host + ']', at.port);
  errno = 0;  // listen_when_free looks at it
  return numeric.ok() ? listen_on(*numeric, kRendezvousBacklog) : listen_everywhere(at.port);
}

// An earlier job may still hold the port, or this job from before a restart.  So rank 0 tries for as long as ranks
// wait.
Result<OwnedFd> listen_when_free(const HostPort& at, const std::string& shown, uint64_t deadline, const Log& log) {
  for (bool logged = false;; logged = true) {
    auto listener = listen_at(at);
    const bool held = !listener.ok() && errno == EADDRINUSE;
    if (listener.ok() || !held || now_ns() + kPortPause >= deadline) return listener;
    if (!logged) log.warn("rank 0 waits for the rendezvous at " + shown + ": " + listener.status().message());
    pause_for(kPortPause);
  }
}

// Some sandboxes have no network at all, in which not even this host's own addresses lead anywhere.
void warn_of_no_network(const Log& log) {
  const auto interfaces = list_interfaces();
  if (!interfaces.ok() || std::ranges::any_of(*interfaces, &Interface::up)) return;
  log.warn(
      "no network interface of this host is up, not even lo (ip link set lo up); ranks of one host meet without by file:/path");
}

// "host:port".  There is no secret: address, name and size prove that a rank belongs to the job.
Result<JoinedJob> join_at_host(Joining& joining, const std::string& store) {
  const auto at = parse_host_port(store);
  if (!at.ok()) return at.status();
  const std::string& what = joining.launch.store_is;
  const std::string shown = store + (what.empty() ? "" : " (" + what + ")");
  warn_of_no_network(joining.options.log);
  if (!joining.hosts()) return join(joining, shown, locate_host(*at, joining));
  auto listener = listen_when_free(*at, shown, joining.deadline, joining.options.log);
  if (!listener.ok() && is_descriptor_shortage(errno))
    return out_of_descriptors("rank 0 cannot open the rendezvous at " + shown, descriptors_for(joining.launch.size));
  if (!listener.ok())
    return Status(listener.status().code(), "rank 0 cannot open the rendezvous at " + shown +
                                                " (another job may be using it): " + listener.status().message() +
                                                (what.empty() ? "" : "; set TUTTI_STORE=host:port on all ranks to meet elsewhere"));
  std::vector<OwnedFd> listeners;
  listeners.push_back(std::move(*listener));
  const Status hosting = host(joining, std::move(listeners), {}, shown);
  if (!hosting.ok()) return hosting;
  return join_own(joining, shown, {});
}

// Rank 0 opens a rendezvous, announces it by `publish`, and joins.
Result<JoinedJob> host_and_join(Joining& joining, const std::string& shown,
                               const std::function<Status(const RendezvousPoint&)>& publish) {
  auto own = open_rendezvous(joining.options.interface, joining.launch.size, joining.options.log);
  if (!own.ok()) return own.status();
  if (const Status published = publish(own->point); !published.ok()) return published;
  const Status hosting = host(joining, std::move(own->listeners), own->point.secret, shown);
  if (!hosting.ok()) return hosting;
  return join_own(joining, shown, own->point.secret);
}

Result<Located> locate_by_file(const std::string& path, bool& logged, const Log& log) {
  auto file = read_rendezvous_file(path);
  if (!file.ok()) return file.status();
  if (!file->not_yet.ok() && !std::exchange(logged, true)) log.warn(file->not_yet.message());
  if (!file->text) return Located{std::nullopt, file->not_yet};
  auto point = decode_rendezvous_point(*file->text);
  if (!point.ok()) return Located{};  // an earlier file of somebody else's: rank 0 will overwrite it
  return Located{std::move(*point), {}};
}

Result<JoinedJob> join_by_file(Joining& joining, const std::string& path) {
  const std::string shown = "the place that file " + path + " names";
  if (!joining.hosts()) {
    bool logged = false;
    return join(joining, shown, [&] { return locate_by_file(path, logged, joining.options.log); });
  }
  return host_and_join(joining, shown, [&](const RendezvousPoint& point) -> Status {
    auto file = RendezvousFile::write(path, encode(point));
    if (!file.ok()) return file.status();
    joining.place.file = std::move(*file);
    return {};
  });
}

Result<Located> locate_by_callbacks(const StoreCallbacks& store, const std::string& key, uint64_t deadline) {
  const uint64_t now = now_ns(), left = deadline > now ? (deadline - now) / kMillisecond : 0;
  const auto text = store.get(key, static_cast<int>(std::clamp<uint64_t>(left, 1, kStoreSliceMs)));
  if (!text) return Located{};
  auto point = decode_rendezvous_point(*text);
  if (!point.ok()) return point.status();
  return Located{std::move(*point), {}};
}

// The value of an earlier communicator of the same name leads nowhere, or to a server that does not know its secret;
// the client then asks the store again.
Result<JoinedJob> join_by_callbacks(Joining& joining, const StoreCallbacks& store) {
  const std::string key = "tutti/" + joining.options.name + "/root";
  const std::string shown = "the place that key " + key + " names";
  if (!joining.hosts())
    return join(joining, shown, [&store, key, &joining] { return locate_by_callbacks(store, key, joining.deadline); });
  return host_and_join(joining, shown, [&](const RendezvousPoint& point) -> Status {
    if (store.set(key, encode(point))) return {};
    return Status(Code::unreachable, "the store of the config refused to set " + key);
  });
}

std::string place_of_id(const RendezvousPoint& point) { return "the place of the unique id (" + point.shown + ")"; }

// The id's rendezvous listens from the moment the id exists until all ranks have joined.
Result<JoinedJob> join_by_id(Joining& joining, const std::string& id) {
  auto point = decode_rendezvous_point(id);
  if (!point.ok()) return Status(Code::invalid_argument, "the unique id was not made by tutti_get_unique_id");
  if (is_used_id(point->secret))
    return Status(Code::invalid_argument,
                  "this unique id has been used: the ranks of another communicator have met by it; " + std::string(kIdRule));
  RendezvousClient::Options options = client_options(joining, place_of_id(*point));
  options.only_rendezvous = true;
  options.refused_hint =
      "the unique id has been used already, or the process that made it has ended (or a firewall refuses); " + std::string(kIdRule);
  return join(joining, std::move(options), locate_at(*point));
}

// By PMIx or PMI.  Rank 0 listens before its text is shared.
Result<JoinedJob> join_by_launcher(Joining& joining) {
  const Launch& launch = joining.launch;
  const std::string shown = "the place that " + launch.source + " names";
  if (joining.hosts())
    return host_and_join(joining, shown, [&](const RendezvousPoint& point) {
      return launch.launcher_store->share(encode(point), joining.deadline).status();
    });
  const auto text = launch.launcher_store->share("", joining.deadline);
  if (!text.ok()) return text.status();
  const auto point = decode_rendezvous_point(*text);
  if (!point.ok()) return point.status();
  return join(joining, shown, locate_at(*point));
}

JoinedJob alone(const Launch& launch, uint64_t deadline) {
  const auto exchange = [](const std::string& mine) -> Result<std::vector<std::string>> { return std::vector<std::string>{mine}; };
  return {{launch.rank, launch.size, launch.source, ""}, std::make_shared<ExchangeOnly>(exchange, deadline)};
}

Result<JoinedJob> join_at_place(Joining& joining) {
  const Launch& launch = joining.launch;
  switch (launch.place) {
    case Place::alone: return alone(launch, joining.deadline);
    case Place::unique_id: return join_by_id(joining, *joining.options.unique_id);
    case Place::callbacks: return join_by_callbacks(joining, *joining.options.callbacks);
    case Place::launcher: return join_by_launcher(joining);
    case Place::store: break;
  }
  if (launch.store == kFilePrefix)
    return Status(Code::invalid_argument,
                  "the store \"file:\" names no path; give one that all ranks see, as in file:/shared/meet");
  if (launch.store.starts_with(kFilePrefix)) return join_by_file(joining, launch.store.substr(kFilePrefix.size()));
  return join_at_host(joining, launch.store);
}

}  // namespace

Result<JoinedJob> join_job(const JoinOptions& options) {
  const uint64_t deadline = now_ns() + options.timeout_ns;
  auto found = find_launch(options);
  if (!found.ok()) return found.status();
  std::string name = options.name + (found->job.empty() ? "" : " of job " + found->job);
  if (name.size() > kLongestName)
    return Status(Code::invalid_argument, "the name " + in_quotes(options.name) + " is too long: at most " +
                                              std::to_string(kLongestName) + " characters, with the launcher's name of the job");
  Joining joining{options, deadline, std::move(*found), std::move(name), {}};
  const Launch& launch = joining.launch;
  options.log.info("bootstrap: rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) + " (from " +
                   launch.source + ")" + (launch.store.empty() ? "" : ", rendezvous at " + launch.store));
  auto joined = join_at_place(joining);
  if (!joined.ok() && joining.place.server) joining.place.server->give_up(joined.status());
  return joined;
}

Result<std::string> make_unique_id(const std::string& interface, uint64_t timeout_ns, const Log& log) {
  auto own = open_rendezvous(interface, 0, log);
  if (!own.ok()) return own.status();
  RendezvousPoint& point = own->point;
  while (encode(point).size() > kLongestId) point.addresses.pop_back();
  std::string text = encode(point);
  RendezvousOptions options;
  options.secret = point.secret;
  options.timeout_ns = timeout_ns;
  options.shown = place_of_id(*decode_rendezvous_point(text));
  options.missing_hint = "was the unique id made by one rank and handed to all the others?";
  options.on_all_joined = [secret = point.secret] { note_used_id(secret); };
  options.log = log;
  const Status started = start_detached_rendezvous(std::move(own->listeners), std::move(options));
  if (!started.ok()) return started;
  return text;
}

}  // namespace tutti

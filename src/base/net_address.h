// Network addresses and interfaces: parse, resolve, list, choose; and the few socket calls that bootstrap, control and
// tcp share.  Every descriptor made here closes on exec.  Nothing here suppresses SIGPIPE: senders pass MSG_NOSIGNAL.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "owned_fd.h"
#include "status.h"

namespace tutti {

// An IPv4 or IPv6 address with a port, or the name of an abstract unix socket, which processes of one network namespace
// reach without any network.  A value; the default is 0.0.0.0:0.
class SocketAddress {
 public:
  SocketAddress();
  static SocketAddress from(const sockaddr_storage& storage, socklen_t length);  // another family: the default address
  static SocketAddress any(bool v6, uint16_t port);                              // 0.0.0.0 or [::]
  static Result<SocketAddress> random_unix();                                    // of a new name: "unix:tutti-5f0c…"

  // "127.0.0.1:29500", "[::1]:29500", "[fe80::1%eth0]:1", or without a port, then with `default_port`: "10.0.0.1",
  // "::1"; or "unix:tutti-NAME" of letters, digits and hyphens, so that no text from a peer makes this process connect
  // to another program's socket.  Numeric only: asks no name server.
  static Result<SocketAddress> parse(std::string_view text, uint16_t default_port = 0);

  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const;
  bool is_v6() const { return storage_.ss_family == AF_INET6; }
  bool is_unix() const { return storage_.ss_family == AF_UNIX; }
  bool is_any() const;
  bool is_loopback() const;    // 127/8, ::1, 127/8 mapped into IPv6, and unix
  bool is_link_local() const;  // 169.254/16, fe80::/10
  uint16_t port() const;  // 0 of unix, where set_port does nothing
  void set_port(uint16_t port);
  std::string host() const;       // "127.0.0.1", "::1", "fe80::1%eth0"; "" of unix
  std::string to_string() const;  // "127.0.0.1:29500", "[::1]:29500", "unix:tutti-5f0c"; parse() reads it back

  std::string_view unix_name() const;  // "tutti-5f0c"; "" of others, and of the end of a connection that has none

  bool operator==(const SocketAddress& other) const;

 private:
  sockaddr_storage storage_;
  uint8_t unix_length_ = 0;  // of the name
};

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// "node7:29500", "[::1]:29500", "::1" or "node7" (then with `default_port`; 0 means that a port is required).
Result<HostPort> parse_host_port(std::string_view text, uint16_t default_port = 0);

// All addresses of a host name (or numeric address), in the resolver's order, at least one.  May block on name servers.
Result<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port);

// ---- interfaces ----

struct Interface {
  std::string name;  // "eth0"
  bool up = false;   // up and running
  bool loopback = false;
  SocketAddress address;  // port 0; an interface with several addresses is listed once for each
  std::vector<std::string> rdma_devices = {};  // that use it: "mlx5_0"
};
Result<std::vector<Interface>> list_interfaces();  // in the kernel's order

// TUTTI_INTERFACE, in NCCL's syntax:
//   "eth,ib"      names that begin with one of these        "^docker,lo"  all but names that begin so
//   "=eth0,eth1"  exactly these names                       "^=eth0"      all but exactly these
// Those that are chosen may also be RDMA devices, which stand for their interfaces.
struct InterfaceSelector {
  bool exclude = false, exact = false;
  std::vector<std::string_view> words;  // of the setting, which must outlive this

  static Result<InterfaceSelector> parse(std::string_view setting);
  bool names(std::string_view name) const;  // whether to choose or to exclude it
  bool selects(std::string_view name) const { return names(name) != exclude; }
};

// The address at which the other ranks reach this one.
struct LocalAddress {
  SocketAddress address;  // port 0
  std::string interface;  // "eth0"; "" if the address belongs to no listed interface
  std::string reason;     // "TUTTI_INTERFACE=eth", "it routes to the rendezvous" …  for the log
};

// With a setting (TUTTI_INTERFACE): the first interface that is up and matches.  Without: the local end of the
// connection to the rendezvous, unless that is loopback; then the first interface that is up, is not loopback and is no
// bridge of containers or virtual machines (IPv4 preferred unless the rendezvous is IPv6); loopback if nothing else
// exists.
Result<LocalAddress> choose_local_address(std::string_view setting, const std::optional<SocketAddress>& rendezvous_local_end);
// The same over a given list.
Result<LocalAddress> choose_local_address(std::string_view setting, const std::optional<SocketAddress>& rendezvous_local_end,
                                          const std::vector<Interface>& interfaces);

// ---- sockets ----

// A non-blocking listening socket, a TCP one with SO_REUSEADDR.  Port 0: the kernel picks one, see local_address_of.
Result<OwnedFd> listen_on(const SocketAddress& address, int backlog);
// The next connection, non-blocking, or an empty OwnedFd if none waits.  After a failure errno is its cause.
Result<OwnedFd> accept_from(int listening_fd);
// Asks the kernel to hand over connections of a listening TCP socket once their peer has sent something, or after about
// a second.
void defer_accept(int listening_fd);
// A non-blocking socket whose connection has begun.  When it polls writable, connect_result says how that ended.  After
// a failure errno is its cause; EAGAIN: the backlog of a unix listener is full, ask again.
Result<OwnedFd> start_connect(const SocketAddress& peer);
Status connect_result(int fd, const SocketAddress& peer);
Status connect_result(int fd, const SocketAddress& peer, int& error);  // `error`: the errno of a connection that failed
// True once one of `events` has happened or the other end is gone; false at the deadline (by clock.h).
bool wait_for(int fd, short events, uint64_t deadline);
Result<SocketAddress> local_address_of(int fd);
Result<SocketAddress> peer_address_of(int fd);
// Small messages leave at once; unix sockets know no delay.
Status set_no_delay(int fd);
// For connections that are kept.  A peer that has not answered for half a minute is gone, and firewalls and NAT between
// do not forget a connection that is silent for long.  A stopped peer answers, since its kernel does.
void keep_alive(int fd);
Status set_congestion_control(int fd, const std::string& name);  // of a TCP socket, by the kernel's name for it
std::string congestion_control_of(int fd);                       // "" if the kernel does not say
// For an established connection: over a path as short as a cluster's, reno instead of bbr or cubic.  Any other was
// chosen for such a network.
void suit_congestion_control(int fd);

}  // namespace tutti

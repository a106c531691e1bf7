#include "net_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "bytes.h"
#include "words.h"

namespace tutti {
namespace {

const sockaddr_in& v4(const sockaddr_storage& s) { return reinterpret_cast<const sockaddr_in&>(s); }
sockaddr_in& v4(sockaddr_storage& s) { return reinterpret_cast<sockaddr_in&>(s); }
const sockaddr_in6& v6(const sockaddr_storage& s) { return reinterpret_cast<const sockaddr_in6&>(s); }
sockaddr_in6& v6(sockaddr_storage& s) { return reinterpret_cast<sockaddr_in6&>(s); }
sockaddr_un& un(sockaddr_storage& s) { return reinterpret_cast<sockaddr_un&>(s); }
const sockaddr_un& un(const sockaddr_storage& s) { return reinterpret_cast<const sockaddr_un&>(s); }

constexpr std::string_view kUnixMark = "unix:", kUnixStart = "tutti-";
constexpr size_t kLongestUnixName = sizeof(sockaddr_un::sun_path) - 1;  // less the zero before an abstract name
constexpr socklen_t kUnixHead = offsetof(sockaddr_un, sun_path) + 1;    // family and zero

// The parts before and after the colon of a port; brackets belong to neither.
struct SplitPort {
  std::string_view host;
  std::optional<uint16_t> port;
};

Status bad_address(std::string_view text, const std::string& why) {
  return Status(Code::invalid_argument, "address " + in_quotes(text) + ": " + why);
}

Result<SplitPort> split_port(std::string_view text) {
  const auto stray = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
  };  // '\0' would end the text of C calls
  if (std::any_of(text.begin(), text.end(), stray)) return bad_address(text, "it holds a blank or a control character");
  SplitPort result;
  std::string_view port;
  bool has_port = false;
  const size_t colon = text.rfind(':');
  if (!text.empty() && text.front() == '[') {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return bad_address(text, "the bracket is never closed");
    result.host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    has_port = !rest.empty();
    if (has_port && rest.front() != ':') return bad_address(text, "after the bracket comes :port");
    port = has_port ? rest.substr(1) : rest;
  } else if (colon != std::string_view::npos && text.find(':') == colon) {
    result.host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  } else {  // no colon, or several: an IPv6 address without port
    result.host = text;
  }
  if (result.host.empty()) return bad_address(text, "the host is missing; expected host:port or [IPv6 address]:port");
  if (!has_port) return result;
  const auto number = parse_number(port);
  if (!number || *number > 65535) return bad_address(text, in_quotes(port) + " is not a port; expected 0 to 65535");
  result.port = static_cast<uint16_t>(*number);
  return result;
}

std::optional<SocketAddress> parse_numeric(std::string_view host, uint16_t port) {
  sockaddr_storage storage{};
  const std::string address(host.substr(0, host.find('%')));
  if (address.size() == host.size() && inet_pton(AF_INET, address.c_str(), &v4(storage).sin_addr) == 1) {
    storage.ss_family = AF_INET;
    v4(storage).sin_port = htons(port);
    return SocketAddress::from(storage, sizeof(sockaddr_in));
  }
  if (inet_pton(AF_INET6, address.c_str(), &v6(storage).sin6_addr) != 1) return std::nullopt;
  storage.ss_family = AF_INET6;
  v6(storage).sin6_port = htons(port);
  if (address.size() < host.size()) {
    const std::string scope(host.substr(address.size() + 1));
    const auto number = parse_number(scope);
    const uint32_t index = number && *number <= UINT32_MAX ? static_cast<uint32_t>(*number) : if_nametoindex(scope.c_str());
    if (index == 0) return std::nullopt;
    v6(storage).sin6_scope_id = index;
  }
  return SocketAddress::from(storage, sizeof(sockaddr_in6));
}

bool is_unix_name(std::string_view name) {
  const auto known = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'; };
  return name.starts_with(kUnixStart) && name.size() > kUnixStart.size() && name.size() <= kLongestUnixName &&
         std::all_of(name.begin(), name.end(), known);
}

SocketAddress unix_address(std::string_view name) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  std::memcpy(un(storage).sun_path + 1, name.data(), name.size());
  return SocketAddress::from(storage, kUnixHead + static_cast<socklen_t>(name.size()));
}

}  // namespace

SocketAddress::SocketAddress() : storage_{} { storage_.ss_family = AF_INET; }

SocketAddress SocketAddress::from(const sockaddr_storage& storage, socklen_t length) {
  SocketAddress result;
  if (storage.ss_family == AF_INET && length >= sizeof(sockaddr_in)) {
    v4(result.storage_).sin_port = v4(storage).sin_port;
    v4(result.storage_).sin_addr = v4(storage).sin_addr;
  } else if (storage.ss_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    const sockaddr_in6& in = v6(storage);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {  // an IPv4 peer of a socket that serves both
      v4(result.storage_).sin_port = in.sin6_port;
      std::memcpy(&v4(result.storage_).sin_addr, &in.sin6_addr.s6_addr[12], 4);
    } else {
      result.storage_.ss_family = AF_INET6;
      v6(result.storage_).sin6_port = in.sin6_port;
      v6(result.storage_).sin6_addr = in.sin6_addr;
      v6(result.storage_).sin6_scope_id = in.sin6_scope_id;
    }
  } else if (storage.ss_family == AF_UNIX && length <= sizeof(sockaddr_un)) {
    result.storage_.ss_family = AF_UNIX;
    if (length > kUnixHead && un(storage).sun_path[0] == 0) {
      result.unix_length_ = static_cast<uint8_t>(length - kUnixHead);
      std::memcpy(un(result.storage_).sun_path, un(storage).sun_path, result.unix_length_ + size_t{1});
    }
  }
  return result;
}

Result<SocketAddress> SocketAddress::random_unix() {
  std::array<unsigned char, 8> name;
  if (Status filled = fill_with_random(name); !filled.ok()) return filled;
  return unix_address(std::string(kUnixStart) + to_hex(name));
}

SocketAddress SocketAddress::any(bool want_v6, uint16_t port) {
  SocketAddress result;
  if (want_v6) result.storage_.ss_family = AF_INET6;
  result.set_port(port);
  return result;
}

Result<SocketAddress> SocketAddress::parse(std::string_view text, uint16_t default_port) {
  if (text.starts_with(kUnixMark))
    if (const auto name = text.substr(kUnixMark.size()); is_unix_name(name)) return unix_address(name);
  const auto parts = split_port(text);
  if (!parts.ok()) return parts.status();
  const auto address = parse_numeric(parts->host, parts->port.value_or(default_port));
  if (!address) return bad_address(text, in_quotes(parts->host) + " is no IPv4 or IPv6 address");
  return *address;
}

socklen_t SocketAddress::length() const {
  if (is_unix()) return unix_length_ > 0 ? kUnixHead + unix_length_ : sizeof(sa_family_t);
  return is_v6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

std::string_view SocketAddress::unix_name() const { return {un(storage_).sun_path + 1, unix_length_}; }

bool SocketAddress::is_any() const {
  if (is_unix()) return false;
  return is_v6() ? IN6_IS_ADDR_UNSPECIFIED(&v6(storage_).sin6_addr) : v4(storage_).sin_addr.s_addr == 0;
}

bool SocketAddress::is_loopback() const {
  if (is_unix()) return true;
  return is_v6() ? IN6_IS_ADDR_LOOPBACK(&v6(storage_).sin6_addr) : ntohl(v4(storage_).sin_addr.s_addr) >> 24 == 127;
}

bool SocketAddress::is_link_local() const {
  if (is_unix()) return false;
  return is_v6() ? IN6_IS_ADDR_LINKLOCAL(&v6(storage_).sin6_addr) : ntohl(v4(storage_).sin_addr.s_addr) >> 16 == 0xa9fe;
}

uint16_t SocketAddress::port() const {
  if (is_unix()) return 0;
  return ntohs(is_v6() ? v6(storage_).sin6_port : v4(storage_).sin_port);
}

void SocketAddress::set_port(uint16_t port) {
  if (!is_unix()) (is_v6() ? v6(storage_).sin6_port : v4(storage_).sin_port) = htons(port);
}

std::string SocketAddress::host() const {
  if (is_unix()) return "";
  char text[INET6_ADDRSTRLEN] = {};
  if (!is_v6()) {
    inet_ntop(AF_INET, &v4(storage_).sin_addr, text, sizeof text);
    return text;
  }
  inet_ntop(AF_INET6, &v6(storage_).sin6_addr, text, sizeof text);
  const uint32_t scope = v6(storage_).sin6_scope_id;
  if (scope == 0) return text;
  char name[IF_NAMESIZE] = {};
  return std::string(text) + "%" + (if_indextoname(scope, name) != nullptr ? name : std::to_string(scope));
}

std::string SocketAddress::to_string() const {
  if (is_unix()) return unix_length_ > 0 ? std::string(kUnixMark).append(unix_name()) : "this host";
  const std::string port_text = ":" + std::to_string(port());
  return is_v6() ? "[" + host() + "]" + port_text : host() + port_text;
}

bool SocketAddress::operator==(const SocketAddress& other) const {
  if (storage_.ss_family != other.storage_.ss_family || port() != other.port()) return false;
  if (is_unix()) return unix_name() == other.unix_name();
  if (!is_v6()) return v4(storage_).sin_addr.s_addr == v4(other.storage_).sin_addr.s_addr;
  return IN6_ARE_ADDR_EQUAL(&v6(storage_).sin6_addr, &v6(other.storage_).sin6_addr) &&
         v6(storage_).sin6_scope_id == v6(other.storage_).sin6_scope_id;
}

Result<HostPort> parse_host_port(std::string_view text, uint16_t default_port) {
  const auto parts = split_port(text);
  if (!parts.ok()) return parts.status();
  const uint16_t port = parts->port.value_or(default_port);
  if (port == 0) return bad_address(text, "a port from 1 to 65535 is missing; expected host:port or [IPv6 address]:port");
  return HostPort{std::string(parts->host), port};
}

Result<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port) {
  if (const auto numeric = parse_numeric(host, port)) return std::vector{*numeric};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0)
    return Status(Code::unreachable, "host " + in_quotes(host) + " is not known here: " +
                                         (error == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(error)));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(SocketAddress::from(storage, entry->ai_addrlen));
    addresses.back().set_port(port);
  }
  freeaddrinfo(found);
  if (addresses.empty()) return Status(Code::unreachable, "host " + in_quotes(host) + " has no IPv4 or IPv6 address");
  return addresses;
}

}  // namespace tutti

// Which host this is, for people and for deciding who may share memory.
#pragma once

#include <string>
#include <string_view>

namespace tutti {

// As gethostname says; "unknown" if it does not.
std::string host_name();

// Two processes with equal ids run under one boot of one kernel and in one network namespace, so that they can reach
// each other's abstract unix sockets.  Two containers with networks of their own are two hosts.  `setting`
// (TUTTI_HOSTID), if not empty, replaces what was found.  Never empty; without a setting at most 128 bytes.
std::string host_id(std::string_view setting);

}  // namespace tutti

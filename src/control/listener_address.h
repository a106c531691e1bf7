// Where a rank with children in the control tree listens, and by which secret it knows its children.
#pragma once

#include <string>
#include <string_view>

#include "bytes.h"
#include "rendezvous_frames.h"
#include "status.h"

namespace tutti {

struct ListenerAddress {
  Status status;  // why the rank cannot take part
  Secret secret{};
  std::string address;  // numeric, with port; "" for a rank without children
};

// "1" or "0", the secret, then the address or the reason.
std::string encode(const ListenerAddress& listener);
// Of untrusted bytes.  Never fails: malformed bytes are a listener whose status says so.
ListenerAddress decode_listener_address(std::string_view bytes);

}  // namespace tutti

// Splitting: the parent carries the exchange that a birth needs.
#include <algorithm>

#include "assembly.h"
#include "clock.h"
#include "words.h"

namespace tutti {
namespace {

struct Vote {
  int32_t color, key, rank;
};

Status transfer(Communicator& parent, bool send, void* data, size_t bytes, int peer) {
  Call call;
  call.collective = Collective::point_to_point;
  call.messages = {{send, static_cast<std::byte*>(data), bytes, DataType::uint8, peer}};
  return parent.run(call);
}

// A blob to or from a peer: its length, then its bytes.
Status send_blob(Communicator& parent, std::string blob, int peer) {
  uint64_t length = blob.size();
  if (Status status = transfer(parent, true, &length, sizeof length, peer); !status.ok()) return status;
  return transfer(parent, true, blob.data(), blob.size(), peer);
}

Result<std::string> receive_blob(Communicator& parent, int peer) {
  uint64_t length = 0;
  if (Status status = transfer(parent, false, &length, sizeof length, peer); !status.ok()) return status;
  std::string blob(length, '\0');
  if (Status status = transfer(parent, false, blob.data(), length, peer); !status.ok()) return status;
  return blob;
}

// All blobs of a group of the parent's ranks, by way of its first.
Result<std::vector<std::string>> gather_in_group(Communicator& parent, const std::vector<int>& group, const std::string& mine) {
  std::vector<std::string> all(group.size());
  const int leader = group[0];
  if (parent.rank() != leader) {
    if (Status status = send_blob(parent, mine, leader); !status.ok()) return status;
    for (auto& blob : all) {
      auto received = receive_blob(parent, leader);
      if (!received.ok()) return received.status();
      blob = std::move(*received);
    }
    return all;
  }
  all[0] = mine;
  for (size_t i = 1; i < group.size(); ++i) {
    auto received = receive_blob(parent, group[i]);
    if (!received.ok()) return received.status();
    all[i] = std::move(*received);
  }
  for (size_t i = 1; i < group.size(); ++i)
    for (const auto& blob : all)
      if (Status status = send_blob(parent, blob, group[i]); !status.ok()) return status;
  return all;
}

}  // namespace

Result<std::unique_ptr<Communicator>> split(Communicator& parent, int color, int key) {
  std::vector<Vote> votes(static_cast<size_t>(parent.size()));
  Vote mine{color, key, parent.rank()};
  Call call;
  call.collective = Collective::all_gather;
  call.input = &mine;
  call.output = votes.data();
  call.count = sizeof mine;
  if (Status status = parent.run(call); !status.ok()) return status;
  if (color < 0) return std::unique_ptr<Communicator>();

  std::erase_if(votes, [color](const Vote& vote) { return vote.color != color; });
  std::sort(votes.begin(), votes.end(),
            [](const Vote& a, const Vote& b) { return std::pair(a.key, a.rank) < std::pair(b.key, b.rank); });
  std::vector<int> group;
  for (const Vote& vote : votes) group.push_back(vote.rank);

  AssemblyOptions options;
  options.rank = static_cast<int>(std::find(group.begin(), group.end(), parent.rank()) - group.begin());
  options.size = static_cast<int>(group.size());
  options.name = parent.parts().name + "/" + std::to_string(color);
  options.settings = parent.parts().settings;
  const auto exchange = [&](const std::string& blob) { return gather_in_group(parent, group, blob); };
  options.bootstrap = std::make_shared<ExchangeOnly>(exchange, now_ns() + options.settings.birth_timeout_ns);
  options.local_end = parent.parts().local_end;
  options.control_thread = parent.parts().control_thread;
  options.workers = parent.parts().workers;
  options.tuning = parent.tuning();
  // Threads of one process: the group's first makes the memory; the others copy its owner through a pointer to it, and a second
  // round keeps that owner in place until all have done so.
  auto arena = make_local_arena();
  if (parent.parts().local_arena) {
    auto places = options.bootstrap->exchange(std::to_string(reinterpret_cast<uintptr_t>(&arena)));
    if (!places.ok()) return places.status();
    options.local_arena =
        *reinterpret_cast<std::shared_ptr<LocalArena>*>(static_cast<uintptr_t>(parse_number((*places)[0]).value_or(0)));
    if (auto copied = options.bootstrap->exchange(""); !copied.ok()) return copied.status();
  }
  return assemble(std::move(options));
}

}  // namespace tutti

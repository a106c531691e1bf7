// Any bytes in the place of a rank's introduction: what is accepted is within bounds and would be written the same.
// Each kind of transport says whom the rank reaches by its card, whatever that holds.
#include "introduction.h"

#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "registry.h"
#include "settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto introduction = decode_introduction(bytes, 3);
  if (!introduction.ok()) {
    FUZZ_CHECK(introduction.status().message().starts_with("rank 3 ") && introduction.status().message().size() < 200);
    return 0;
  }
  const Introduction& i = *introduction;
  FUZZ_CHECK(!i.host_id.empty() && i.host_id.size() <= 132 && i.host.size() <= 255 && std::to_string(i.pid).size() <= 10);
  FUZZ_CHECK(i.cores.size() <= 16 << 10 && i.cards.size() <= kMostCards);
  for (const auto& [name, card] : i.cards) {
    FUZZ_CHECK(!name.empty() && name.size() <= kLongestTransportName && card.size() <= kLongestCard);
    const RankCard seen{card, "rank 3", i.host_id, i.pid, i.user, i.pid_namespace, i.user_namespace};
    for (const TransportKind& kind : transport_kinds())
      if (kind.built() && kind.name == name && kind.reach(seen, seen) && kind.objection)
        FUZZ_CHECK(kind.objection(seen, seen).empty());
  }
  FUZZ_CHECK(i.place.size() <= 64 && i.wire.size() <= kLongestWireSettings && i.user <= UINT32_MAX);
  const auto again = decode_introduction(encode(i), 3);  // numbers may have had leading zeros
  FUZZ_CHECK(again.ok() && encode(*again) == encode(i));
  return 0;
}

// Any text in the place of a rank's locality: known places are within bounds and written back the same, what is
// unreadable is unknown, and teams of such ranks hold each rank once.
#include "locality.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Locality locality = decode_locality(text);
  for (const int number : {locality.numa, locality.l3, locality.core, locality.thread})
    FUZZ_CHECK(number >= -1 && number <= 1 << 20);
  FUZZ_CHECK(decode_locality(encode(locality)) == locality);
  FUZZ_CHECK(describe(locality).empty() == (locality == Locality()));
  const std::string_view host = text.substr(0, size / 2);
  const RankPlace ranks[]{{host, locality}, {"b", {}}, {host, {}}, {"b", locality}};
  const std::string_view names[]{"a", "b", "a", "b"};
  Team team = team_of(ranks);
  FUZZ_CHECK(team.size == 4 && team.host[0] == team.host[2] && team.host[1] == team.host[3] && team.hosts() <= 2);
  FUZZ_CHECK(!describe(team, names, ranks).empty());
  std::ranges::sort(team.order);
  FUZZ_CHECK((team.order == std::vector<int>{0, 1, 2, 3}));
  return 0;
}

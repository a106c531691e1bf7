// `shm` as a kind: for processes of one host, one network namespace and one user.
#include <algorithm>

#include "shm_transport.h"
#include "transport_kind.h"

namespace tutti::shm {
namespace {

// A card says where the segment would be handed over, and what to say there: "name secret".
struct Address {
  std::string name, secret;
};

constexpr size_t kLongestName = 100;  // sun_path holds 108 bytes, the first of which is zero
constexpr size_t kSecretDigits = 32;

std::optional<Address> read_card(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(0, space), secret = text.substr(space + 1);
  const bool well = !name.empty() && name.size() <= kLongestName && secret.size() == kSecretDigits &&
                    name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos &&
                    secret.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (!well) return std::nullopt;
  return Address{std::string(name), std::string(secret)};
}

Result<std::optional<Card>> make_card(const CardTerms&) {
  auto socket = HandoffSocket::open();
  if (!socket.ok()) return socket.status();
  Card card{.text = socket->name() + ' ' + socket->secret()};
  card.kept = std::make_shared<HandoffSocket>(std::move(*socket));
  return std::optional(std::move(card));
}

// Their unix sockets reach each other.
bool may_meet(const RankCard& x, const RankCard& y) { return x.host_id == y.host_id && read_card(x.text) && read_card(y.text); }

// No memory is handed to other users.
bool same_user(const RankCard& x, const RankCard& y) { return x.user == y.user && x.user_namespace == y.user_namespace; }

bool reach(const RankCard& mine, const RankCard& theirs) { return may_meet(mine, theirs) && same_user(mine, theirs); }

std::string objection(const RankCard& mine, const RankCard& theirs) {
  if (!may_meet(mine, theirs) || same_user(mine, theirs)) return "";
  return std::string(mine.name) + " runs as user " + std::to_string(mine.user) + " and " + std::string(theirs.name) + " as user " +
         std::to_string(theirs.user) + (mine.user == theirs.user ? " of another user namespace" : "");
}

Result<Opened> open(const Opening& opening) {
  Options options;
  options.shape = opening.shape;
  options.my_place = static_cast<uint32_t>(opening.places[static_cast<size_t>(opening.rank)]);
  options.places = opening.places;
  options.names.resize(opening.shape.ranks);
  for (size_t rank = 0; rank < opening.places.size(); ++rank)
    if (opening.places[rank] >= 0) options.names[static_cast<size_t>(opening.places[rank])] = opening.rank_names[rank];
  const auto leader = std::find(opening.places.begin(), opening.places.end(), 0) - opening.places.begin();
  const auto address = read_card(opening.cards[static_cast<size_t>(leader)]);
  if (!address) return Status(Code::internal, "the shm transport was opened with ranks that it does not reach");
  options.handoff = address->name;
  options.secret = address->secret;
  options.patience = {opening.wait, opening.deadline};
  options.window = opening.window;
  auto transport = ShmTransport::create(*std::static_pointer_cast<HandoffSocket>(opening.card->kept), options);
  if (!transport.ok()) return transport.status();
  if (!(*transport)->window().base)
    opening.log.info(
        "memory of tutti_alloc will be copied as any other: there is no address space to share it in (ulimit -v, ulimit -f, or "
        "ulimit -l after mlockall)");
  Opened opened;
  opened.arena = (*transport)->arena();
  opened.window = (*transport)->window();
  opened.transport = std::move(*transport);
  return opened;
}

}  // namespace

TransportKind kind() {
  return {.name = "shm",
          .whom = "processes of this host and network namespace",
          .shares_memory = true,
          .card = make_card,
          .reach = reach,
          .objection = objection,
          .open = open};
}

}  // namespace tutti::shm

#include "introduction.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "bytes.h"
#include "settings.h"
#include "transport_kind.h"
#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kVersion = "tutti5";

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kHexadecimal = "0123456789abcdef";
constexpr std::string_view kTransportName = "abcdefghijklmnopqrstuvwxyz0123456789_";
constexpr std::string_view kPlace = "0123456789- ";

constexpr size_t kLongestHostId = 128 + 4;  // "set:" goes before what a user set
constexpr size_t kLongestHost = 255;
constexpr size_t kLongestNumber = 20;
constexpr size_t kLongestCores = 16 << 10;  // 65 536 hardware threads
constexpr size_t kLongestPlace = 64;
constexpr uint64_t kMostPid = 9'999'999'999, kMostUser = std::numeric_limits<uint32_t>::max();

// Takes line after line, and remembers the first that is out of bounds.
class Lines {
 public:
  explicit Lines(std::string_view bytes) : rest_(bytes) {}

  // `alphabet` "": anything that prints.
  std::string text(const char* what, size_t longest, std::string_view alphabet = "") {
    const std::string_view line = next();
    const bool well = alphabet.empty() ? printable(line) == line : line.find_first_not_of(alphabet) == std::string_view::npos;
    if (line.size() <= longest && well) return std::string(line);
    refuse(what);
    return "";
  }
  uint64_t number(const char* what, uint64_t most = UINT64_MAX) {
    const std::string line = text(what, kLongestNumber, kDigits);
    const auto value = parse_number(line);
    if (!value || *value > most) refuse(what);
    return value.value_or(0);
  }
  std::string_view rest() const { return rest_; }
  // Names the first field that was out of bounds; "" if none was.
  const std::string& flaw() const { return flaw_; }
  void refuse(const char* what) {
    if (flaw_.empty()) flaw_ = what;
  }

 private:
  std::string_view next() {
    const size_t end = rest_.find('\n');
    if (end == std::string_view::npos) {
      refuse("end");
      return {};
    }
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return line;
  }

  std::string_view rest_;
  std::string flaw_;
};

// "name card", once for each.
std::map<std::string, std::string, std::less<>> read_cards(Lines& lines) {
  constexpr const char* kWhat = "list of transports";
  std::map<std::string, std::string, std::less<>> cards;
  for (uint64_t left = lines.number(kWhat, kMostCards); left > 0 && lines.flaw().empty(); --left) {
    const std::string line = lines.text(kWhat, kLongestTransportName + 1 + kLongestCard);
    const size_t length = line.find(' ');
    const std::string name = line.substr(0, length);
    const bool well = length != std::string::npos && length > 0 && length <= kLongestTransportName &&
                      name.find_first_not_of(kTransportName) == std::string::npos && line.size() - length - 1 <= kLongestCard;
    if (!well || !cards.emplace(name, line.substr(length + 1)).second) lines.refuse(kWhat);
  }
  return cards;
}

std::string namespace_number(const char* path) {
  struct stat info;
  return ::stat(path, &info) == 0 ? std::to_string(info.st_ino) : "";
}

}  // namespace

std::string encode(const Introduction& i) {
  std::string text(kVersion);
  const auto add = [&text](const std::string& line) { text += '\n' + line; };
  add(printable(i.host_id).substr(0, kLongestHostId));
  add(printable(i.host).substr(0, kLongestHost));
  for (const std::string& line :
       {std::to_string(i.pid), i.pid_namespace, std::to_string(i.user), i.user_namespace, std::to_string(i.context), i.cores,
        i.place, std::to_string(i.warnings), std::to_string(i.cards.size())})
    add(line);
  for (const auto& [name, card] : i.cards) add(name + ' ' + card);
  add(i.wire);
  return text;
}

Result<Introduction> decode_introduction(std::string_view bytes, int rank) {
  const std::string who = "rank " + std::to_string(rank) + " introduced itself ";
  if (!bytes.starts_with(std::string(kVersion) + '\n'))
    return Status(Code::unreachable, who + "in words of another version of Tutti");
  Lines lines(bytes.substr(kVersion.size() + 1));
  Introduction i;
  i.host_id = lines.text("host id", kLongestHostId);
  i.host = lines.text("host name", kLongestHost);
  i.pid = lines.number("process id", kMostPid);
  i.pid_namespace = lines.text("process id namespace", kLongestNumber, kDigits);
  i.user = lines.number("user id", kMostUser);
  i.user_namespace = lines.text("user id namespace", kLongestNumber, kDigits);
  i.context = lines.number("context");
  i.cores = lines.text("set of cores", kLongestCores, kHexadecimal);
  i.place = lines.text("place in its host", kLongestPlace, kPlace);
  i.warnings = lines.number("hash of its warnings");
  i.cards = read_cards(lines);
  i.wire = lines.rest();
  if (i.wire.size() > kLongestWireSettings) lines.refuse("list of settings");
  if (i.host_id.empty()) lines.refuse("host id");
  if (!lines.flaw().empty())
    return Status(Code::unreachable,
                  who + "with a malformed " + lines.flaw() + ": it runs another version of Tutti, or is no rank");
  return i;
}

void introduce_process(Introduction& introduction) {
  introduction.pid = static_cast<uint64_t>(::getpid());
  introduction.pid_namespace = namespace_number("/proc/self/ns/pid");
  introduction.user = ::geteuid();
  introduction.user_namespace = namespace_number("/proc/self/ns/user");
}

}  // namespace tutti

// Whether a call with a codec travels compressed.  "auto:" codecs are decided once for each text: compressing pays
// where the links are slower than the slowest rank's codec.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "call.h"
#include "communicator_parts.h"
#include "tuning.h"

namespace tutti {

struct RouteTerms;

struct CodecDecision {
  bool compresses = false;
  std::string why;
};

inline constexpr const char* kAlone = "nothing travels, since there is one rank";

class CodecDecisions {
 public:
  // The largest of all ranks' numbers, asked of all before `about`.
  using AskMost = std::function<Result<float>(float mine, const Call& about)>;

  explicit CodecDecisions(const CommunicatorParts& parts) : parts_(parts) {}
  // All ranks decide alike.  `tuning`: null before it is known.
  Result<const CodecDecision*> of(const Call& call, const RouteTerms& terms, const Tuning* tuning, const AskMost& ask_most);

 private:
  struct Entry {
    std::optional<float> most;  // what the ranks answered; if deciding fails after that, they are not asked again
    std::optional<CodecDecision> decision;
  };
  Result<CodecDecision> decide(const Call& call, Entry& entry, double link, const AskMost& ask_most) const;

  const CommunicatorParts& parts_;
  std::map<std::string, Entry> known_;  // by the codec's text
};

}  // namespace tutti

#include "plan_text.h"

namespace tutti {

std::string_view name(Verb verb) {
  switch (verb) {
    case Verb::send: return "send";
    case Verb::recv: return "recv";
    case Verb::recv_reduce: return "recv_reduce";
    case Verb::fold: return "fold";
  }
  return "?";
}

std::string describe(const Plan& plan, const Step& step) {
  std::string text{name(step.verb)};
  text += step.count == 1 ? " block " : " blocks ";
  text += std::to_string(step.block);
  if (step.count > 1) text += "-" + std::to_string((uint64_t{step.block} + step.count - 1) % plan.blocks());
  text += step.verb == Verb::send ? " to" : " from";
  text += step.peers == 1 ? " rank" : " ranks";
  const char* separator = " ";
  for (const uint32_t peer : plan.peers_of(step)) {
    text += separator + std::to_string(peer);
    separator = ", ";
  }
  if (step.completes) text += ", completes";
  if (step.apart) text += ", apart";
  return text;
}

std::string describe(const Plan& plan, const Program& program) {
  std::vector<bool> passes_on(plan.steps().size());
  for (const Instruction& instruction : program.instructions)
    passes_on[instruction.step] = !instruction.ins.empty() && !instruction.outs.empty();
  std::string text;
  for (size_t i = 0; i < plan.steps().size(); ++i) {
    const std::string number = std::to_string(i);
    text += std::string(number.size() < 4 ? 4 - number.size() : 0, ' ') + number + "  " + describe(plan, plan.steps()[i]);
    if (passes_on[i]) text += ", slot passes on";
    text += "\n";
  }
  return text;
}

}  // namespace tutti

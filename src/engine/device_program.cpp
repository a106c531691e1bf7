#include "device_program.h"

#include <algorithm>
#include <limits>
#include <set>

namespace tutti {
namespace {

static_assert(static_cast<int>(cuda::DeviceTake::nothing) == static_cast<int>(Take::nothing));
static_assert(static_cast<int>(cuda::DeviceTake::recv) == static_cast<int>(Take::recv));
static_assert(static_cast<int>(cuda::DeviceTake::recv_reduce) == static_cast<int>(Take::recv_reduce));
static_assert(static_cast<int>(cuda::DeviceTake::fold) == static_cast<int>(Take::fold));

// Numbers that must fit into 16 bits, and whether all have.
class Narrowing {
 public:
  uint16_t operator()(size_t number) {
    fits_ = fits_ && number <= std::numeric_limits<uint16_t>::max();
    return static_cast<uint16_t>(number);
  }
  bool fits() const { return fits_; }

 private:
  bool fits_ = true;
};

bool names_a_peer_twice(std::span<const Port> ports) {
  std::set<uint32_t> links;
  for (const Port& port : ports)
    if (!links.insert(port.link).second) return true;
  return false;
}

void add_segments(DeviceProgram& to, std::span<const Segment> segments, Narrowing& narrow) {
  for (const Segment& s : segments)
    to.segments.push_back({s.block, narrow(s.count), s.in_output ? uint16_t{0} : narrow(s.scratch), s.from_input, s.in_output});
}

void add_ports(DeviceProgram& to, std::span<const Port> ports, Narrowing& narrow) {
  for (const Port& port : ports) to.ports.push_back(narrow(port.link));
}

template <class T>
void append(std::vector<std::byte>& to, std::span<const T> items) {
  const auto bytes = std::as_bytes(items);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

cuda::DeviceBlock device_block(const Binding::Block& block, uint64_t place) {
  return {block.input, block.output, block.bytes, place % 16};
}

// All ranks know how long each other's blocks are, and so where each is in a vector of all.  Of an exchange they know
// their own only.
std::vector<cuda::DeviceBlock> device_blocks(const Binding& binding) {
  std::vector<cuda::DeviceBlock> blocks;
  uint64_t place = 0;
  for (const Binding::Block& block : binding.blocks()) {
    blocks.push_back(device_block(block, binding.cut() == Binding::Cut::fixed ? place : 0));
    place += block.bytes;
  }
  for (const Binding::Block& block : binding.column()) blocks.push_back(device_block(block, 0));
  return blocks;
}

}  // namespace

Result<DeviceProgram> flatten(const Program& program) {
  DeviceProgram flat;
  Narrowing narrow;
  bool twice = false;
  for (const Instruction& from : program.instructions) {
    cuda::DeviceInstruction to{};
    to.take = static_cast<cuda::DeviceTake>(from.take);
    to.completes = from.completes, to.received_is_left = from.received_is_left, to.keeps = from.keeps;
    to.lends = !from.outs.empty() && (from.take == Take::nothing ? from.lends_freely : from.keeps && from.last_touch);
    to.own_position = narrow(from.own_position), to.step = narrow(from.step);
    to.first_in = narrow(flat.ports.size()), to.ins = narrow(from.ins.size());
    add_ports(flat, from.ins, narrow);
    to.first_out = narrow(flat.ports.size()), to.outs = narrow(from.outs.size());
    add_ports(flat, from.outs, narrow);
    to.first_segment = narrow(flat.segments.size()), to.segments = narrow(from.segments.size());
    add_segments(flat, from.segments, narrow);
    twice = twice || names_a_peer_twice(from.ins) || names_a_peer_twice(from.outs);
    flat.instructions.push_back(to);
  }
  if (!program.identities.empty()) {
    cuda::DeviceInstruction copy{};
    copy.keeps = 1;
    copy.first_segment = narrow(flat.segments.size()), copy.segments = narrow(program.identities.size());
    add_segments(flat, program.identities, narrow);
    flat.instructions.push_back(copy);
  }
  narrow(flat.instructions.size()), narrow(flat.segments.size()), narrow(flat.ports.size()), narrow(program.peers.size());
  flat.blocks = program.blocks;
  flat.scratch_blocks = narrow(program.scratch_blocks);
  if (!narrow.fits() || twice)
    return Status(Code::unsupported, twice ? "an instruction of this plan takes two messages of one peer"
                                           : "this plan is too long for a kernel, which counts to 65535");
  return flat;
}

std::vector<std::byte> describe(cuda::DeviceCall& call, const DeviceProgram& program, const Binding& binding,
                                std::span<const cuda::DevicePeer> peers) {
  cuda::DeviceCallHeader& header = call.header;
  const std::vector<cuda::DeviceBlock> blocks = device_blocks(binding);
  header.cut = binding.cut() == Binding::Cut::chunked ? cuda::DeviceCut::vector
               : binding.cut() == Binding::Cut::fixed ? cuda::DeviceCut::blocks
                                                      : cuda::DeviceCut::exchange;
  header.input = binding.input(), header.output = binding.output(), header.bytes = binding.bytes();
  header.stripe_bytes = binding.stripe_bytes(), header.stripes = binding.stripes();
  header.blocks = program.blocks;
  header.peers = static_cast<uint16_t>(peers.size()), header.block_rows = static_cast<uint16_t>(blocks.size());
  header.instructions = static_cast<uint16_t>(program.instructions.size());
  header.segments = static_cast<uint16_t>(program.segments.size());
  header.ports = static_cast<uint16_t>(program.ports.size());
  header.scratch_blocks = static_cast<uint16_t>(program.scratch_blocks);
  std::vector<std::byte> bytes;
  append(bytes, peers);
  append(bytes, std::span<const cuda::DeviceBlock>(blocks));
  append(bytes, std::span<const cuda::DeviceInstruction>(program.instructions));
  append(bytes, std::span<const cuda::DeviceSegment>(program.segments));
  append(bytes, std::span<const uint16_t>(program.ports));
  while (bytes.size() % 8 != 0) bytes.push_back({});
  header.program_bytes = static_cast<uint32_t>(bytes.size());
  header.program = nullptr;
  if (bytes.size() > sizeof call.program) return bytes;
  std::ranges::copy(bytes, call.program);
  return {};
}

}  // namespace tutti

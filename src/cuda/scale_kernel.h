// The product of a vector of floats and a factor, shared by all blocks of the grid.
#pragma once

#include <cstddef>
#include <cstring>

#include "elements.h"
#include "machine.h"
#include "scale_call.h"

namespace tutti::cuda {

template <class Format, class Machine>
TUTTI_DEVICE void scale_kernel(const Machine& machine, const ScaleCall& call) {
  using Stored = typename Format::Stored;
  using Element = Raw<Stored>;
  const auto factor = static_cast<typename Format::Wide>(call.factor);
  const uint64_t workers = uint64_t{machine.blocks()} * machine.threads();
  TUTTI_LOOP
  for (uint64_t i = uint64_t{machine.block()} * machine.threads() + machine.thread(); i < call.count; i += workers) {
    const Element read = Machine::template load<Element>(static_cast<const std::byte*>(call.source) + i * sizeof(Element));
    Stored value;
    std::memcpy(&value, &read, sizeof value);
    value = Format::round(Format::widen(value) * factor);
    Element written;
    std::memcpy(&written, &value, sizeof value);
    Machine::store(static_cast<std::byte*>(call.target) + i * sizeof(Element), written);
  }
}

}  // namespace tutti::cuda

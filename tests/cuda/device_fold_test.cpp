// The kernels that fold, launched on a device: the bits of kernels::fold_kernel for every type and operator.
#include <cstring>
#include <tuple>

#include "fold_call.h"
#include "image.h"
#include "kernels.h"
#include "operands.h"
#include "sanitized.h"
#include "world.h"

namespace tutti::cuda::test {
namespace {

class CudaDeviceFold : public CudaTest {};

// Operands lie in one buffer, a multiple of 64 bytes and `shift` elements apart.
void try_fold(const SharedContext& context, const Function& kernel, DataType type, ReduceOp op, size_t count, size_t sources,
              size_t targets, size_t shift, uint64_t seed) {
  const size_t bytes = count * element_size(type);
  const size_t room = (bytes + 63) / 64 * 64 + 64 + shift * element_size(type);
  const size_t all = room * (sources + targets);
  const uint32_t divisor = op == ReduceOp::avg ? static_cast<uint32_t>(sources) : 1;
  const PinnedMemory host = value_of(PinnedMemory::allocate(context, all));
  const DeviceMemory device = value_of(DeviceMemory::allocate(context, all));
  const auto place = [&](size_t operand) { return operand * room + (operand % 2) * shift * element_size(type); };
  std::memset(host.data(), 0xEE, all);
  std::vector<std::vector<uint8_t>> contents;
  std::vector<const void*> from;
  FoldCall call{};
  for (size_t s = 0; s < sources; ++s) {
    contents.push_back(operands(type, count, 100 * seed + s));
    if (bytes > 0) std::memcpy(host.data() + place(s), contents.back().data(), bytes);
    call.source[call.sources++] = device.data() + place(s);
  }
  for (const auto& content : contents) from.push_back(content.data());
  for (size_t t = 0; t < targets; ++t) call.target[call.targets++] = device.data() + place(sources + t);
  call.count = count, call.divisor = divisor;
  std::vector<uint8_t> expected(bytes);
  const kernels::Target target{expected.data(), kernels::Store::cached};
  kernels::fold_kernel(type, op)(&target, 1, from.data(), sources, count, divisor);
  std::vector<std::byte> all_expected(all);
  std::memcpy(all_expected.data(), host.data(), all);
  for (size_t t = 0; t < targets; ++t)
    if (bytes > 0) std::memcpy(all_expected.data() + place(sources + t), expected.data(), bytes);

  const Stream on = value_of(Stream::create(context));
  EXPECT_OK(copy(*context, device.address(), address_of(host.data()), all, on.get()));
  EXPECT_OK(kernel.launch(3, 128, &call, on.get()));
  EXPECT_OK(copy(*context, address_of(host.data()), device.address(), all, on.get()));
  ASSERT_EQ(context->driver().call<"cuStreamSynchronize">(on.get()), Error::success);
  // Everything else is as it was, too.
  ASSERT_EQ(std::memcmp(host.data(), all_expected.data(), all), 0)
      << name(type) << " " << name(op) << ": " << count << " elements, " << sources << " sources, " << targets << " targets, "
      << shift << " elements out of line";
}

TEST_F(CudaDeviceFold, HasTheHostsBits) {
  if (!has_kernels()) GTEST_SKIP() << "built without nvcc";
  uint64_t seed = 0;
  const bool few = tutti::test::kSanitized || set_mood("");  // the fake driver starts threads for each
  using Sizes = std::vector<size_t>;
  for (int t = 0; t < kDataTypes; ++t) {
    const auto type = static_cast<DataType>(t);
    const Module module = value_of(Module::load(context(), image(type)));
    for (int o = 0; o < kReduceOps; ++o) {
      const auto op = static_cast<ReduceOp>(o);
      if (!is_defined(op, type)) continue;
      const Function kernel = value_of(module.function(fold_kernel_name(type, op)));
      for (const size_t count : few ? Sizes{17, 257} : Sizes{1, 17, 64, 257, 20'011})
        for (const size_t sources : few ? Sizes{2, 3} : Sizes{1, 2, 3, 16})
          for (const size_t shift : {size_t{0}, size_t{1}}) {
            try_fold(context(), kernel, type, op, count, sources, 1 + seed % 3, shift, seed);
            if (HasFatalFailure()) return;
            ++seed;
          }
    }
  }
}

}  // namespace
}  // namespace tutti::cuda::test

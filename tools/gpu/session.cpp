#include "session.h"

#include <fstream>
#include <iterator>

namespace tutti::gpu {
namespace {

std::vector<std::byte> file(const std::string& path) {
  std::vector<std::byte> bytes;
  std::ifstream stream(path, std::ios::binary);
  for (std::istreambuf_iterator<char> at(stream), end; at != end; ++at) bytes.push_back(static_cast<std::byte>(*at));
  if (bytes.empty()) throw std::runtime_error(path + " cannot be read");
  return bytes;
}

}  // namespace

Session::Session(const std::string& library, const std::string& probes)
    : driver_(*taken(cuda::Driver::load(library))),
      context_(taken(cuda::Context::retain(driver_, 0))),
      current_(*context_),
      image_(file(probes)),
      probes_(taken(cuda::Module::load(context_, image_))) {
  need(current_.status());
}

size_t Session::operand_bytes() const {
  size_t free = 0, total = 0;
  need(context_->check(driver_.call<"cuMemGetInfo">(&free, &total), "tell how much memory there is"));
  return total > (size_t{8} << 30) ? size_t{256} << 20 : size_t{4} << 20;
}

void Session::finish(cuda::CUstream stream) const {
  need(context_->check(driver_.call<"cuStreamSynchronize">(stream), "wait for a stream"));
}

}  // namespace tutti::gpu

#include "image.h"

// What images.S embeds.
#define TUTTI_IMAGE(family) extern "C" const std::byte tutti_cuda_image_##family[], tutti_cuda_image_##family##_end[];
TUTTI_IMAGE(int8)
TUTTI_IMAGE(int16)
TUTTI_IMAGE(int32)
TUTTI_IMAGE(int64)
TUTTI_IMAGE(float16)
TUTTI_IMAGE(bfloat16)
TUTTI_IMAGE(float32)
TUTTI_IMAGE(float64)

namespace tutti::cuda {

std::span<const std::byte> image(DataType type) {
  switch (type) {
    case DataType::int8:
    case DataType::uint8: return {tutti_cuda_image_int8, tutti_cuda_image_int8_end};
    case DataType::int16:
    case DataType::uint16: return {tutti_cuda_image_int16, tutti_cuda_image_int16_end};
    case DataType::int32:
    case DataType::uint32: return {tutti_cuda_image_int32, tutti_cuda_image_int32_end};
    case DataType::int64:
    case DataType::uint64: return {tutti_cuda_image_int64, tutti_cuda_image_int64_end};
    case DataType::float16: return {tutti_cuda_image_float16, tutti_cuda_image_float16_end};
    case DataType::bfloat16: return {tutti_cuda_image_bfloat16, tutti_cuda_image_bfloat16_end};
    case DataType::float32: return {tutti_cuda_image_float32, tutti_cuda_image_float32_end};
    case DataType::float64: return {tutti_cuda_image_float64, tutti_cuda_image_float64_end};
  }
  return {};
}

}  // namespace tutti::cuda

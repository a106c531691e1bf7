// The words that all rooms share: data types, reduction operators, collectives, and the signature of a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace tutti {

inline constexpr uint32_t kMostRanks = 1 << 16;  // of a communicator

enum class DataType : uint8_t { int8, uint8, int32, uint32, int64, uint64, float16, bfloat16, float32, float64, int16, uint16 };
inline constexpr int kDataTypes = 12;

enum class ReduceOp : uint8_t { sum, prod, min, max, avg, band, bor, bxor, custom };
inline constexpr int kReduceOps = 9;

enum class Collective : uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  reduce,
  gather,
  scatter,
  all_to_all,
  scan,
  exscan,
  barrier,
  point_to_point,  // a group of sends and receives
};
inline constexpr int kCollectives = 12;

size_t element_size(DataType type);
std::string_view name(DataType type);                            // "float32"
std::string_view name(ReduceOp op);                              // "sum"
bool is_float(DataType type);
// There are kernels: not for the operators on bits of floats, nor for a custom one.
bool is_defined(ReduceOp op, DataType type);
std::string_view name(Collective collective);                    // "all_reduce"
bool has_op(Collective collective);                              // a reduction by an operator that the caller names
// The call's count is of each rank's part, not of the whole.
bool each_rank_has_a_part(Collective collective);
std::optional<DataType> data_type_named(std::string_view text);  // also the short forms of nccl-tests: "float", "half", "double"
std::optional<ReduceOp> reduce_op_named(std::string_view text);
std::optional<Collective> collective_named(std::string_view text);

// Numbers in Signature::algorithm that are no plan's.
inline constexpr uint8_t kFlat = 255;       // the flat exchange
inline constexpr uint8_t kQuestion = 254;   // of one rank to the others, before the call that the signature names
inline constexpr uint8_t kSplitting = 253;  // tutti_comm_split
inline constexpr uint8_t kMeasuring = 252;  // of the machine, at bootstrap
inline constexpr uint8_t kGrouping = 251;   // tutti_comm_create_group

// Added to Signature::data_type by calls on memory of devices: all ranks' buffers are, or none's.
inline constexpr uint8_t kOnDevice = 0x80;

// Two ranks have two links, each with an order of its own.  Collectives follow one another in call order on every rank,
// and so do the messages that one rank sends to another.  The order of a rank's messages relative to its collectives is
// its own affair.
enum class LinkUse : uint8_t { collectives, messages };
inline constexpr size_t kLinkUses = 2;

// A rank's statement of the call it is in.  Travels with every message; ranks whose signatures differ called different
// things.  Plain bytes of fixed layout (little endian), compared whole.
struct Signature {
  uint16_t version = 1;  // of the wire protocol
  uint8_t collective = 0;
  uint8_t data_type = 0;  // with kOnDevice
  uint8_t op = 0;
  uint8_t algorithm = 0;  // index in the registry of algorithms, or one of the numbers above
  // V-variants: hash of the counts; with a codec: of it and its steps, never 0; of a split: which step; else 0.  With
  // op custom: hash of this and of the items' width.
  uint16_t detail = 0;
  uint32_t sequence = 0;  // number of this collective call on the communicator; 0 for point to point
  int32_t root = 0;       // -1 where there is none; of point to point the tag
  uint64_t count = 0;     // elements, as in the API call (v-variants: a hash of the counts)
  uint64_t context = 0;   // which communicator

  bool operator==(const Signature& other) const { return std::memcmp(this, &other, sizeof *this) == 0; }
};
static_assert(sizeof(Signature) == 32);

// Both are about the same call of the user's: equal, but that one may be a question before it, or another step of the
// same split.
bool same_call(Signature a, Signature b);

// "all_reduce #417 of 1024 float32, sum"
std::string describe(const Signature& signature);

}  // namespace tutti

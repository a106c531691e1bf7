// All kernels, a row each: ROW(type, operator, format, op) for the kernels <kind>_<type>_<operator>.  Integers of one
// width share what gives the same bits with or without a sign; those kernels bear the name of the unsigned type.
// kernel_names.cpp says which kernel serves a type and an operator.
#pragma once

#define TUTTI_INTEGER_ROWS(ROW, bits)                   \
  ROW(uint##bits, sum, Plain<uint##bits##_t>, Sum)      \
  ROW(uint##bits, prod, Plain<uint##bits##_t>, Product) \
  ROW(uint##bits, band, Plain<uint##bits##_t>, BitAnd)  \
  ROW(uint##bits, bor, Plain<uint##bits##_t>, BitOr)    \
  ROW(uint##bits, bxor, Plain<uint##bits##_t>, BitXor)  \
  ROW(uint##bits, min, Plain<uint##bits##_t>, Min)      \
  ROW(uint##bits, max, Plain<uint##bits##_t>, Max)      \
  ROW(uint##bits, avg, Plain<uint##bits##_t>, Average)  \
  ROW(int##bits, min, Plain<int##bits##_t>, Min)        \
  ROW(int##bits, max, Plain<int##bits##_t>, Max)        \
  ROW(int##bits, avg, Plain<int##bits##_t>, Average)

#define TUTTI_FLOAT_ROWS(ROW, type, ...) \
  ROW(type, sum, __VA_ARGS__, Sum)       \
  ROW(type, prod, __VA_ARGS__, Product)  \
  ROW(type, min, __VA_ARGS__, Min)       \
  ROW(type, max, __VA_ARGS__, Max)       \
  ROW(type, avg, __VA_ARGS__, Average)

// The families, which are compiled apart.  Machine: whose half floats they are.
#define TUTTI_ROWS_int8(ROW, Machine) TUTTI_INTEGER_ROWS(ROW, 8)
#define TUTTI_ROWS_int16(ROW, Machine) TUTTI_INTEGER_ROWS(ROW, 16)
#define TUTTI_ROWS_int32(ROW, Machine) TUTTI_INTEGER_ROWS(ROW, 32)
#define TUTTI_ROWS_int64(ROW, Machine) TUTTI_INTEGER_ROWS(ROW, 64)
#define TUTTI_ROWS_float16(ROW, Machine) TUTTI_FLOAT_ROWS(ROW, float16, HalfFloat<Machine>)
#define TUTTI_ROWS_bfloat16(ROW, Machine) TUTTI_FLOAT_ROWS(ROW, bfloat16, BrainFloat)
#define TUTTI_ROWS_float32(ROW, Machine) TUTTI_FLOAT_ROWS(ROW, float32, Plain<float>)
#define TUTTI_ROWS_float64(ROW, Machine) TUTTI_FLOAT_ROWS(ROW, float64, Plain<double>)

// Kernels scale_<type>: ROW(type, format).
#define TUTTI_SCALES_int8(ROW, Machine)
#define TUTTI_SCALES_int16(ROW, Machine)
#define TUTTI_SCALES_int32(ROW, Machine)
#define TUTTI_SCALES_int64(ROW, Machine)
#define TUTTI_SCALES_float16(ROW, Machine) ROW(float16, HalfFloat<Machine>)
#define TUTTI_SCALES_bfloat16(ROW, Machine) ROW(bfloat16, BrainFloat)
#define TUTTI_SCALES_float32(ROW, Machine) ROW(float32, Plain<float>)
#define TUTTI_SCALES_float64(ROW, Machine) ROW(float64, Plain<double>)

#pragma once
// GRAMIAN_HD marks what both backends compile: arithmetic and index algebra.
#ifdef __CUDACC__
#define GRAMIAN_HD __host__ __device__ __forceinline__
#else
// always inlined: a copy compiled for one instruction set must never serve another
#define GRAMIAN_HD inline __attribute__((always_inline))
#endif

#pragma once
// The instructions that CUDA C++ has no name for, one function each; the PTX ISA's section is the instruction's own name.
// A shared address is the 32-bit one of the shared window, from shared_address(). What an architecture lacks is not declared
// for it, so that its use there is an error of the compiler and not of ptxas.
#ifdef GRAMIAN_EMULATOR
#include "emulator/ptx.hpp"
#else
#include <cuda.h>  // CUtensorMap; nothing of libcuda is linked

#include <cstdint>

namespace gramian {

using TensorMap = CUtensorMap;

namespace ptx {

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// The dynamic shared memory of the block. Its alignment is nobody's promise beyond 16 bytes: who needs more rounds up.
__device__ __forceinline__ std::uint8_t* dynamic_shared() {
    extern __shared__ __align__(16) std::uint8_t gramian_dynamic_shared[];
    return gramian_dynamic_shared;
}

// Barriers of named groups of threads: bar.sync, bar.arrive. The id is a constant, or ptxas reserves all 16.

template <int id>
__device__ __forceinline__ void named_sync(int threads) {
    asm volatile("bar.sync %0, %1;" ::"n"(id), "r"(threads) : "memory");
}
template <int id>
__device__ __forceinline__ void named_arrive(int threads) {
    asm volatile("bar.arrive %0, %1;" ::"n"(id), "r"(threads) : "memory");
}

// Arithmetic: the special function unit, subnormals flushed to zero, 2 units in the last place.

__device__ __forceinline__ float exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float log2(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float rsqrt(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Conversions, to the nearest and ties to even.

__device__ __forceinline__ std::uint16_t to_half(float x) {
    std::uint16_t y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float half_to_float(std::uint16_t x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
__device__ __forceinline__ std::uint16_t to_bfloat16(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    const std::uint32_t bits = __float_as_uint(x);
    if (x != x) return 0x7fff;
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#else
    std::uint16_t y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
#endif
}
__device__ __forceinline__ float bfloat16_to_float(std::uint16_t x) {
    return __uint_as_float(static_cast<std::uint32_t>(x) << 16);
}

/// N times four 8 x 8 matrices of 16-bit elements; lanes 8m .. 8m + 7 give the addresses of the rows of matrix m. ldmatrix
template <int N>
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[N][4], const std::uint32_t (&address)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[i][0]), "=r"(r[i][1]), "=r"(r[i][2]), "=r"(r[i][3])
                     : "r"(address[i])
                     : "memory");
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800

/// 16 bytes to shared memory past the registers and L1: the first `bytes` of them from memory, the others zero. cp.async
__device__ __forceinline__ void copy_async(std::uint32_t to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until at most N of this thread's groups are under way.
template <int N>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/// d += a b over one warp: P x C blocks of 16 x 8, from P blocks of 16 x 16 by rows and C of 16 x 8 by columns, which come in
/// pairs. mma.sync
template <bool BF16, int P, int C>
__device__ __forceinline__ void mma(float (&d)[P * C * 4], const std::uint32_t (&a)[P][4], const std::uint32_t (&b)[C / 2][4]) {
#pragma unroll
    for (int p = 0; p < P; ++p)
#pragma unroll
        for (int c = 0; c < C; ++c) {
            float* e = d + (p * C + c) * 4;
            const std::uint32_t b0 = b[c / 2][c % 2 * 2], b1 = b[c / 2][c % 2 * 2 + 1];
            if constexpr (BF16) {
                asm volatile(
                    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                    "{%0, %1, %2, %3};"
                    : "+f"(e[0]), "+f"(e[1]), "+f"(e[2]), "+f"(e[3])
                    : "r"(a[p][0]), "r"(a[p][1]), "r"(a[p][2]), "r"(a[p][3]), "r"(b0), "r"(b1));
            } else {
                asm volatile(
                    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                    "{%0, %1, %2, %3};"
                    : "+f"(e[0]), "+f"(e[1]), "+f"(e[2]), "+f"(e[3])
                    : "r"(a[p][0]), "r"(a[p][1]), "r"(a[p][2]), "r"(a[p][3]), "r"(b0), "r"(b1));
            }
        }
}

#endif
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

// mbarrier: 8 bytes of shared memory that count arrivals of threads and bytes of copies; a phase ends when both are there.

__device__ __forceinline__ void barrier_init(std::uint32_t bar, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}
/// Makes barrier_init visible to copies; the block's threads still need __syncthreads().
__device__ __forceinline__ void fence_barrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_arrive(std::uint32_t bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}
__device__ __forceinline__ void barrier_arrive_expect(std::uint32_t bar, std::uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
/// Until the phase of this parity has ended; before the first one ends, parity 1 counts as ended.
__device__ __forceinline__ void barrier_wait(std::uint32_t bar, std::uint32_t parity) {
    std::uint32_t ended;
    do {
        asm volatile(
            "{\n\t.reg .pred p;\n\t"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, p;\n\t}"
            : "=r"(ended)
            : "r"(bar), "r"(parity)
            : "memory");
    } while (!ended);
}

/// 128 rows of 64 16-bit columns, zero beyond the matrix, to 16 KB at a multiple of 1024 with the 128-byte swizzle; arrives
/// at `bar` with its bytes. One thread issues it. cp.async.bulk.tensor
__device__ __forceinline__ void tma_load(std::uint32_t to, const TensorMap* map, std::uint32_t bar, int column, int row) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(to),
        "l"(map), "r"(bar), "r"(column), "r"(row)
        : "memory");
}
__device__ __forceinline__ void tma_prefetch(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

#endif
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Registers of each thread of this warpgroup from here on; the kernel's launch bounds say what there is to share. setmaxnreg
template <int R>
__device__ __forceinline__ void more_registers() {
    static_assert(R % 8 == 0 && R >= 24 && R <= 256);
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(R));
}
template <int R>
__device__ __forceinline__ void fewer_registers() {
    static_assert(R % 8 == 0 && R >= 24 && R <= 256);
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(R));
}

/// Describes an operand of wgmma that TMA has laid out: K-major, 128-byte swizzle, groups of 8 rows 1024 bytes apart. The
/// next 16 columns are 32 bytes further: + 2. "Matrix descriptor format" under wgmma
__device__ __forceinline__ std::uint64_t swizzled_descriptor(std::uint32_t address) {
    constexpr std::uint64_t kIgnored = std::uint64_t{1} << 16;  // the leading dimension's offset, with a swizzle
    constexpr std::uint64_t kGroups = std::uint64_t{1024 >> 4} << 32;
    constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62;
    return kSwizzle128 | kGroups | kIgnored | (address & 0x3ffff) >> 4;
}

/// Before the first wgmma of a group: earlier writes to its registers are done.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Until at most N groups are under way; only then may their d be read and their operands overwritten.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

#define GRAMIAN_FOUR(d, i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define GRAMIAN_SIXTEEN(d, i) GRAMIAN_FOUR(d, i), GRAMIAN_FOUR(d, (i) + 4), GRAMIAN_FOUR(d, (i) + 8), GRAMIAN_FOUR(d, (i) + 12)
#define GRAMIAN_WGMMA(type, d, a, b, accumulate)                                                        \
    asm volatile(                                                                                       \
        "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %66, 0;\n\t"                                              \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                                    \
        " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "              \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "              \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "             \
        "%64, %65, p, 1, 1, 0, 0;\n\t}"                                                                 \
        : GRAMIAN_SIXTEEN(d, 0), GRAMIAN_SIXTEEN(d, 16), GRAMIAN_SIXTEEN(d, 32), GRAMIAN_SIXTEEN(d, 48) \
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)))

/// d (+)= a bᵀ: 64 x 128 over a warpgroup from 64 x 16 and 128 x 16, both described in shared memory. Thread t holds in
/// d[4c + 2h + e] row 16 (t / 32) + t % 32 / 4 + 8h and column 8c + t % 4 * 2 + e. wgmma.mma_async
template <bool BF16>
__device__ __forceinline__ void wgmma(float (&d)[64], std::uint64_t a, std::uint64_t b, bool accumulate) {
    if constexpr (BF16)
        GRAMIAN_WGMMA("bf16", d, a, b, accumulate);
    else
        GRAMIAN_WGMMA("f16", d, a, b, accumulate);
}

#undef GRAMIAN_WGMMA
#undef GRAMIAN_SIXTEEN
#undef GRAMIAN_FOUR

#endif

}  // namespace ptx
}  // namespace gramian
#endif

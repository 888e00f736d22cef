#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/element.hpp"
#include "emulator/cuda_runtime.h"

// The functions of csrc/cuda/ptx.cuh in the emulator, with the checks that hardware does not make.
namespace gramian {

struct TensorMap {
    const std::uint16_t* data;
    std::int64_t rows, columns, pitch;
};

namespace ptx {

namespace detail {

using emulator::block;
using emulator::fail;
using emulator::hexadecimal;
using emulator::running;

inline void need(int capability, const char* what) {
    const int has = emulator::settings.capability;
    const bool enough = capability == 90 ? has == 90 : has >= capability;  // what 90 needs here is of 90a, which none follows
    if (!enough) fail(std::string(what) + " does not exist with compute capability " + std::to_string(has));
}

inline void need_multiple(std::uint32_t address, std::uint32_t of, const char* what) {
    if (address % of)
        fail(std::string(what) + ": address " + hexadecimal(address) + " is not a multiple of " + std::to_string(of));
}

/// Where TMA and wgmma with the 128-byte swizzle keep what would lie at an address: its bits 4-6 xor bits 7-9.
inline std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

template <bool BF16>
float to_float(std::uint16_t x) {
    if constexpr (BF16)
        return widen(BFloat16{x});
    else
        return widen(Half{x});
}

inline emulator::MemoryBarrier& memory_barrier(std::uint32_t bar) {
    need(90, "mbarrier");
    const auto found = block->memory_barriers.find(bar);
    if (found == block->memory_barriers.end()) fail("mbarrier " + hexadecimal(bar) + " is used before barrier_init");
    return found->second;
}

inline void end_phase_if_complete(emulator::MemoryBarrier& barrier) {
    if (barrier.pending != 0 || barrier.bytes != 0) return;
    barrier.pending = barrier.count;
    ++barrier.phase;
}

inline void copy(const emulator::Copy& work) {
    std::uint8_t* to = emulator::shared_at(work.to, 16);
    std::memset(to, 0, 16);
    if (work.bytes) std::memcpy(to, work.from, static_cast<std::size_t>(work.bytes));
}

/// 16 columns of rows [row, row + count) of an operand of wgmma, as floats.
template <bool BF16, int count>
void read_operand(std::uint64_t descriptor, int row, float (&out)[count][16]) {
    const auto start = static_cast<std::uint32_t>(descriptor & 0x3fff) << 4;
    const auto group = static_cast<std::uint32_t>(descriptor >> 32 & 0x3fff) << 4;  // from 8 rows to the next 8
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) fail("wgmma: the descriptor is not of a 128-byte swizzle");
    if (start >> 7 & 7) fail("wgmma: the operand at " + hexadecimal(start) + " does not begin where the swizzle does");
    for (int r = 0; r < count; ++r) {
        const auto absolute = static_cast<std::uint32_t>(row + r);
        for (std::uint32_t half = 0; half < 2; ++half) {
            std::uint16_t bits[8];
            const std::uint32_t address = swizzled(start + absolute / 8 * group + absolute % 8 * 128 + half * 16);
            std::memcpy(bits, emulator::shared_at(address, 16), 16);
            for (std::uint32_t k = 0; k < 8; ++k) out[r][half * 8 + k] = to_float<BF16>(bits[k]);
        }
    }
}

/// One multiplication of the running warp: its 16 of the 64 rows.
template <bool BF16>
void multiply(const emulator::Multiply& of_first, float* const (&d)[emulator::kLanes]) {
    float a[16][16], b[128][16], columns[16][128];
    read_operand<BF16>(of_first.a, running->warp() % 4 * 16, a);
    read_operand<BF16>(of_first.b, 0, b);
    for (int c = 0; c < 128; ++c)
        for (int k = 0; k < 16; ++k) columns[k][c] = b[c][k];
    for (int r = 0; r < 16; ++r) {
        const auto element = [&](int c) -> float& { return d[r % 8 * 4 + c % 8 / 2][c / 8 * 4 + r / 8 * 2 + c % 2]; };
        float sum[128];
        for (int c = 0; c < 128; ++c) sum[c] = of_first.accumulate ? element(c) : 0.0f;
        for (int k = 0; k < 16; ++k)
            for (int c = 0; c < 128; ++c) sum[c] += a[r][k] * columns[k][c];
        for (int c = 0; c < 128; ++c) element(c) = sum[c];
    }
}

/// Finishes the groups of the running warp's wgmma, but for the last `remaining`. The lane that leaves the meeting first does
/// it for all of them, so that no lane of the warp is still before the wait.
inline void finish_multiplies(std::size_t remaining, const char* where) {
    emulator::exchange(emulator::kAllLanes, {}, where);
    emulator::Thread* lanes = &block->threads[static_cast<std::size_t>(running->warp() * emulator::kLanes)];
    auto& mine = running->multiplies.committed;
    while (mine.size() > remaining) {
        const std::size_t count = mine.front().size();
        for (int lane = 0; lane < emulator::kLanes; ++lane)
            if (lanes[lane].multiplies.committed.size() < mine.size() || lanes[lane].multiplies.committed.front().size() != count)
                fail("wgmma: the lanes of a warp have issued different multiplications");
        for (std::size_t i = 0; i < count; ++i) {
            const emulator::Multiply& first = mine.front()[i];
            float* d[emulator::kLanes];
            for (int lane = 0; lane < emulator::kLanes; ++lane) {
                const emulator::Multiply& other = lanes[lane].multiplies.committed.front()[i];
                if (other.a != first.a || other.b != first.b || other.accumulate != first.accumulate || other.bf16 != first.bf16)
                    fail("wgmma: the lanes of a warp have issued different multiplications");
                d[lane] = other.d;
            }
            first.bf16 ? multiply<true>(first, d) : multiply<false>(first, d);
        }
        for (int lane = 0; lane < emulator::kLanes; ++lane) {
            auto& groups = lanes[lane].multiplies.committed;
            groups.erase(groups.begin());
        }
    }
}

}  // namespace detail

inline std::uint8_t* dynamic_shared() { return emulator::block->shared; }

inline std::uint32_t shared_address(const void* p) {
    const auto offset = static_cast<const std::uint8_t*>(p) - emulator::block->shared;
    if (offset < 0 || offset > static_cast<std::ptrdiff_t>(emulator::block->shared_bytes))
        detail::fail("shared_address of what is not in dynamic shared memory");
    return emulator::kWindow + static_cast<std::uint32_t>(offset);
}

// ---- named barriers ----

template <int id>
void named_arrive(int threads) {
    static_assert(id >= 0 && id < 16);
    if (threads % 32 || threads > static_cast<int>(detail::block->threads.size()))
        detail::fail("a named barrier of partial warps");
    emulator::arrive(detail::block->barriers[id], threads, "named barrier", id);
}
template <int id>
void named_sync(int threads) {
    const std::uint64_t generation = detail::block->barriers[id].generation;
    named_arrive<id>(threads);
    emulator::wait_while(detail::block->barriers[id].generation, generation, "named barrier", id);
}

// ---- arithmetic ----

namespace detail {
inline float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
}  // namespace detail
inline float exp2(float x) { return detail::flushed(std::exp2(detail::flushed(x))); }
inline float log2(float x) { return std::log2(detail::flushed(x)); }
inline float rsqrt(float x) { return 1.0f / std::sqrt(detail::flushed(x)); }
inline float reciprocal(float x) { return detail::flushed(1.0f / detail::flushed(x)); }

inline float half_to_float(std::uint16_t x) { return widen(Half{x}); }
inline float bfloat16_to_float(std::uint16_t x) { return widen(BFloat16{x}); }
inline std::uint16_t to_bfloat16(float x) {
    if (x != x) return 0x7fff;
    const std::uint32_t bits = __float_as_uint(x);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline std::uint16_t to_half(float x) {
    if (x != x) return 0x7fff;
    const std::uint32_t sign = __float_as_uint(x) >> 16 & 0x8000;
    const float size = std::fabs(x);
    if (size >= 65520.0f) return static_cast<std::uint16_t>(sign | 0x7c00);
    int exponent;
    std::frexp(size, &exponent);
    // units of the last place, of which a half's bits count 1024 for each power of two: the carry of rounding is right too
    const int last = size < 0x1p-14f ? -24 : exponent - 11;
    const auto units = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(size, -last)));
    return static_cast<std::uint16_t>(sign | (units + static_cast<std::uint32_t>(last + 24) * 1024));
}

// ---- cp.async, ldmatrix, mma ----

inline void copy_async(std::uint32_t to, const void* from, int bytes) {
    detail::need(80, "cp.async");
    detail::need_multiple(to, 16, "cp.async");
    if (reinterpret_cast<std::uintptr_t>(from) % 16) detail::fail("cp.async: the source is not a multiple of 16");
    if (bytes < 0 || bytes > 16) detail::fail("cp.async of " + std::to_string(bytes) + " bytes");
    emulator::shared_at(to, 16);
    const emulator::Copy work{to, from, bytes};
    if (detail::block->random() % 4 == 0)
        detail::copy(work);
    else
        detail::running->copies.open.push_back(work);
}
inline void copy_commit() {
    detail::running->copies.commit();
    emulator::stall(64);
}
template <int N>
void copy_wait() {
    auto& groups = detail::running->copies.committed;
    while (groups.size() > N) {
        for (const emulator::Copy& work : groups.front()) detail::copy(work);
        groups.erase(groups.begin());
    }
}

template <int N>
void load_matrices(std::uint32_t (&r)[N][4], const std::uint32_t (&address)[N]) {
    emulator::Collective::Words words{};
    static_assert(N <= static_cast<int>(std::tuple_size_v<emulator::Collective::Words>));
    for (std::size_t i = 0; i < N; ++i) {
        detail::need_multiple(address[i], 16, "ldmatrix");
        emulator::shared_at(address[i], 16);
        words[i] = address[i];
    }
    const auto& slot = emulator::exchange(emulator::kAllLanes, words, "ldmatrix");
    const int lane = detail::running->lane();
    for (std::size_t i = 0; i < N; ++i)
        for (int matrix = 0; matrix < 4; ++matrix) {
            const std::uint32_t row = slot.lane[static_cast<std::size_t>(matrix * 8 + lane / 4)][i];
            std::memcpy(&r[i][matrix], emulator::shared_at(row + static_cast<std::uint32_t>(lane % 4 * 4), 4), 4);
        }
}

/// The lanes show where their operands lie; the one that leaves first multiplies for all.
template <bool BF16, int P, int C>
void mma(float (&d)[P * C * 4], const std::uint32_t (&a)[P][4], const std::uint32_t (&b)[C / 2][4]) {
    detail::need(80, "mma.m16n8k16");
    struct Operands {
        float* d;
        const std::uint32_t (*a)[4];
        const std::uint32_t (*b)[4];
    };
    emulator::Collective::Words words{};
    const Operands own{d, a, b};
    static_assert(sizeof own <= sizeof words);
    std::memcpy(words.data(), &own, sizeof own);
    auto& slot = emulator::exchange(emulator::kAllLanes, words, BF16 ? "mma.bf16" : "mma.f16");
    if (slot.done) return;
    slot.done = true;
    const auto half = [](std::uint32_t word, int e) {
        return detail::to_float<BF16>(static_cast<std::uint16_t>(word >> (16 * e)));
    };
    Operands of[emulator::kLanes];
    float left[16 * P][16], right[16][8 * C], sum[16 * P][8 * C] = {};
    for (std::size_t lane = 0; lane < emulator::kLanes; ++lane) {
        std::memcpy(&of[lane], slot.lane[lane].data(), sizeof own);
        const std::size_t row = lane / 4, column = lane % 4 * 2;
        for (std::size_t word = 0; word < 4; ++word)
            for (int e = 0; e < 2; ++e) {
                const std::size_t k = column + static_cast<std::size_t>(e);
                for (std::size_t p = 0; p < P; ++p)
                    left[16 * p + row + word % 2 * 8][k + word / 2 * 8] = half(of[lane].a[p][word], e);
                for (std::size_t c = 0; c < C / 2; ++c)
                    right[k + word % 2 * 8][16 * c + word / 2 * 8 + row] = half(of[lane].b[c][word], e);
            }
    }
    for (int row = 0; row < 16 * P; ++row)
        for (int k = 0; k < 16; ++k)
            for (int column = 0; column < 8 * C; ++column) sum[row][column] += left[row][k] * right[k][column];
    for (int lane = 0; lane < emulator::kLanes; ++lane)
        for (int p = 0; p < P; ++p)
            for (int c = 0; c < C; ++c)
                for (int i = 0; i < 4; ++i)
                    of[lane].d[(p * C + c) * 4 + i] += sum[16 * p + lane / 4 + i / 2 * 8][8 * c + lane % 4 * 2 + i % 2];
}

// ---- mbarrier, TMA ----

inline void barrier_init(std::uint32_t bar, int count) {
    detail::need(90, "mbarrier");
    detail::need_multiple(bar, 8, "barrier_init");
    emulator::shared_at(bar, 8);
    if (count < 1) detail::fail("barrier_init: nobody arrives");
    detail::block->memory_barriers[bar] = {count, count, 0, 0, false};
}
inline void fence_barrier_init() {
    for (auto& [address, barrier] : detail::block->memory_barriers) barrier.fenced = true;
}
inline void barrier_arrive_expect(std::uint32_t bar, std::uint32_t bytes) {
    emulator::MemoryBarrier& barrier = detail::memory_barrier(bar);
    if (barrier.pending == 0) detail::fail("mbarrier " + detail::hexadecimal(bar) + ": more arrivals than it counts");
    barrier.bytes += bytes;
    --barrier.pending;
    detail::end_phase_if_complete(barrier);
    emulator::stall(16);
}
inline void barrier_arrive(std::uint32_t bar) { barrier_arrive_expect(bar, 0); }
inline void barrier_wait(std::uint32_t bar, std::uint32_t parity) {
    if (parity > 1) detail::fail("barrier_wait: a parity of " + std::to_string(parity));
    emulator::MemoryBarrier& barrier = detail::memory_barrier(bar);
    emulator::stall(64);
    const std::uint64_t phase = barrier.phase;
    if (phase % 2 != parity) return;
    emulator::wait_while(barrier.phase, phase, "barrier_wait", bar);
    if (barrier.phase != phase + 1)
        detail::fail("mbarrier " + detail::hexadecimal(bar) + " went on by two phases while a thread waited for one");
}

inline void tma_load(std::uint32_t to, const TensorMap* map, std::uint32_t bar, int column, int row) {
    detail::need_multiple(to, 1024, "TMA with a 128-byte swizzle");
    emulator::shared_at(to, 128 * 128);
    if (!detail::memory_barrier(bar).fenced) detail::fail("TMA may not see its mbarrier: fence_barrier_init is missing");
    const auto run = [to, map = *map, bar, column, row] {
        for (std::uint32_t r = 0; r < 128; ++r)
            for (std::uint32_t c = 0; c < 64; ++c) {
                const std::int64_t i = std::int64_t{row} + r, j = std::int64_t{column} + c;
                const bool inside = i >= 0 && i < map.rows && j >= 0 && j < map.columns;
                const std::uint16_t x = inside ? map.data[i * map.pitch + j] : std::uint16_t{0};
                std::memcpy(emulator::shared_at(detail::swizzled(to + r * 128 + c * 2), 2), &x, 2);
            }
        emulator::MemoryBarrier& barrier = detail::memory_barrier(bar);
        barrier.bytes -= 128 * 128;
        detail::end_phase_if_complete(barrier);
    };
    detail::block->loads.push_back({to, bar, run});
}
inline void tma_prefetch(const TensorMap*) {}

// ---- wgmma ----

template <int R>
void more_registers() {
    static_assert(R % 8 == 0 && R >= 24 && R <= 256);
}
template <int R>
void fewer_registers() {
    static_assert(R % 8 == 0 && R >= 24 && R <= 256);
}

inline std::uint64_t swizzled_descriptor(std::uint32_t address) {
    return std::uint64_t{1} << 62 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 16 | (address & 0x3ffff) >> 4;
}

inline void wgmma_fence() { detail::running->wgmma_fenced = true; }

template <bool BF16>
void wgmma(float (&d)[64], std::uint64_t a, std::uint64_t b, bool accumulate) {
    detail::need(90, "wgmma");
    if (!detail::running->wgmma_fenced) detail::fail("wgmma: no wgmma_fence before the first of a group");
    detail::running->multiplies.open.push_back({d, a, b, BF16, accumulate});
}
inline void wgmma_commit() {
    auto& warp = detail::block->warps[static_cast<std::size_t>(detail::running->warp())];
    detail::running->multiplies.commit();
    detail::running->wgmma_fenced = false;
    if (detail::running->lane() == 0) ++warp.multiplied;
    // all lanes must agree whether this group is done at once; late is what finds bugs, early finds a few others
    const std::uint64_t chance = (emulator::settings.seed + static_cast<std::uint64_t>(detail::running->warp()) + 1) *
                                 detail::running->multiplies.count * 0x9e3779b97f4a7c15u;
    emulator::stall(64);
    if (chance >> 62 == 0) detail::finish_multiplies(0, "wgmma.commit_group");
}
template <int N>
void wgmma_wait() {
    detail::finish_multiplies(N, "wgmma.wait_group");
}

}  // namespace ptx
}  // namespace gramian

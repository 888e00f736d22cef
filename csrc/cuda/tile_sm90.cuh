#pragma once
#include "cuda/epilogue.cuh"

// Tiles on Hopper (sm_90a): one thread brings panels to shared memory with the tensor memory accelerator, two warpgroups of
// four warps multiply them with wgmma, 64 of the tile's 128 rows each. Stages of a ring pass between them through barriers:
// `full` when its bytes have landed, `empty` when all eight consuming warps are through with it.
namespace gramian::cuda::sm90 {

constexpr int kStages = 6;
constexpr int kPanelBytes = kTile * kSteps * 2;
constexpr int kStageBytes = 2 * kPanelBytes;
constexpr int kThreads = 384;
constexpr int kConsumerWarps = 8;
constexpr int kSharedBytes = 1024 + kStages * kStageBytes + 2 * kStages * 8 + kConsumerWarps * 3 * 8;

using Tile = Fragment<1, 16>;

struct Shared {
    std::uint32_t panels;  // kStages × (rows' panel, columns' panel), 1024-byte aligned
    std::uint32_t full, empty;
    double* sums;  // (kConsumerWarps, 3)

    GRAMIAN_DEVICE Shared() {
        unsigned char* memory = ptx::dynamic_shared();
        const std::uint32_t start = ptx::shared_address(memory);
        panels = (start + 1023) & ~std::uint32_t{1023};
        full = panels + kStages * kStageBytes;
        empty = full + kStages * 8;
        sums = reinterpret_cast<double*>(memory + (empty + kStages * 8 - start));
    }
    GRAMIAN_DEVICE std::uint32_t row_panel(std::uint32_t stage) const { return panels + stage * kStageBytes; }
    GRAMIAN_DEVICE std::uint32_t column_panel(std::uint32_t stage) const { return row_panel(stage) + kPanelBytes; }
};

/// The position in the ring: which stage, and how often it has been round.
struct Ring {
    std::uint32_t step = 0;
    GRAMIAN_DEVICE std::uint32_t stage() const { return step % kStages; }
    GRAMIAN_DEVICE std::uint32_t parity() const { return step / kStages & 1; }
};

GRAMIAN_DEVICE void produce(const Shared& shared, const TileOperand& x, const TensorMap* map, int row, int column, Ring& ring) {
    const int steps = all_steps(x);
    for (int k = 0; k < steps; ++k, ++ring.step) {
        const std::uint32_t stage = ring.stage(), full = shared.full + stage * 8;
        ptx::barrier_wait(shared.empty + stage * 8, ring.parity() ^ 1);
        ptx::barrier_arrive_expect(full, kStageBytes);
        const StepColumns at = step_columns(x, k);
        ptx::tma_load(shared.row_panel(stage), map, full, at.row, row);
        ptx::tma_load(shared.column_panel(stage), map, full, at.column, column);
    }
}

GRAMIAN_DEVICE void release(const Shared& shared, std::uint32_t step) {
    if (threadIdx.x % 32 == 0) ptx::barrier_arrive(shared.empty + step % kStages * 8);
}

/// Inner products of 64 rows with the tile's columns. A stage is released once the multiplication after it has been issued,
/// the last one when all are done: no stage is held while another representation's panels are waited for.
template <bool BFloat>
GRAMIAN_DEVICE void multiply(Tile& tile, const Shared& shared, int steps, int group, Ring& ring) {
#pragma unroll 1
    for (int k = 0; k < steps; ++k, ++ring.step) {
        const std::uint32_t stage = ring.stage();
        ptx::barrier_wait(shared.full + stage * 8, ring.parity());
        const std::uint64_t a = ptx::swizzled_descriptor(shared.row_panel(stage) + group * (kPanelBytes / 2));
        const std::uint64_t b = ptx::swizzled_descriptor(shared.column_panel(stage));
        ptx::wgmma_fence();
#pragma unroll
        for (int part = 0; part < 4; ++part)  // 16 features are 32 bytes: 2 in a descriptor's units
            ptx::wgmma<BFloat>(tile.v, a + 2 * part, b + 2 * part, k + part != 0);
        ptx::wgmma_commit();
        if (k > 0) {
            ptx::wgmma_wait<1>();
            release(shared, ring.step - 1);
        }
    }
    ptx::wgmma_wait<0>();
    release(shared, ring.step - 1);
}

/// Reps 2: the moments of two representations. Reps 1: the values of one, stored.
template <int Reps, bool BFloat0, bool BFloat1>
__global__ void __launch_bounds__(kThreads, 1)
    tile_sm90(const __grid_constant__ TensorMap map0, const __grid_constant__ TensorMap map1,
              const __grid_constant__ TileArgs args) {
    const Shared shared;
    const int thread = static_cast<int>(threadIdx.x), group = thread / 128;
    if (thread == 0) {
        for (int stage = 0; stage < kStages; ++stage) {
            ptx::barrier_init(shared.full + stage * 8, 1);
            ptx::barrier_init(shared.empty + stage * 8, kConsumerWarps);
        }
        ptx::fence_barrier_init();
        ptx::tma_prefetch(&map0);
        if (Reps == 2) ptx::tma_prefetch(&map1);
    }
    __syncthreads();
    // With few features the two warpgroups take turns, one multiplies while the other applies its kernel functions. With
    // more steps than stages neither could start without the other's releases.
    const bool turns = all_steps(args.x[0]) + (Reps == 2 ? all_steps(args.x[1]) : 0) <= kStages;

    if (group == 2) {
        ptx::fewer_registers<24>();
        if (thread != 256) return;
        Ring ring;
        for (int u = args.first + static_cast<int>(blockIdx.x); u < args.last; u += static_cast<int>(gridDim.x)) {
            const Unit unit = args.units[u];
            for (int t = 0; t < unit.count; ++t) {
                const int row = (unit.row + t) * kTile, column = unit.column * kTile;
                produce(shared, args.x[0], &map0, row, column, ring);
                if (Reps == 2) produce(shared, args.x[1], &map1, row, column, ring);
            }
        }
        return;
    }

    ptx::more_registers<240>();
    const int lane = thread % 32, warp = thread / 32;
    const int own_row = warp * 16 + lane / 4, own_column = lane % 4 * 2;  // of the tile
    Ring ring;
    if (turns && group == 1) ptx::named_arrive<1>(256);  // warpgroup 0 goes first
    for (int u = args.first + static_cast<int>(blockIdx.x); u < args.last; u += static_cast<int>(gridDim.x)) {
        const Unit unit = args.units[u];
        const int column = unit.column * kTile + own_column, end = unit.row + unit.count;
        JointSums<1, 16> sums;
        sums.clear();
#pragma unroll 1
        for (int row_tile = unit.row; row_tile < end; ++row_tile) {
            const int row = row_tile * kTile + own_row;
            Tile x, y;
            if (turns) group == 0 ? ptx::named_sync<1>(256) : ptx::named_sync<2>(256);
            multiply<BFloat0>(x, shared, all_steps(args.x[0]), group, ring);
            if (Reps == 2) multiply<BFloat1>(y, shared, all_steps(args.x[1]), group, ring);
            if (turns) group == 0 ? ptx::named_arrive<2>(256) : ptx::named_arrive<1>(256);
            x.finish(args.x[0], row, column);
            if (Reps == 2) y.finish(args.x[1], row, column);
            if (needs_mask(row_tile, unit.column, args.n)) {
                x.mask(row, column, args.n);
                if (Reps == 2) y.mask(row, column, args.n);
            }
            if (Reps == 2) {
                sums.add(x, y, args, row, lane);
            } else {
                const int tile = unit.tile - args.first_tile + (row_tile - unit.row);
                x.store(args.values + static_cast<std::int64_t>(tile) * kTile * kTile, own_row, own_column);
            }
        }
        if (Reps == 2) {
            sums.flush_columns(args, column, lane);
            sums.flush_pairs(shared.sums + warp * 3, lane);
            ptx::named_sync<3>(256);
            if (thread < 3) {
                double sum = 0;
                for (int w = 0; w < kConsumerWarps; ++w) sum += shared.sums[w * 3 + thread];
                args.pairs[static_cast<std::int64_t>(u - args.first) * 3 + thread] = sum;
            }
            ptx::named_sync<3>(256);
        }
    }
    if (turns && group == 0) ptx::named_sync<1>(256);  // the last arrival has its partner
}

}  // namespace gramian::cuda::sm90

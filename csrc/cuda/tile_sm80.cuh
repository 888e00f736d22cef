#pragma once
#include "cuda/epilogue.cuh"

// Tiles on any tensor core since Ampere: cp.async into a ring of three stages, ldmatrix, mma.sync. Eight warps, each 32 rows by
// 64 columns of the tile. Panels lie swizzled: 16-byte chunk c of row r at chunk c ^ (r mod 8), free of bank conflicts.
namespace gramian::cuda::sm80 {

constexpr int kStages = 3;
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kPanelBytes = kTile * kSteps * 2;
constexpr int kStageBytes = 2 * kPanelBytes;
constexpr int kSharedBytes = 128 + kStages * kStageBytes;

using Tile = Fragment<2, 8>;

GRAMIAN_DEVICE std::uint32_t swizzled(int row, int chunk) {
    return static_cast<std::uint32_t>(row * kSteps * 2 + ((chunk ^ (row & 7)) << 4));
}

/// One thread's part in bringing a panel of kTile rows and kSteps columns, from (row, column) on.
GRAMIAN_DEVICE void copy_panel(std::uint32_t to, const TileOperand& x, int n, int row, int column, int thread) {
#pragma unroll
    for (int part = 0; part < kTile * kSteps / 8 / kThreads; ++part) {
        const int chunk = thread + part * kThreads, r = chunk / 8, c = column + chunk % 8 * 8;
        const int present = row + r < n ? 2 * (x.columns - c) : 0, bytes = present < 0 ? 0 : present > 16 ? 16 : present;
        const std::uint16_t* from = bytes ? x.panel + static_cast<std::int64_t>(row + r) * x.pitch + c : x.panel;
        ptx::copy_async(to + swizzled(r, chunk % 8), from, bytes);
    }
}

/// Walks through the steps of a unit, tile after tile, representation after representation.
template <int Reps>
struct Cursor {
    int tile = 0, rep = 0, step = 0;

    GRAMIAN_DEVICE void next(const TileArgs& args) {
        if (++step < all_steps(args.x[rep])) return;
        step = 0;
        if (++rep < Reps) return;
        rep = 0;
        ++tile;
    }
    GRAMIAN_DEVICE void copy(const TileArgs& args, const Unit& unit, std::uint32_t stage, int thread) const {
        if (tile < unit.count) {
            const TileOperand& x = args.x[rep];
            const StepColumns at = step_columns(x, step);
            copy_panel(stage, x, args.n, (unit.row + tile) * kTile, at.row, thread);
            copy_panel(stage + kPanelBytes, x, args.n, unit.column * kTile, at.column, thread);
        }
        ptx::copy_commit();  // an empty group too: groups are counted
    }
};

template <bool BFloat>
GRAMIAN_DEVICE void multiply_step(Tile& tile, std::uint32_t stage, int warp_row, int warp_column, int lane) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        std::uint32_t a[2][4], b[4][4], rows[2], columns[4];
#pragma unroll
        for (int p = 0; p < 2; ++p) rows[p] = stage + swizzled(warp_row + 16 * p + (lane & 15), 2 * k + (lane >> 4));
#pragma unroll
        for (int c = 0; c < 4; ++c)
            columns[c] =
                stage + kPanelBytes + swizzled(warp_column + 16 * c + (lane & 7) + ((lane >> 4) << 3), 2 * k + ((lane >> 3) & 1));
        ptx::load_matrices(a, rows);
        ptx::load_matrices(b, columns);
        ptx::mma<BFloat, 2, 8>(tile.v, a, b);
    }
}

/// Reps 2: the moments of two representations. Reps 1: the values of one, stored.
template <int Reps, bool BFloat0, bool BFloat1>
__global__ void __launch_bounds__(kThreads, 1) tile_sm80(const __grid_constant__ TileArgs args) {
    unsigned char* memory = ptx::dynamic_shared();
    const std::uint32_t start = ptx::shared_address(memory), base = (start + 127) & ~std::uint32_t{127};
    double* shared_sums = reinterpret_cast<double*>(memory + (base - start));  // after a unit's last tile
    const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
    const int warp_row = warp / 2 * 32, warp_column = warp % 2 * 64;
    const int own_row = warp_row + lane / 4, own_column = warp_column + lane % 4 * 2;

    for (int u = args.first + static_cast<int>(blockIdx.x); u < args.last; u += static_cast<int>(gridDim.x)) {
        const Unit unit = args.units[u];
        const int column = unit.column * kTile + own_column;
        JointSums<2, 8> sums;
        sums.clear();
        __syncthreads();  // shared_sums have been read
        Cursor<Reps> ahead;
#pragma unroll
        for (int stage = 0; stage < kStages - 1; ++stage) {
            ahead.copy(args, unit, base + stage * kStageBytes, thread);
            ahead.next(args);
        }
        int stage = 0;  // to be multiplied
#pragma unroll 1
        for (int t = 0; t < unit.count; ++t) {
            const int row_tile = unit.row + t, row = row_tile * kTile + own_row;
            Tile tile[Reps];
#pragma unroll
            for (int rep = 0; rep < Reps; ++rep) {
#pragma unroll
                for (int k = 0; k < Tile::size; ++k) tile[rep].v[k] = 0.f;
                const int steps = all_steps(args.x[rep]);
#pragma unroll 1
                for (int step = 0; step < steps; ++step) {
                    ptx::copy_wait<kStages - 2>();
                    __syncthreads();  // this stage has landed for all, and nobody reads the one before it any more
                    ahead.copy(args, unit, base + (stage + kStages - 1) % kStages * kStageBytes, thread);
                    ahead.next(args);
                    if (rep == 0) {
                        multiply_step<BFloat0>(tile[rep], base + stage * kStageBytes, warp_row, warp_column, lane);
                    } else {
                        multiply_step<BFloat1>(tile[rep], base + stage * kStageBytes, warp_row, warp_column, lane);
                    }
                    stage = (stage + 1) % kStages;
                }
            }
#pragma unroll
            for (int rep = 0; rep < Reps; ++rep) {
                tile[rep].finish(args.x[rep], row, column);
                if (needs_mask(row_tile, unit.column, args.n)) tile[rep].mask(row, column, args.n);
            }
            if constexpr (Reps == 2) {
                sums.add(tile[0], tile[1], args, row, lane);
            } else {
                tile[0].store(args.values + static_cast<std::int64_t>(unit.tile + t - args.first_tile) * kTile * kTile, own_row,
                              own_column);
            }
        }
        ptx::copy_wait<0>();
        if constexpr (Reps == 2) {
            sums.flush_columns(args, column, lane);
            __syncthreads();  // the stages are free
            sums.flush_pairs(shared_sums + warp * 3, lane);
            __syncthreads();
            if (thread < 3) {
                double sum = 0;
                for (int w = 0; w < kWarps; ++w) sum += shared_sums[w * 3 + thread];
                args.pairs[static_cast<std::int64_t>(u - args.first) * 3 + thread] = sum;
            }
        }
    }
}

}  // namespace gramian::cuda::sm80

#pragma once
#include <cstddef>
#include <cstdint>

#include "core/fixed_sum.hpp"
#include "core/pairs.hpp"
#include "core/prepared.hpp"
#include "core/sweep.hpp"
#include "core/tile_schedule.hpp"

namespace gramian {

constexpr int kCandidates = 128;  // offered at once

/// A pair of a tile that may be among the nearest of its row or of its column.
struct Candidate {
    int row, col;  // in the tile
    double bound;  // no less than its exact value
};

// What the tile kernels see: plain values only, since they are compiled once per instruction set.

/// Where a thread's sums go. `rows` is shared by all threads: add_rows locks it.
struct Sink {
    void* owner;
    void (*add_rows)(void* owner, int which, std::int64_t first, int count, const double* values);
    void (*add_vectors)(void* owner, std::int64_t first, int count, const double* values);  // (count, columns)
    bool (*stop)(void* owner);
    PairSum* pairs;
    PairSum* squares;
    PairSum* difference;
    void* neighbors;
    void (*thresholds)(void* neighbors, std::int64_t first, int count, void* out);  // of T
    void (*offer)(void* neighbors, std::int64_t row0, std::int64_t col0, const Candidate* candidates, int count);
};

template <class T>
struct Plan {
    const Operand<T>* x;
    int m;
    std::int64_t n;
    Statistic statistic;
    Pairs pairs;
    T weight[2];
    const double* vectors;  // (n, columns)
    int columns;            // a multiple of 8
    std::int64_t block;     // tiles along the edge of a block: what is packed at once. 0: a tile at a time, by chunks
    std::int64_t chunk;     // features packed at once when block is 0
    int strips;             // of a tile's columns at once when block is 0: fewer take less memory and pack the rows more often
};

/// One thread's memory and what it holds.
struct Workspace {
    char* memory;             // 64-byte aligned
    std::int64_t packed_row;  // row block that lies packed in it, or -1
};

template <class T>
struct TileKernels {
    std::size_t (*workspace_bytes)(const Plan<T>&);
    void (*block)(const Plan<T>&, const TileSchedule&, Workspace&, const Sink&, std::int64_t block_row, std::int64_t block_col);
    /// sums[i] = Σ out·φ(x_i, x_l) over the landmarks l ≠ i, for one tile of rows
    void (*landmark_sums)(const Plan<T>&, Workspace&, int q, std::int64_t tile, double* sums);
    int strips;  // of a tile
};

template <class T>
const TileKernels<T>& tile_kernels();  // of the running CPU's instruction set

}  // namespace gramian

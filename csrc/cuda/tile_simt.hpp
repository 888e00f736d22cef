#pragma once
#include <cstdint>

#include "core/prepared.hpp"
#include "cuda/runtime.hpp"
#include "cuda/tile.hpp"

// Tiles without tensor cores: float32 and float64 on any GPU, and the L1 distance, which is no inner product. Rows are read and
// prepared where they lie. Distances come from differences, so that near rows keep their digits.
namespace gramian::cuda {

template <class T>
struct SimtArgs {
    Operand<T> x;  // its pointers lie on the device
    int n;
    const Unit* units;
    int first, last;
    int first_tile;
    T* values;  // (tiles, kTile, kTile)
};

template <class T>
void launch_tiles_simt(const SimtArgs<T>& args, int blocks, cudaStream_t stream);

/// Stored products of a unit's tiles, from tensor cores, become shifted values.
void launch_apply(const SimtArgs<float>& args, int blocks, cudaStream_t stream);

/// sums[i] ← Σ out·φ(x_i, x_l) over the landmarks l ≠ i, for every row; (padded n).
template <class T>
void launch_landmark_sums(const Operand<T>& x, double* sums, cudaStream_t stream);

}  // namespace gramian::cuda

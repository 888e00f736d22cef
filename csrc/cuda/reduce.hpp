#pragma once
#include <cstdint>

#include "core/fixed_sum.hpp"
#include "core/pairs.hpp"
#include "cuda/runtime.hpp"
#include "cuda/schedule.hpp"

// Sums over stored tiles, for everything that is not the moments of two: any number of representations, products, stars,
// matrix products. Each tile gives one term to each sum, so no grouping of tiles changes a bit.
namespace gramian::cuda {

/// Values of m representations over the tiles of some units: (m, tiles, kTile, kTile).
template <class T>
struct StoredTiles {
    const T* values;
    int m;
    int tiles;
    const Unit* units;
    int first, last;
    int first_tile;
    double row_scale;        // of fixed-point sums, which have two words each:
    std::int64_t low_words;  // so far after the first, in units of 2^-kLowBits of its lowest bit
};

constexpr int kLowBits = 44;  // as many as leave room for the terms of 2^18 tiles

/// sums (m, padded n) += Σ_j v_p, over both sides of the diagonal.
template <class T>
void launch_row_sums(const StoredTiles<T>& x, std::int64_t padded_n, unsigned long long* sums, cudaStream_t stream);

/// sums (pairs, padded n) += Σ_j v_p·v_q for p ≤ q, over both sides of the diagonal.
template <class T>
void launch_row_products(const StoredTiles<T>& x, std::int64_t padded_n, unsigned long long* sums, cudaStream_t stream);

/// terms (tiles, pairs) ← Σ v_p·v_q of each tile, each pair of rows once.
template <class T>
void launch_pair_sums(const StoredTiles<T>& x, const Pairs& pairs, double* terms, cudaStream_t stream);

/// terms (tiles, pairs + 1) ← Σ (v_p·v_q)² for p ≤ q, and Σ (w_0·v_0 − w_1·v_1)² of the first two.
template <class T>
void launch_squares(const StoredTiles<T>& x, T weight0, T weight1, double* terms, cudaStream_t stream);

/// sums (padded n, columns) += Σ_j v_ij·z_j for vectors (padded n, columns), over both sides of the diagonal.
template <class T>
void launch_multiply(const StoredTiles<T>& x, const double* vectors, int columns, unsigned long long* sums, cudaStream_t stream);

/// Column c of terms (count, columns) is added, twice, to totals (kTotals, columns): both orders of a pair of rows.
constexpr int kTotals = 64;
void launch_total(const double* terms, std::int64_t count, int columns, PairSum* totals, cudaStream_t stream);

}  // namespace gramian::cuda

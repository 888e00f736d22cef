#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "core/fixed_sum.hpp"
#include "core/kernel_function.hpp"
#include "core/pairs.hpp"
#include "core/rows.hpp"
#include "core/tile_schedule.hpp"

namespace gramian {

// What a sweep over the pairs i < j keeps of the shifted values v_p = 2^-e_p·(K_p − s_p,i − s_p,j). Sums are over both
// orders (i, j) and (j, i).
enum class Statistic : int {
    moments,   // pair sums Σ v_p·v_q for p ≤ q, or of a split (core/pairs.hpp); row sums Σ_j v_p
    star,      // pair sums of representation 0 with each of the others: (0, 1), (0, 2), ...
    products,  // row sums Σ_j v_p·v_q and Σ (v_p·v_q)² for p ≤ q; Σ (w_0·v_0 − w_1·v_1)² of the first two
    matmul,    // Σ_j v_p,ij·z_j for a block of vectors z; one representation
    topk,      // for every row its k nearest: the largest exact values (core/exact_value.hpp), ties to the lower index; one
               // representation
};

struct Representation {
    Rows rows;
    KernelFunction kernel;
    int base = -1;                  // 0 or 1 as an earlier sweep chose, or -1: chosen here
    const double* shift = nullptr;  // (n,) s·2^-e as an earlier sweep returned it, or null: taken from the landmarks
    const double* rest = nullptr;   // (n,) or null: added to it once the offset is gone, which may be far larger
};

/// Whose products a sweep over m representations adds up.
inline Pairs pairs_of(Statistic statistic, int m, int split) {
    switch (statistic) {
        case Statistic::moments: return {m, split, true};
        case Statistic::star: return {m, 1, false};
        case Statistic::products: return {m, 0, true};
        default: return {};
    }
}

// How inner products of float32 and 16-bit data are made on a GPU's tensor cores. The CPU knows only `highest`.
enum class Precision : int {
    highest,  // as accurate as float32: operands split into two 16-bit parts
    high,     // 11 bits of mantissa: scaled float16
    medium,   // 8 bits: bfloat16
};

struct SweepArgs {
    std::vector<Representation> x;
    Statistic statistic = Statistic::moments;
    Precision precision = Precision::highest;
    Shard shard;
    int split = 0;                    // moments: only of the first so many with each of the others, and of everyone with itself
    double weight[2] = {1, 1};        // products: w of the weighted difference
    const double* vectors = nullptr;  // matmul: (n, columns), row-major
    std::int64_t columns = 0;
    std::int64_t neighbors = 0;                                           // topk: k
    bool wide = false;                                                    // float64 tiles, whatever the rows are stored in
    std::int64_t memory = 0;                                              // bytes of scratch; 0: the default
    int threads = 0;                                                      // 0: the pool's
    std::function<void(std::int64_t done, std::int64_t total)> progress;  // on the calling thread; may throw
};

struct SweepResult {
    Range tiles{};  // the shard's part of the schedule
    std::int64_t all_tiles = 0;
    std::vector<int> exponent;                  // (m,) e
    std::vector<int> base;                      // (m,) 0 or 1
    std::vector<double> rounding;               // (m,) scale at which v is rounded, as a multiple of eps of the tile's type
    bool single = false;                        // tiles in float32 (else float64)
    double device_seconds = 0;                  // a GPU's time for tiles and reductions; 0 on the CPU
    double epsilon = 0;                         // rounding of a tile value, relative to `rounding`
    std::vector<std::vector<double>> shift;     // (m)(n,) s·2^-e; topk: none
    std::vector<std::vector<double>> offset;    // (m)(n,) the part of it that is known exactly
    std::vector<std::vector<double>> rest;      // (m)(n,) the other part, which tiles take off
    std::vector<std::vector<double>> diagonal;  // (m)(n,) v_ii; topk: none
    std::vector<PairSum> pairs;                 // one per pair, see Statistic
    std::vector<PairSum> squares;               // products: Σ (v_p·v_q)²
    PairSum difference{};                       // products
    std::vector<RowSum> rows;                   // moments: (m, n); products: (pairs, n); matmul: (n, columns)
    std::vector<std::int64_t> index;            // topk: (n, k) nearest first; -1 where the shard has fewer
    std::vector<double> similarity;             // topk: (n, k) exact values in units of 2^e; NaN where there is no neighbour
};

SweepResult sweep_cpu(const SweepArgs& args);

/// ‖x_i − x_j‖ for listed pairs, in float64.
std::vector<double> pair_distances(const Rows& x, const std::int64_t* i, const std::int64_t* j, std::int64_t count, bool l1);

/// The first row that holds NaN or Inf, or -1.
std::int64_t first_nonfinite(const MatrixView& x);

}  // namespace gramian

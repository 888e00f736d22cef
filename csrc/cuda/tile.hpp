#pragma once
#include <cstdint>

#include "core/kernel_function.hpp"
#include "cuda/schedule.hpp"

// What the tile kernels are told. Plain values and device pointers.
namespace gramian::cuda {

// How a tile's value v = out·φ − a_i − a_j follows from the accumulated inner product.
enum class Form : int {
    affine,       // scale·g − (s_i + s_j)
    exponential,  // out·2^(scale·g + t_i + t_j) − (s_i + s_j)
    general,      // out·φ(distance or product) − (s_i + s_j), φ by its kind, for short ones
    product,      // scale·g, stored; launch_apply does the rest: long formulas have no room among the accumulators
};

/// Two per-row terms: t of the formula (or the row's norm or weight, for the general form), and s of the shift.
struct RowTerms {
    float term, shift;
};

/// One representation as 16-bit panels: x ≈ high, or high + low with the low part `low` columns to the right.
struct TileOperand {
    const std::uint16_t* panel;
    std::int64_t pitch;    // elements from row to row
    int columns;           // of the panel that may be read; the rest counts as zero
    int steps;             // of 64 features
    int low;               // 0: there is no low part
    const RowTerms* rows;  // (padded n)
    Form form;
    KernelKind kind;
    float scale, out;
    float constant[kConstants];
};

struct TileArgs {
    TileOperand x[2];
    int n;
    const Unit* units;
    int first, last;              // units of this launch
    int first_tile;               // tiles of all units before `first`
    double* pairs;                // moments: (last − first, 3) sums of v_0², v_0·v_1, v_1², each pair of rows once
    unsigned long long* rows[2];  // moments: (padded n) fixed-point sums
    double row_scale;             // of them
    float* values;                // store: (tiles, kTile, kTile) of one representation
};

constexpr int kSteps = 64;  // features of a step: 128 bytes, one swizzled row

/// Steps through the features: with a low part there are three products, the small ones first.
GRAMIAN_HD int all_steps(const TileOperand& x) { return x.low ? 3 * x.steps : x.steps; }

/// Columns of the panel that step `step` multiplies: rows' operand and columns' operand.
struct StepColumns {
    int row, column;
};
GRAMIAN_HD StepColumns step_columns(const TileOperand& x, int step) {
    const int part = step / x.steps, at = (step - part * x.steps) * kSteps;
    if (!x.low || part == 2) return {at, at};
    return part == 0 ? StepColumns{at, x.low + at} : StepColumns{x.low + at, at};
}

}  // namespace gramian::cuda

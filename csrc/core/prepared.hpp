#pragma once
#include <cstdint>
#include <vector>

#include "core/kernel_function.hpp"
#include "core/rows.hpp"
#include "core/sweep.hpp"

namespace gramian {

/// One representation, prepared. T is the type that tiles are computed in.
template <class T>
struct Operand {
    Rows rows;
    KernelKind kind;
    T constant[kConstants];
    T out;               // power of two: v = out·φ − a_i − a_j
    T scale;             // power of two: x' = scale·x − reference, so that ‖x'‖ ≤ 1
    const T* factor;     // (n,) 1/‖x‖ in place of scale, or null
    const T* reference;  // (d,) or null
    const T* aux;        // (n,) ‖x'‖² for distances, row weights for angles, or null
    const T* shift;      // (n,) a
    bool direct;         // few features: distances by differences at once
};

/// What a representation needs before its tiles can be computed; O(n + d) memory.
template <class T>
struct Prepared {
    Operand<T> operand;  // points into the vectors below
    std::vector<T> factor, reference, aux, shift;
    std::vector<double> offset;    // (n,) b·2^-e
    std::vector<double> diagonal;  // (n,) φ_ii·2^-e
    std::vector<double> size;      // (n,) ‖x'‖, in the norm of the kernel's geometry; of angles ‖x‖
    double first_scale;            // power of two that brings the data near 1, whatever the kernel makes of it
    int exponent;
    double rounding;
};

/// Sizes of one row, in float64, in units in which squares stay in range: of first_scale·x.
struct RowSizes {
    double raw = 0;              // ‖x‖
    double prepared = 0;         // ‖x'‖, normalised and translated as the kernel asks
    double l1 = 0;               // ‖x'‖₁, for kernels of it
    double along_reference = 0;  // x·μ
};

/// The largest power of two that is at most 1/x, between two bounds; 1 for x = 0.
double power_of_two_below_inverse(double x, double least, double most);

/// Thrown where float32 cannot hold what brings a row to length 1: the sweep is made in float64 then.
struct NeedsFloat64 {};

/// What follows from the rows' sizes: units, constants, offsets, diagonals. An empty reference: rows are not translated.
template <class T>
void finish_preparation(const Representation& x, int base, double first_scale, const std::vector<double>& reference,
                        const std::vector<RowSizes>& sizes, Prepared<T>& out);

/// Whether the kernel falls from 1 to 0, so that it is held as k − 1 or as k.
bool has_base(const KernelFunction& kernel);

// The sums of a row over the landmarks other than itself, Σ out·φ(x_i, x_l), lead to the shift.

/// Mean of out·φ over pairs of different landmarks.
double mean_of_landmarks(const std::vector<double>& sums, std::int64_t n);

/// From each row's sum over the landmarks to its part a_i of k(x_i, x_j) ≈ a_i + a_j. Among themselves the landmarks are
/// U-centred, which leaves diagonals out of it: one row far from the others must not move them.
template <class T>
void set_shift(const std::vector<double>& sums, std::int64_t n, std::vector<T>& shift);

/// The scale at which values are rounded that are all small (base 0): their own.
template <class T>
double narrow_rounding(const std::vector<double>& sums, std::int64_t n);

}  // namespace gramian

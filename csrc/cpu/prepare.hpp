#pragma once
#include <cstdint>
#include <vector>

#include "core/sweep.hpp"
#include "cpu/kernels.hpp"

namespace gramian {

/// What a representation needs before its tiles can be computed; O(n + d) memory.
template <class T>
struct Prepared {
    Operand<T> operand;  // points into the vectors below
    std::vector<T> factor, reference, aux, shift;
    std::vector<double> offset;    // (n,) b·2^-e
    std::vector<double> diagonal;  // (n,) φ_ii·2^-e
    int exponent;
    double rounding;
};

/// All but the shift, in one or two passes over the rows.
template <class T>
void prepare(const Representation& x, int base, int threads, Prepared<T>& out);

}  // namespace gramian

#pragma once
#include <vector>

#include "core/exact_value.hpp"
#include "core/prepared.hpp"

// From a prepared representation to the exact values of its pairs, and to tiles whose values are never below them.
namespace gramian {

/// What exact values read of a row beside its features.
enum class RowSize : int { none, norm, inverse_norm, square };
RowSize row_size_of(Ranking ranking);

/// What the exact values of `given` are made from; `tiles` is its ranking_kernel, prepared. `size` is left to whoever can read
/// the rows.
template <class T>
ExactRows exact_rows(const Representation& given, const Prepared<T>& tiles);

/// Row i's entries of `size`.
template <class E>
GRAMIAN_HD void write_row_size(const ExactRows& x, RowSize what, std::int64_t i, double* size) {
    if (what == RowSize::square) {
        const TwoParts square = exact_square<E>(x, i);
        size[2 * i] = square.high, size[2 * i + 1] = square.low;
    } else {
        size[i] = what == RowSize::inverse_norm ? exact_inverse_norm<E>(x, i) : exact_norm<E>(x, i);
    }
}

/// How far the tiles' inner products may be from those of the rows: by products·‖x'_i‖‖x'_j‖ + entries·√d·(‖x'_i‖ + ‖x'_j‖).
struct TileRounding {
    double products;  // with the rounding of the features themselves
    double entries;   // of features too small for a 16-bit type
};

/// (n,) −(b_i + e_i): the shift that makes tiles' values upper bounds of exact ones.
template <class T>
std::vector<T> bounding_shift(const ExactRows& exact, const Prepared<T>& tiles, const TileRounding& rounding);

}  // namespace gramian

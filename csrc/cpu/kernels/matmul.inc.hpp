// A strip times vectors.
#pragma once
#include "cpu/kernels/workspace.inc.hpp"

namespace gramian {
namespace {

/// out[r][c] += Σ_k a[r·row_step + k·term_step]·z[k][c] in float64 for R rows and C vectors of columns, in registers.
template <class T, int R, int C>
GRAMIAN_LOCAL void multiply_vector_block(const T* a, int row_step, int term_step, int terms, const double* z, double* out,
                                         int columns) {
    using V = Vector<double>;
    constexpr int width = Simd<double>::width;
    typename V::vec sum[R][C];
    GRAMIAN_UNROLL(8)
    for (int r = 0; r < R; ++r) GRAMIAN_UNROLL(2)
    for (int c = 0; c < C; ++c) sum[r][c] = V::load(out + r * columns + c * width);
    for (int k = 0; k < terms; ++k, a += term_step, z += columns) {
        typename V::vec y[C];
        GRAMIAN_UNROLL(2)
        for (int c = 0; c < C; ++c) y[c] = V::load(z + c * width);
        GRAMIAN_UNROLL(8)
        for (int r = 0; r < R; ++r) {
            const auto x = V::all(static_cast<double>(a[r * row_step]));
            GRAMIAN_UNROLL(2)
            for (int c = 0; c < C; ++c) sum[r][c] += x * y[c];
        }
    }
    GRAMIAN_UNROLL(8)
    for (int r = 0; r < R; ++r) GRAMIAN_UNROLL(2)
    for (int c = 0; c < C; ++c) V::store(out + r * columns + c * width, sum[r][c]);
}

template <class T, int R>
GRAMIAN_LOCAL void multiply_vector_rows(const T* a, int row_step, int term_step, int terms, const double* z, double* out,
                                        int columns) {
    constexpr int width = Simd<double>::width;
    int c = 0;
    for (; c + 2 * width <= columns; c += 2 * width)
        multiply_vector_block<T, R, 2>(a, row_step, term_step, terms, z + c, out + c, columns);
    if (c < columns) multiply_vector_block<T, R, 1>(a, row_step, term_step, terms, z + c, out + c, columns);
}

/// out (rows, columns) += a (rows, terms) · z (terms, columns).
template <class T>
__attribute__((noinline)) void multiply_vectors(const T* a, int rows, int row_step, int terms, int term_step, const double* z,
                                                double* out, int columns) {
    constexpr int block = kBlockRows < 8 ? 4 : 8;
    int r = 0;
    for (; r + block <= rows; r += block)
        multiply_vector_rows<T, block>(a + r * row_step, row_step, term_step, terms, z, out + r * columns, columns);
    for (; r < rows; ++r) multiply_vector_rows<T, 1>(a + r * row_step, row_step, term_step, terms, z, out + r * columns, columns);
}

/// A strip of values times the columns' vectors, and its transpose times the rows'.
template <class T>
void matmul_strip(const Plan<T>& plan, const Layout<T>& l, const T* values, std::int64_t row0, std::int64_t col0,
                  const Extent2& e, int strip) {
    using S = Shape<T>;
    const int columns = plan.columns, first = strip * S::cols, cols = e.col_end - first < S::cols ? e.col_end - first : S::cols;
    const double *of_rows = plan.vectors + row0 * columns, *of_cols = plan.vectors + (col0 + first) * columns;
    multiply_vectors(values, e.row_end, S::cols, cols, 1, of_cols, l.out_rows, columns);
    multiply_vectors(values, cols, 1, e.row_end, S::cols, of_rows, l.out_cols + first * columns, columns);
}

}  // namespace
}  // namespace gramian

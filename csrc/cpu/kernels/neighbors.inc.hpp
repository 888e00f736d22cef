// What of a strip may be among the nearest.
#pragma once
#include "cpu/kernels/workspace.inc.hpp"

namespace gramian {
namespace {

template <class T>
void read_thresholds(const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0, const Extent2& e) {
    sink.thresholds(sink.neighbors, row0, e.row_end, l.row_threshold);
    sink.thresholds(sink.neighbors, col0, e.col_end, l.col_threshold);
}

template <class T>
void offer_candidates(const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0) {
    sink.offer(sink.neighbors, row0, col0, l.candidates, *l.held);
    *l.held = 0;
}

/// Whether a register block has a value that is not below the threshold of its row or of its column.
template <class T>
bool reaches_threshold(const T* values, const T* row_threshold, const T* col_threshold) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    vec most = V::all(T(-1)), tc[S::vectors];
    for (int v = 0; v < S::vectors; ++v) tc[v] = V::load(col_threshold + v * S::width);
    GRAMIAN_UNROLL(16)
    for (int i = 0; i < S::rows; ++i) {
        const vec tr = V::all(row_threshold[i]);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v)
            most = V::max(most, V::load(values + i * S::cols + v * S::width) - (tr < tc[v] ? tr : tc[v]));
    }
    return V::bits(most >= vec{}) != 0;
}

/// Offers what may be among the nearest of its row or column: few pairs, once the thresholds have grown.
template <class T>
void find_neighbors(const Layout<T>& l, const Sink& sink, const T* values, std::int64_t row0, std::int64_t col0, const Extent2& e,
                    int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    const int first_col = strip * S::cols;
    const T* col_threshold = l.col_threshold + first_col;
    for (int block = 0; block < e.row_end; block += S::rows) {
        const T* of_block = values + block * S::cols;
        if (below_diagonal<T>(e, block, first_col) || !reaches_threshold(of_block, l.row_threshold + block, col_threshold))
            continue;
        for (int row = block; row < block + S::rows && row < e.row_end; ++row)
            for (int v = 0; v < S::vectors; ++v) {
                const T* p = of_block + (row - block) * S::cols + v * S::width;
                const auto x = V::load(p);
                unsigned found = V::bits((x >= V::all(l.row_threshold[row])) | (x >= V::load(col_threshold + v * S::width)));
                for (; found; found &= found - 1) {
                    const int lane = __builtin_ctz(found), col = first_col + v * S::width + lane;
                    if (col >= e.col_end || (e.diagonal && col <= row)) continue;
                    l.candidates[(*l.held)++] = {row, col, static_cast<double>(p[lane])};
                    if (*l.held < kCandidates) continue;
                    offer_candidates(l, sink, row0, col0);
                    read_thresholds(l, sink, row0, col0, e);
                }
            }
    }
}

}  // namespace
}  // namespace gramian

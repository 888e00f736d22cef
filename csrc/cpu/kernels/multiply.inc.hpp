// The inner loop: one register block of inner products or distances, and what its shape is.
#pragma once
#include "cpu/simd.inc.hpp"

namespace gramian {
namespace {

enum class Op { product, squared_difference, absolute_difference, squared_sum };

template <class T>
struct Shape {
    using V = Vector<T>;
    static constexpr int width = Simd<T>::width;
    static constexpr int rows = kBlockRows;  // register block
    static constexpr int vectors = kBlockVectors;
    static constexpr int cols = width * vectors;
    static constexpr int block = rows * cols;            // elements
    static constexpr int row_blocks = kTileEdge / rows;  // in a tile
    static constexpr int strips = kTileEdge / cols;      // a strip: all row blocks over `cols` columns
    static constexpr int strip = kTileEdge * cols;       // elements
    static_assert(kTileEdge % rows == 0 && kTileEdge % cols == 0);
};

constexpr std::int64_t kPartial = 256;  // features summed before the partial sum is put aside

/// g[i][j] (+)= Σ_k op(a_i, b_j); a, b: panels [k][rows], [k][cols].
template <class T, Op op>
__attribute__((noinline)) void multiply(const T* a, const T* b, std::int64_t features, bool accumulate, T* g) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    for (std::int64_t begin = 0; begin < features; begin += kPartial) {
        const std::int64_t count = features - begin < kPartial ? features - begin : kPartial;
        vec sum[S::rows][S::vectors];
        for (int i = 0; i < S::rows; ++i)
            for (int v = 0; v < S::vectors; ++v) sum[i][v] = vec{};
        for (std::int64_t k = 0; k < count; ++k, a += S::rows, b += S::cols) {
            vec y[S::vectors];
            GRAMIAN_UNROLL(4)
            for (int v = 0; v < S::vectors; ++v) y[v] = V::load(b + v * S::width);
            GRAMIAN_UNROLL(16)
            for (int i = 0; i < S::rows; ++i) {
                const vec x = V::all(a[i]);
                GRAMIAN_UNROLL(4)
                for (int v = 0; v < S::vectors; ++v) {
                    if constexpr (op == Op::product) {
                        sum[i][v] += x * y[v];
                    } else if constexpr (op == Op::absolute_difference) {
                        sum[i][v] += V::abs(x - y[v]);
                    } else {
                        const vec t = op == Op::squared_sum ? x + y[v] : x - y[v];
                        sum[i][v] += t * t;
                    }
                }
            }
        }
        if (begin == 0 && !accumulate) {
            GRAMIAN_UNROLL(16)
            for (int i = 0; i < S::rows; ++i) GRAMIAN_UNROLL(4)
            for (int v = 0; v < S::vectors; ++v) V::store(g + i * S::cols + v * S::width, sum[i][v]);
        } else {
            GRAMIAN_UNROLL(16)
            for (int i = 0; i < S::rows; ++i) GRAMIAN_UNROLL(4)
            for (int v = 0; v < S::vectors; ++v) {
                T* p = g + i * S::cols + v * S::width;
                V::store(p, V::load(p) + sum[i][v]);
            }
        }
    }
}

}  // namespace
}  // namespace gramian

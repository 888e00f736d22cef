// From inner products and distances to shifted kernel values.
#pragma once
#include "cpu/kernels.hpp"
#include "cpu/kernels/multiply.inc.hpp"

namespace gramian {
namespace {

constexpr double kCancellation = 1.0 / 32;  // ‖x−y‖² below this part of ‖x‖²+‖y‖² is taken from differences

/// aux and shift of a tile's rows or columns; padding is harmless (aux 0).
template <class T>
struct Side {
    T aux[kTileEdge], shift[kTileEdge];
};

template <class T>
void fill_side(const Operand<T>& x, const std::int64_t* map, std::int64_t first, std::int64_t last, Side<T>& side) {
    for (int i = 0; i < kTileEdge; ++i) {
        const std::int64_t position = first + i;
        const std::int64_t row = position < last ? (map ? map[position] : position) : -1;
        side.aux[i] = row >= 0 && x.aux ? x.aux[row] : T(0);
        side.shift[i] = row >= 0 && x.shift && !map ? x.shift[row] : T(0);
    }
}

/// v = out·φ(g) − a_i − a_j over one register block, in place. Without `Direct`, g holds x·y; the answer says whether
/// a distance in it cancelled too much to be trusted. With it, g holds the distances themselves.
template <class T, class K, bool Direct>
bool finish_block(const Operand<T>& x, const T* aux_i, const T* shift_i, const T* aux_j, const T* shift_j, T* g) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    using ivec = typename V::ivec;
    T c[kConstants];
    for (int k = 0; k < kConstants; ++k) c[k] = x.constant[k];
    const T out = x.out;
    ivec cancelled = {};
    vec wj[S::vectors], aj[S::vectors];
    GRAMIAN_UNROLL(4)
    for (int v = 0; v < S::vectors; ++v) {
        wj[v] = V::load(aux_j + v * S::width);
        aj[v] = V::load(shift_j + v * S::width);
    }
    for (int i = 0; i < S::rows; ++i) {
        const vec wi = V::all(aux_i[i]), ai = V::all(shift_i[i]);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v) {
            T* p = g + i * S::cols + v * S::width;
            vec t = V::load(p);
            if constexpr (!Direct && K::geometry == Geometry::squared_distance) {
                const vec norms = wi + wj[v];
                t = norms - (t + t);
                cancelled |= t < norms * T(kCancellation);
                t = V::max(t, vec{});
            }
            if constexpr (!Direct && K::geometry == Geometry::angle) {
                const vec chord = T(2) - V::abs(t + t);
                cancelled |= chord < V::all(T(2 * kCancellation));
                t = V::negate_where(t < vec{}, V::max(chord, vec{}));
            }
            const vec phi = K::template phi<V, vec, T>(c, t, wi, wj[v]);
            V::store(p, (phi * out - ai) - aj[v]);
        }
    }
    if constexpr (Direct || (K::geometry != Geometry::squared_distance && K::geometry != Geometry::angle)) return false;
    bool any = false;
    for (int l = 0; l < S::width; ++l) any |= cancelled[l] != 0;
    return any;
}

/// One representation's part in one tile: panels and what the epilogue needs of rows and columns.
template <class T>
struct TileOperand {
    const Operand<T>* x;
    const Side<T>* row;
    const Side<T>* col;
};

template <class T, class K>
struct Epilogue {
    using S = Shape<T>;

    static bool from_products(const TileOperand<T>& t, int row, int col, T* g) {
        return finish_block<T, K, false>(*t.x, t.row->aux + row, t.row->shift + row, t.col->aux + col, t.col->shift + col, g);
    }
    static void from_distances(const TileOperand<T>& t, int row, int col, T* g) {
        finish_block<T, K, true>(*t.x, t.row->aux + row, t.row->shift + row, t.col->aux + col, t.col->shift + col, g);
    }
    /// g (+)= the distances themselves; an angle needs both chords: the far one lies one block behind the near one.
    static void differences(const T* a, const T* b, std::int64_t features, bool accumulate, T* g, T* far) {
        if constexpr (K::geometry == Geometry::l1_distance) {
            multiply<T, Op::absolute_difference>(a, b, features, accumulate, g);
        } else {
            multiply<T, Op::squared_difference>(a, b, features, accumulate, g);
            if constexpr (K::geometry == Geometry::angle) multiply<T, Op::squared_sum>(a, b, features, accumulate, far);
        }
    }
    static void nearer_chord(T* g, const T* far) {
        if constexpr (K::geometry == Geometry::angle)
            for (int e = 0; e < S::block; ++e) g[e] = g[e] <= far[e] ? g[e] : -far[e];
    }
    static constexpr bool has_distance = K::geometry != Geometry::dot;
    static constexpr bool only_distance = K::geometry == Geometry::l1_distance;
};

/// Which part of a tile counts: rows below row_end, columns below col_end, and i < j if on the diagonal.
struct Extent2 {
    int row_end, col_end;
    bool diagonal;
};

template <class T>
void mask_block(const Extent2& e, int row, int col, T* g) {
    using S = Shape<T>;
    for (int i = 0; i < S::rows; ++i)
        for (int j = 0; j < S::cols; ++j)
            if (row + i >= e.row_end || col + j >= e.col_end || (e.diagonal && row + i >= col + j)) g[i * S::cols + j] = T(0);
}

template <class T>
bool below_diagonal(const Extent2& e, int row, int col) {
    return e.diagonal && row >= col + Shape<T>::cols;
}

template <class T>
void mask_if_needed(const Extent2& e, int row, int col, T* g) {
    using S = Shape<T>;
    if (row + S::rows > e.row_end || col + S::cols > e.col_end || (e.diagonal && row + S::rows > col)) mask_block(e, row, col, g);
}

}  // namespace
}  // namespace gramian

// A strip of shifted kernel values of one representation: from panels that hold all features, or, of a tile too wide to be
// packed at once, by chunks of them.
#pragma once
#include "cpu/kernels/pack.inc.hpp"
#include "cpu/kernels/workspace.inc.hpp"

namespace gramian {
namespace {

/// A strip of shifted kernel values of one representation from panels that hold all features.
template <class T, class K>
void strip_from_panels(const TileOperand<T>& t, const Extent2& e, const T* a, const T* b, int strip, T* values) {
    using S = Shape<T>;
    using E = Epilogue<T, K>;
    const std::int64_t d = t.x->rows.d;
    const bool direct = E::only_distance || (E::has_distance && t.x->direct);
    alignas(64) T far[S::block];
    const int col = strip * S::cols;
    for (int row = 0; row < e.row_end; row += S::rows, a += d * S::rows, values += S::block) {
        if (below_diagonal<T>(e, row, col)) {
            for (int k = 0; k < S::block; ++k) values[k] = T(0);
            continue;
        }
        bool differences = direct;
        if (!direct) {
            multiply<T, Op::product>(a, b, d, false, values);
            differences = E::from_products(t, row, col, values);
        }
        if (E::has_distance && differences) {
            E::differences(a, b, d, false, values, far);
            E::nearer_chord(values, far);
            E::from_distances(t, row, col, values);
        }
        mask_if_needed(e, row, col, values);
    }
}

template <class T, class K>
void tile_by_chunks(const TileOperand<T>& t, const Extent2& e, const std::int64_t* col_map, std::int64_t row0,
                    std::int64_t row_last, std::int64_t col0, std::int64_t col_last, const Plan<T>& plan, const Layout<T>& l,
                    int q, int strip0, int strips) {
    using S = Shape<T>;
    using E = Epilogue<T, K>;
    const std::int64_t d = t.x->rows.d, chunk = plan.chunk;
    const int first = strip0 * S::cols;  // column
    const auto values = [&](int strip, int row) {
        return l.values + (static_cast<std::int64_t>(strip) * plan.m + q) * S::strip + row * S::cols;
    };
    const auto far = [&](int strip, int row) { return l.far + static_cast<std::int64_t>(strip) * S::strip + row * S::cols; };
    const auto each = [&](auto&& f) {
        for (int s = 0; s < strips; ++s)
            for (int row = 0; row < e.row_end; row += S::rows)
                if (!below_diagonal<T>(e, row, first + s * S::cols)) f(s, row, l.flagged[s * S::row_blocks + row / S::rows]);
    };
    const auto over_features = [&](auto&& f) {
        for (std::int64_t k = 0; k < d; k += chunk) {
            const std::int64_t end = k + chunk < d ? k + chunk : d;
            pack<T, S::rows>(*t.x, nullptr, row0, row_last, kTileEdge, k, end, l.panel_a);
            pack<T, S::cols>(*t.x, col_map, col0 + first, col_last, strips * S::cols, k, end, l.panel_b);
            f(k > 0, end - k);
        }
    };
    const bool direct = E::only_distance || (E::has_distance && t.x->direct);
    for (int f = 0; f < S::strips * S::row_blocks; ++f) l.flagged[f] = direct;
    bool any = direct;
    if (!direct) {
        over_features([&](bool more, std::int64_t count) {
            each([&](int s, int row, unsigned char&) {
                multiply<T, Op::product>(l.panel_a + row * count, l.panel_b + s * S::cols * count, count, more, values(s, row));
            });
        });
        each([&](int s, int row, unsigned char& flag) {
            flag = E::from_products(t, row, first + s * S::cols, values(s, row));
            any |= flag != 0;
        });
    }
    if (E::has_distance && any) {
        over_features([&](bool more, std::int64_t count) {
            each([&](int s, int row, unsigned char& flag) {
                if (flag)
                    E::differences(l.panel_a + row * count, l.panel_b + s * S::cols * count, count, more, values(s, row),
                                   far(s, row));
            });
        });
        each([&](int s, int row, unsigned char& flag) {
            if (!flag) return;
            E::nearer_chord(values(s, row), far(s, row));
            E::from_distances(t, row, first + s * S::cols, values(s, row));
        });
    }
    for (int s = 0; s < strips; ++s)
        for (int row = 0; row < e.row_end; row += S::rows) {
            if (below_diagonal<T>(e, row, first + s * S::cols)) {
                for (int k = 0; k < S::block; ++k) values(s, row)[k] = T(0);
            } else {
                mask_if_needed(e, row, first + s * S::cols, values(s, row));
            }
        }
}

}  // namespace
}  // namespace gramian

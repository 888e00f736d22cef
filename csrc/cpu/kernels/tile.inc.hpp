// A tile, a block of tiles.
#pragma once
#include "cpu/kernels/matmul.inc.hpp"
#include "cpu/kernels/neighbors.inc.hpp"
#include "cpu/kernels/reduce.inc.hpp"
#include "cpu/kernels/strip.inc.hpp"

namespace gramian {
namespace {

template <class T>
void reduce_strip(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, const T* values, std::int64_t row0,
                  std::int64_t col0, const Extent2& e, int strip) {
    switch (plan.statistic) {
        case Statistic::moments:
            if (plan.m == 2) return moments_of_two(l, values, e.row_end, strip);
            return moments_of_many(plan, l, values, e.row_end, strip);
        case Statistic::star: return add_pairs(plan.pairs, l, values, e.row_end);
        case Statistic::products: return products_of_many(plan, l, values, e.row_end, strip);
        case Statistic::matmul: return matmul_strip(plan, l, values, row0, col0, e, strip);
        case Statistic::topk: return find_neighbors(l, sink, values, row0, col0, e, strip);
    }
}

template <class T>
void begin_tile(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0,
                const Extent2& e) {
    using S = Shape<T>;
    const std::size_t sums = static_cast<std::size_t>(sums_of(plan));
    const std::size_t pairs = static_cast<std::size_t>(plan.pairs.count());
    std::memset(l.lane_sums, 0, sums * kTileEdge * S::width * sizeof(T));
    std::memset(l.col_sums, 0, sums * kTileEdge * sizeof(T));
    std::memset(l.pair, 0, (pairs + 1) * sizeof(double));
    std::memset(l.square, 0, pairs * sizeof(double));
    std::memset(l.out_rows, 0, static_cast<std::size_t>(kTileEdge * plan.columns) * sizeof(double));
    std::memset(l.out_cols, 0, static_cast<std::size_t>(kTileEdge * plan.columns) * sizeof(double));
    if (plan.statistic == Statistic::topk) {
        *l.held = 0;
        for (int i = 0; i < kTileEdge; ++i) l.row_threshold[i] = l.col_threshold[i] = T(__builtin_inf());
        read_thresholds(l, sink, row0, col0, e);
    }
}

template <class T>
void end_tile(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0, const Extent2& e) {
    using S = Shape<T>;
    using V = Vector<T>;
    double sums[kTileEdge];
    for (int q = 0; q < sums_of(plan); ++q) {
        for (int i = 0; i < e.row_end; ++i) sums[i] = V::sum(V::load(l.lane_sums + (q * kTileEdge + i) * S::width));
        sink.add_rows(sink.owner, q, row0, e.row_end, sums);
        for (int j = 0; j < e.col_end; ++j) sums[j] = static_cast<double>(l.col_sums[q * kTileEdge + j]);
        sink.add_rows(sink.owner, q, col0, e.col_end, sums);
    }
    const int pairs = plan.pairs.count();
    for (int p = 0; p < pairs; ++p) sink.pairs[p].add(2 * l.pair[p]);
    if (plan.statistic == Statistic::products) {
        for (int p = 0; p < pairs; ++p) sink.squares[p].add(2 * l.square[p]);
        sink.difference->add(2 * l.pair[pairs]);
    }
    if (plan.statistic == Statistic::topk) offer_candidates(l, sink, row0, col0);
    if (plan.statistic == Statistic::matmul) {
        sink.add_vectors(sink.owner, row0, e.row_end, l.out_rows);
        sink.add_vectors(sink.owner, col0, e.col_end, l.out_cols);
    }
}

template <class T>
using StripFunction = void (*)(const TileOperand<T>&, const Extent2&, const T*, const T*, int, T*);
template <class T>
using ChunkFunction = void (*)(const TileOperand<T>&, const Extent2&, const std::int64_t*, std::int64_t, std::int64_t,
                               std::int64_t, std::int64_t, const Plan<T>&, const Layout<T>&, int, int, int);

template <class T>
StripFunction<T> strip_function(KernelKind kind) {
    switch (kind) {
#define GRAMIAN_CASE(K) \
    case KernelKind::K: return strip_from_panels<T, K>;
        GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_CASE)
#undef GRAMIAN_CASE
    }
    return nullptr;
}

template <class T>
ChunkFunction<T> chunk_function(KernelKind kind) {
    switch (kind) {
#define GRAMIAN_CASE(K) \
    case KernelKind::K: return tile_by_chunks<T, K>;
        GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_CASE)
#undef GRAMIAN_CASE
    }
    return nullptr;
}

GRAMIAN_LOCAL Extent2 extent(std::int64_t n, std::int64_t row, std::int64_t col) {
    const auto end = [&](std::int64_t tile) {
        const std::int64_t left = n - tile * kTileEdge;
        return static_cast<int>(left < kTileEdge ? left : kTileEdge);
    };
    return {end(row), end(col), row == col};
}

template <class T>
void tile_of_panels(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row, std::int64_t col,
                    std::int64_t row_in_block, std::int64_t col_in_block) {
    using S = Shape<T>;
    const Extent2 e = extent(plan.n, row, col);
    const std::int64_t row0 = row * kTileEdge, col0 = col * kTileEdge;
    begin_tile(plan, l, sink, row0, col0, e);
    for (int q = 0; q < plan.m; ++q) {
        fill_side(plan.x[q], nullptr, row0, plan.n, l.row[q]);
        fill_side(plan.x[q], nullptr, col0, plan.n, l.col[q]);
    }
    for (int strip = 0; strip * S::cols < e.col_end; ++strip) {
        std::int64_t features = 0;
        for (int q = 0; q < plan.m; ++q) {
            const std::int64_t d = plan.x[q].rows.d, base = features * plan.block * kTileEdge;
            const T* a = l.panel_a + base + row_in_block * kTileEdge * d;
            const T* b = l.panel_b + base + (col_in_block * kTileEdge + strip * S::cols) * d;
            strip_function<T>(plan.x[q].kind)({&plan.x[q], &l.row[q], &l.col[q]}, e, a, b, strip, l.values + q * S::strip);
            features += d;
        }
        reduce_strip(plan, l, sink, l.values, row0, col0, e, strip);
    }
    end_tile(plan, l, sink, row0, col0, e);
}

template <class T>
void tile_of_chunks(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row, std::int64_t col) {
    using S = Shape<T>;
    const Extent2 e = extent(plan.n, row, col);
    const std::int64_t row0 = row * kTileEdge, col0 = col * kTileEdge;
    begin_tile(plan, l, sink, row0, col0, e);
    const int all = (e.col_end + S::cols - 1) / S::cols;
    for (int strip0 = 0; strip0 < all; strip0 += plan.strips) {
        const int strips = all - strip0 < plan.strips ? all - strip0 : plan.strips;
        for (int q = 0; q < plan.m; ++q) {
            fill_side(plan.x[q], nullptr, row0, plan.n, l.row[0]);
            fill_side(plan.x[q], nullptr, col0, plan.n, l.col[0]);
            chunk_function<T>(plan.x[q].kind)({&plan.x[q], &l.row[0], &l.col[0]}, e, nullptr, row0, plan.n, col0, plan.n, plan, l,
                                              q, strip0, strips);
        }
        for (int strip = 0; strip < strips; ++strip)
            reduce_strip(plan, l, sink, l.values + static_cast<std::int64_t>(strip) * plan.m * S::strip, row0, col0, e,
                         strip0 + strip);
    }
    end_tile(plan, l, sink, row0, col0, e);
}

template <class T>
void pack_block(const Plan<T>& plan, std::int64_t block, T* a_or_b, bool as_rows) {
    using S = Shape<T>;
    const std::int64_t first = block * plan.block * kTileEdge;
    std::int64_t left = plan.n - first;
    const std::int64_t whole = plan.block * kTileEdge;
    left = left < whole ? (left + kTileEdge - 1) / kTileEdge * kTileEdge : whole;
    for (int q = 0; q < plan.m; ++q) {
        const std::int64_t d = plan.x[q].rows.d;
        if (as_rows) {
            pack<T, S::rows>(plan.x[q], nullptr, first, plan.n, static_cast<int>(left), 0, d, a_or_b);
        } else {
            pack<T, S::cols>(plan.x[q], nullptr, first, plan.n, static_cast<int>(left), 0, d, a_or_b);
        }
        a_or_b += whole * d;
    }
}

template <class T>
void run_block(const Plan<T>& plan, const TileSchedule& schedule, Workspace& workspace, const Sink& sink, std::int64_t block_row,
               std::int64_t block_col) {
    const Layout<T> l = layout(plan, workspace.memory);
    const std::int64_t edge = plan.block ? plan.block : 1;
    const auto end = [&](std::int64_t block) {
        return (block + 1) * edge < schedule.side() ? (block + 1) * edge : schedule.side();
    };
    bool packed = false;
    for (std::int64_t row = block_row * edge; row < end(block_row); ++row)
        for (std::int64_t col = block_col * edge > row ? block_col * edge : row; col < end(block_col); ++col) {
            if (!schedule.owns(row, col)) continue;
            if (sink.stop(sink.owner)) return;
            if (plan.block == 0) {
                tile_of_chunks(plan, l, sink, row, col);
                continue;
            }
            if (!packed) {
                if (workspace.packed_row != block_row) pack_block(plan, block_row, l.panel_a, true);
                workspace.packed_row = block_row;
                pack_block(plan, block_col, l.panel_b, false);
                packed = true;
            }
            tile_of_panels(plan, l, sink, row, col, row - block_row * edge, col - block_col * edge);
        }
}

template <class T>
void landmark_sums(const Plan<T>& plan, Workspace& workspace, int q, std::int64_t tile, double* sums) {
    using S = Shape<T>;
    using V = Vector<T>;
    const Layout<T> l = layout(plan, workspace.memory);
    std::int64_t map[kLandmarks];
    const std::int64_t count = plan.n < kLandmarks ? plan.n : kLandmarks;
    for (std::int64_t i = 0; i < count; ++i) map[i] = landmark_row(i, count, plan.n);
    const std::int64_t row0 = tile * kTileEdge;
    const Extent2 e{extent(plan.n, tile, tile).row_end, static_cast<int>(count), false};
    fill_side(plan.x[q], nullptr, row0, plan.n, l.row[0]);
    for (int i = 0; i < kTileEdge; ++i) l.row[0].shift[i] = T(0);
    fill_side(plan.x[q], map, 0, count, l.col[0]);
    chunk_function<T>(plan.x[q].kind)({&plan.x[q], &l.row[0], &l.col[0]}, e, map, row0, plan.n, 0, count, plan, l, 0, 0,
                                      (e.col_end + S::cols - 1) / S::cols);
    for (int i = 0; i < e.row_end; ++i) sums[i] = 0;
    for (int strip = 0; strip * S::cols < e.col_end; ++strip) {
        T* values = l.values + static_cast<std::int64_t>(strip) * S::strip;
        for (int j = 0; j < S::cols && strip * S::cols + j < e.col_end; ++j) {
            const std::int64_t own = map[strip * S::cols + j] - row0;
            if (0 <= own && own < e.row_end) values[own * S::cols + j] = T(0);
        }
        for (int i = 0; i < e.row_end; ++i)
            for (int v = 0; v < S::vectors; ++v) sums[i] += V::sum(V::load(values + i * S::cols + v * S::width));
    }
}

template <class T>
std::size_t workspace_bytes(const Plan<T>& plan) {
    return layout(plan, nullptr).bytes;
}

}  // namespace
}  // namespace gramian

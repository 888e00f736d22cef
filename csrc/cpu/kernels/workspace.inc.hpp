// Scratch of one thread.
#pragma once
#include "cpu/kernels/epilogue.inc.hpp"

namespace gramian {
namespace {

/// Scratch of one thread, laid out in the workspace.
template <class T>
struct Layout {
    T* panel_a;  // block·edge·Σd, or edge·chunk
    T* panel_b;
    T* values;         // (m, strip), or (strips at a time, m, strip) when chunked
    T* far;            // (strips at a time, strip) second chords when chunked
    T* lane_sums;      // (sums, edge, width)
    T* col_sums;       // (sums, edge)
    double* out_rows;  // matmul: (edge, columns)
    double* out_cols;
    Side<T>* row;  // (m)
    Side<T>* col;  // (m)
    double* pair;  // (pairs)
    double* square;
    T* row_threshold;        // topk: (edge)
    T* col_threshold;        // (edge)
    Candidate* candidates;   // (kCandidates)
    int* held;               // how many of them
    unsigned char* flagged;  // (strips, row blocks)
    std::size_t bytes;
};

/// How many sums per row there are.
template <class T>
int sums_of(const Plan<T>& plan) {
    return plan.statistic == Statistic::moments ? plan.m : plan.statistic == Statistic::products ? plan.pairs.count() : 0;
}

template <class T>
Layout<T> layout(const Plan<T>& plan, char* memory) {
    using S = Shape<T>;
    std::size_t at = 0;
    const auto take = [&](std::size_t bytes) {
        char* p = memory + at;
        at += (bytes + 63) / 64 * 64;
        return p;
    };
    std::size_t features = 0;
    for (int q = 0; q < plan.m; ++q) features += static_cast<std::size_t>(plan.x[q].rows.d);
    const bool chunked = plan.block == 0;
    const auto edge = static_cast<std::size_t>(kTileEdge), m = static_cast<std::size_t>(plan.m);
    const auto strips = static_cast<std::size_t>(chunked ? plan.strips : 1);
    const std::size_t panel =
        chunked ? edge * static_cast<std::size_t>(plan.chunk) : static_cast<std::size_t>(plan.block) * edge * features;
    const auto sums = static_cast<std::size_t>(sums_of(plan));
    const auto pairs = static_cast<std::size_t>(plan.pairs.count());
    const auto columns = static_cast<std::size_t>(plan.columns);
    Layout<T> l;
    const std::size_t panel_bytes = panel * sizeof(T) + kVectorBytes;  // packing writes past the end
    l.panel_a = reinterpret_cast<T*>(take(panel_bytes));
    l.panel_b = reinterpret_cast<T*>(take(panel_bytes));
    l.values = reinterpret_cast<T*>(take(m * S::strip * strips * sizeof(T)));
    l.far = reinterpret_cast<T*>(take(chunked ? S::strip * strips * sizeof(T) : 0));
    l.lane_sums = reinterpret_cast<T*>(take(sums * edge * S::width * sizeof(T)));
    l.col_sums = reinterpret_cast<T*>(take(sums * edge * sizeof(T)));
    l.out_rows = reinterpret_cast<double*>(take(edge * columns * sizeof(double)));
    l.out_cols = reinterpret_cast<double*>(take(edge * columns * sizeof(double)));
    l.row = reinterpret_cast<Side<T>*>(take(m * sizeof(Side<T>)));
    l.col = reinterpret_cast<Side<T>*>(take(m * sizeof(Side<T>)));
    l.pair = reinterpret_cast<double*>(take((pairs + 1) * sizeof(double)));  // the last: the weighted difference
    l.square = reinterpret_cast<double*>(take(pairs * sizeof(double)));
    const std::size_t compared = plan.statistic == Statistic::topk ? edge : 0;
    l.row_threshold = reinterpret_cast<T*>(take(compared * sizeof(T)));
    l.col_threshold = reinterpret_cast<T*>(take(compared * sizeof(T)));
    l.candidates = reinterpret_cast<Candidate*>(take(compared ? kCandidates * sizeof(Candidate) : 0));
    l.held = reinterpret_cast<int*>(take(sizeof(int)));
    l.flagged = reinterpret_cast<unsigned char*>(take(static_cast<std::size_t>(S::strips * S::row_blocks)));
    l.bytes = at;
    return l;
}

}  // namespace
}  // namespace gramian

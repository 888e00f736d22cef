// Sums over a strip of all representations: pair sums, and sums per row and column.
#pragma once
#include "cpu/kernels/workspace.inc.hpp"

namespace gramian {
namespace {

/// Adds f(k) of a strip's vectors k to lane sums per row and sums per column.
template <class T, class F>
void sum_rows_and_columns(int row_end, int strip, T* lanes, T* cols, F&& value) {
    using S = Shape<T>;
    using V = Vector<T>;
    typename V::vec col[S::vectors] = {};
    for (int row = 0; row < row_end; ++row) {
        typename V::vec sum = V::load(lanes + row * S::width);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v) {
            const auto k = value(row * S::cols + v * S::width);
            col[v] += k;
            sum += k;
        }
        V::store(lanes + row * S::width, sum);
    }
    for (int v = 0; v < S::vectors; ++v) V::store(cols + strip * S::cols + v * S::width, col[v]);
}

/// Σ over a strip of x_a·y_b for A×B strips at once.
template <class T, int A, int B>
void multiply_strips(const T* x, const T* y, int elements, double* sums, int stride) {
    using S = Shape<T>;
    using V = Vector<T>;
    typename V::vec sum[A][B] = {};
    for (int e = 0; e < elements; e += S::width) {
        typename V::vec b[B];
        for (int j = 0; j < B; ++j) b[j] = V::load(y + j * S::strip + e);
        for (int i = 0; i < A; ++i) {
            const auto a = V::load(x + i * S::strip + e);
            for (int j = 0; j < B; ++j) sum[i][j] += a * b[j];
        }
    }
    for (int i = 0; i < A; ++i)
        for (int j = 0; j < B; ++j) sums[i * stride + j] = V::sum(sum[i][j]);
}

constexpr int kGroup = 4;  // strips multiplied with each other at once

template <class T>
void multiply_groups(const T* x, int a, const T* y, int b, int elements, double (&sums)[kGroup * kGroup]) {
    using F = void (*)(const T*, const T*, int, double*, int);
    static constexpr F table[kGroup][kGroup] = {
        {multiply_strips<T, 1, 1>, multiply_strips<T, 1, 2>, multiply_strips<T, 1, 3>, multiply_strips<T, 1, 4>},
        {multiply_strips<T, 2, 1>, multiply_strips<T, 2, 2>, multiply_strips<T, 2, 3>, multiply_strips<T, 2, 4>},
        {multiply_strips<T, 3, 1>, multiply_strips<T, 3, 2>, multiply_strips<T, 3, 3>, multiply_strips<T, 3, 4>},
        {multiply_strips<T, 4, 1>, multiply_strips<T, 4, 2>, multiply_strips<T, 4, 3>, multiply_strips<T, 4, 4>}};
    table[a - 1][b - 1](x, y, elements, sums, kGroup);
}

/// Σ x² over each of A strips at once.
template <class T, int A>
void square_strips(const T* x, int elements, double* sums) {
    using S = Shape<T>;
    using V = Vector<T>;
    typename V::vec sum[A] = {};
    for (int e = 0; e < elements; e += S::width)
        for (int i = 0; i < A; ++i) {
            const auto a = V::load(x + i * S::strip + e);
            sum[i] += a * a;
        }
    for (int i = 0; i < A; ++i) sums[i] = V::sum(sum[i]);
}

template <class T>
void square_group(const T* x, int a, int elements, double (&sums)[kGroup]) {
    using F = void (*)(const T*, int, double*);
    static constexpr F table[kGroup] = {square_strips<T, 1>, square_strips<T, 2>, square_strips<T, 3>, square_strips<T, 4>};
    table[a - 1](x, elements, sums);
}

GRAMIAN_LOCAL int group_from(int first, int end) { return end - first < kGroup ? end - first : kGroup; }

/// Adds the products over a strip of a group from p on, before p_end, with a group from q on.
template <class T>
void add_products(const Pairs& pairs, const Layout<T>& l, const T* values, int elements, int p, int p_end, int q) {
    using S = Shape<T>;
    const int a = group_from(p, p_end), b = group_from(q, pairs.m);
    double sums[kGroup * kGroup];
    multiply_groups(values + p * S::strip, a, values + q * S::strip, b, elements, sums);
    for (int i = 0; i < a; ++i)
        for (int j = p == q ? i : 0; j < b; ++j) l.pair[pairs.number(p + i, q + j)] += sums[i * kGroup + j];
}

/// Adds what a strip gives to all pair sums. Each has a sum of its own there, whoever is multiplied at the same time.
template <class T>
void add_pairs(const Pairs& pairs, const Layout<T>& l, const T* values, int row_end) {
    using S = Shape<T>;
    const int m = pairs.m, elements = row_end * S::cols;
    if (pairs.split == 0) {
        for (int p = 0; p < m; p += kGroup)
            for (int q = p; q < m; q += kGroup) add_products(pairs, l, values, elements, p, m, q);
        return;
    }
    for (int p = 0; p < pairs.split; p += kGroup)
        for (int q = pairs.split; q < m; q += kGroup) add_products(pairs, l, values, elements, p, pairs.split, q);
    for (int p = 0; pairs.own && p < m; p += kGroup) {
        const int a = group_from(p, m);
        double sums[kGroup];
        square_group(values + p * S::strip, a, elements, sums);
        for (int i = 0; i < a; ++i) l.pair[pairs.number(p + i, p + i)] += sums[i];
    }
}

/// The usual case in one pass: two representations, three pair sums, row and column sums of both.
template <class T>
void moments_of_two(const Layout<T>& l, const T* values, int row_end, int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    const T *x = values, *y = values + S::strip;
    T *lanes_x = l.lane_sums, *lanes_y = l.lane_sums + kTileEdge * S::width;
    vec col_x[S::vectors] = {}, col_y[S::vectors] = {}, xx[S::vectors] = {}, xy[S::vectors] = {}, yy[S::vectors] = {};
    for (int row = 0; row < row_end; ++row) {
        vec sum_x = V::load(lanes_x + row * S::width), sum_y = V::load(lanes_y + row * S::width);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v) {
            const vec a = V::load(x + row * S::cols + v * S::width), b = V::load(y + row * S::cols + v * S::width);
            sum_x += a, sum_y += b;
            col_x[v] += a, col_y[v] += b;
            xx[v] += a * a, xy[v] += a * b, yy[v] += b * b;
        }
        V::store(lanes_x + row * S::width, sum_x);
        V::store(lanes_y + row * S::width, sum_y);
    }
    for (int v = 0; v < S::vectors; ++v) {
        V::store(l.col_sums + strip * S::cols + v * S::width, col_x[v]);
        V::store(l.col_sums + kTileEdge + strip * S::cols + v * S::width, col_y[v]);
        l.pair[0] += V::sum(xx[v]), l.pair[1] += V::sum(xy[v]), l.pair[2] += V::sum(yy[v]);
    }
}

template <class T>
void moments_of_many(const Plan<T>& plan, const Layout<T>& l, const T* values, int row_end, int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    for (int q = 0; q < plan.m; ++q) {
        const T* x = values + q * S::strip;
        sum_rows_and_columns(row_end, strip, l.lane_sums + q * kTileEdge * S::width, l.col_sums + q * kTileEdge,
                             [&](int e) { return V::load(x + e); });
    }
    add_pairs(plan.pairs, l, values, row_end);
}

template <class T>
void products_of_many(const Plan<T>& plan, const Layout<T>& l, const T* values, int row_end, int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    const int m = plan.m;
    for (int p = 0, pair = 0; p < m; ++p)
        for (int q = p; q < m; ++q, ++pair) {
            const T *x = values + p * S::strip, *y = values + q * S::strip;
            vec sum = {}, square = {};
            sum_rows_and_columns(row_end, strip, l.lane_sums + pair * kTileEdge * S::width, l.col_sums + pair * kTileEdge,
                                 [&](int e) {
                                     const vec k = V::load(x + e) * V::load(y + e);
                                     sum += k, square += k * k;
                                     return k;
                                 });
            l.pair[pair] += V::sum(sum), l.square[pair] += V::sum(square);
        }
    if (m < 2) return;
    vec difference = {};
    for (int e = 0; e < row_end * S::cols; e += S::width) {
        const vec k = V::load(values + e) * plan.weight[0] - V::load(values + S::strip + e) * plan.weight[1];
        difference += k * k;
    }
    l.pair[plan.pairs.count()] += V::sum(difference);
}

}  // namespace
}  // namespace gramian

#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/element.hpp"
#include "core/host_device.hpp"
#include "core/kernel_function.hpp"
#include "core/rows.hpp"

namespace gramian {

// What neighbours are ranked by: one float64 number for a pair, the same bits wherever and in whatever order it is asked
// for. Tiles only find the pairs that might matter; who is whose neighbour is settled by these values, larger first, equal
// ones by the lower index.
//
// A value is the kernel's own up to a constant that all pairs share and up to a monotone function that keeps digits where
// the kernel rounds them away:
//
//     ranking           value (x, y in units of `scale`)         kernels
//     dot               x·y − μ·μ                                linear
//     cosine            cot|cot| of the angle between x and y    cosine: (x·y)|x·y| / (‖x‖²‖y‖² − (x·y)²); a zero row: 0;
//                                                                infinite for angles of some 10^-15 and less
//     squared_distance  −‖x − y‖²/2                              RBF, exponential, rational quadratic, −d²/2
//     l1_distance       −‖x − y‖₁                                Laplacian
//     polynomial        (c·x·y + c')^p, p = 1 (odd) or 2 (even)  polynomial: its own power is a monotone function of it
//     distance          (‖x‖ + ‖y‖ − ‖x − y‖)/2                  distance
//     arc_cosine        −θ/π, or the kernel of order 1           arc-cosine; a zero row: −1, or 0
//
// Inner products are summed with twice float64's digits, and the cosine's value is a rational function of three of them: pairs
// that are equally near as numbers are so here, as long as these numbers fit, and one power of two is as good as another. The
// cotangent has all digits both for small angles and for right ones.
//
// Products and sums below must not be contracted to fused ones: on the host, whoever includes this is compiled with
// -ffp-contract=off.
enum class Ranking : int { dot, cosine, squared_distance, l1_distance, polynomial, distance, arc_cosine };

/// What the exact values of one representation are made from; plain values, for host and device.
struct ExactRows {
    Rows rows;
    Ranking ranking = Ranking::dot;
    double scale = 1;              // power of two: features are taken as scale·x
    const double* size = nullptr;  // (n,) arc_cosine: exact_inverse_norm; distance: exact_norm; cosine: (n, 2) exact_square
    double constant[2] = {0, 0};   // dot: the parts of μ·μ; polynomial: c, c'; arc_cosine: the order
    int power = 1;                 // polynomial: p
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kExactLanes = 8;  // partial sums of a row, added in halves

GRAMIAN_HD double exact_product(double a, double b) {
#ifdef __CUDA_ARCH__
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

GRAMIAN_HD double exact_sum(double a, double b) {
#ifdef __CUDA_ARCH__
    return __dadd_rn(a, b);
#else
    return a + b;
#endif
}

/// The lanes' total: what a sum over the features ends with. Lane l holds the terms of features l, l + 8, ... in order.
GRAMIAN_HD double exact_total(double (&lane)[kExactLanes]) {
    for (int w = kExactLanes / 2; w; w /= 2)
        for (int l = 0; l < w; ++l) lane[l] = exact_sum(lane[l], lane[l + w]);
    return lane[0];
}

/// f(lane, scale·x_i,k, scale·x_j,k) for all features k, elements of type E.
template <class E, class F>
GRAMIAN_HD void over_features(const ExactRows& x, std::int64_t i, std::int64_t j, F&& f) {
    const RowPointer a = row_pointer(x.rows, i), b = row_pointer(x.rows, j);
    const E *u = reinterpret_cast<const E*>(a.data), *v = reinterpret_cast<const E*>(b.data);
    const std::int64_t d = x.rows.d;
    const auto feature = [&](int lane, std::int64_t p, std::int64_t q) {
        f(lane, exact_product(x.scale, static_cast<double>(widen(u[p]))),
          exact_product(x.scale, static_cast<double>(widen(v[q]))));
    };
    std::int64_t k = 0;
    if (a.stride == 1 && b.stride == 1) {
        for (; k + kExactLanes <= d; k += kExactLanes)
            for (int l = 0; l < kExactLanes; ++l) feature(l, k + l, k + l);
    }
    for (; k < d; k += kExactLanes)
        for (int l = 0; l < kExactLanes; ++l)
            if (k + l < d) feature(l, (k + l) * a.stride, (k + l) * b.stride);
}

/// Σ_k f(scale·x_i,k, scale·x_j,k).
template <class E, class F>
GRAMIAN_HD double exact_over_features(const ExactRows& x, std::int64_t i, std::int64_t j, F&& f) {
    double lane[kExactLanes] = {};
    over_features<E>(x, i, j, [&](int l, double a, double b) { lane[l] = exact_sum(lane[l], f(a, b)); });
    return exact_total(lane);
}

/// A number in two parts: what float64 rounds off the first is the second.
struct TwoParts {
    double high, low;
};

GRAMIAN_HD TwoParts two_sum(double a, double b) {
    const double s = exact_sum(a, b), z = exact_sum(s, -a);
    return {s, exact_sum(exact_sum(a, -exact_sum(s, -z)), exact_sum(b, -z))};
}

GRAMIAN_HD TwoParts two_product(double a, double b) {
    const double p = exact_product(a, b);
    return {p, std::fma(a, b, -p)};
}

/// a·b of numbers in two parts.
GRAMIAN_HD TwoParts product(const TwoParts& a, const TwoParts& b) {
    const TwoParts p = two_product(a.high, b.high);
    return two_sum(p.high, exact_sum(p.low, exact_sum(exact_product(a.high, b.low), exact_product(a.low, b.high))));
}

/// scale²·x_i·x_j.
template <class E>
GRAMIAN_HD TwoParts exact_dot(const ExactRows& x, std::int64_t i, std::int64_t j) {
    double high[kExactLanes] = {}, low[kExactLanes] = {};
    over_features<E>(x, i, j, [&](int l, double a, double b) {
        const TwoParts p = sizeof(E) == sizeof(double) ? two_product(a, b) : TwoParts{exact_product(a, b), 0.0};  // exact below
        const TwoParts t = two_sum(high[l], p.high);
        high[l] = t.high;
        low[l] = exact_sum(low[l], exact_sum(t.low, p.low));
    });
    for (int w = kExactLanes / 2; w; w /= 2)
        for (int l = 0; l < w; ++l) {
            const TwoParts t = two_sum(high[l], high[l + w]);
            high[l] = t.high;
            low[l] = exact_sum(exact_sum(low[l], low[l + w]), t.low);
        }
    return two_sum(high[0], low[0]);
}

/// ‖scale·x_i‖².
template <class E>
GRAMIAN_HD TwoParts exact_square(const ExactRows& x, std::int64_t i) {
    return exact_dot<E>(x, i, i);
}

/// ‖scale·x_i‖.
template <class E>
GRAMIAN_HD double exact_norm(const ExactRows& x, std::int64_t i) {
    return std::sqrt(exact_over_features<E>(x, i, i, [](double a, double b) { return exact_product(a, b); }));
}

/// 1/‖scale·x_i‖, or 0 for a zero row.
template <class E>
GRAMIAN_HD double exact_inverse_norm(const ExactRows& x, std::int64_t i) {
    const double norm = exact_norm<E>(x, i);
    return norm > 0 ? 1 / norm : 0.0;
}

/// The value of the pair (i, j), i ≠ j, in units of scale² (dot, squared_distance, arc_cosine of order 1), of scale
/// (l1_distance, distance), or of none.
template <class E>
GRAMIAN_HD double exact_value(const ExactRows& x, std::int64_t i, std::int64_t j) {
    const auto square = [](double t) { return exact_product(t, t); };
    switch (x.ranking) {
        case Ranking::dot: {
            const TwoParts dot = exact_dot<E>(x, i, j), t = two_sum(dot.high, -x.constant[0]);
            return exact_sum(t.high, exact_sum(t.low, exact_sum(dot.low, -x.constant[1])));
        }
        case Ranking::cosine: {
            const TwoParts dot = exact_dot<E>(x, i, j), a{x.size[2 * i], x.size[2 * i + 1]}, b{x.size[2 * j], x.size[2 * j + 1]};
            if (a.high == 0 || b.high == 0 || dot.high == 0) return 0;
            const TwoParts both = product(a, b), square = product(dot, dot), t = two_sum(both.high, -square.high);
            const double rest = exact_sum(t.high, exact_sum(t.low, exact_sum(both.low, -square.low)));
            // what is left of products in four factors is theirs to some (d + 64)·2^-106: below that, the rows are parallel
            const double least = exact_product(both.high, static_cast<double>(x.rows.d + 64) * 0x1p-106);
            const double ratio = rest > least ? square.high / rest : kInfinity;
            return dot.high > 0 ? ratio : -ratio;
        }
        case Ranking::squared_distance:
            return exact_product(-0.5,
                                 exact_over_features<E>(x, i, j, [&](double a, double b) { return square(exact_sum(a, -b)); }));
        case Ranking::l1_distance:
            return -exact_over_features<E>(x, i, j, [](double a, double b) { return std::fabs(exact_sum(a, -b)); });
        case Ranking::polynomial: {
            const double dot = exact_dot<E>(x, i, j).high;
            const double base = exact_sum(exact_product(x.constant[0], dot), x.constant[1]);
            return x.power == 2 ? exact_product(base, base) : base;
        }
        case Ranking::distance: {
            const double d =
                std::sqrt(exact_over_features<E>(x, i, j, [&](double a, double b) { return square(exact_sum(a, -b)); }));
            return exact_product(0.5, exact_sum(exact_sum(x.size[i], x.size[j]), -d));
        }
        case Ranking::arc_cosine: {
            const double f = x.size[i], g = x.size[j];
            const bool weighted = x.constant[0] == 1;
            if (f == 0 || g == 0) return weighted ? 0.0 : -1.0;
            const double near = std::sqrt(exact_over_features<E>(
                x, i, j, [&](double a, double b) { return square(exact_sum(exact_product(f, a), -exact_product(g, b))); }));
            const double far = std::sqrt(exact_over_features<E>(
                x, i, j, [&](double a, double b) { return square(exact_sum(exact_product(f, a), exact_product(g, b))); }));
            const double angle = 2 * std::atan2(near, far);
            if (!weighted) return -angle / kPi;
            // sin and cos of twice the angle whose tangent is near/far
            const double n = exact_product(near, near), m = exact_product(far, far), both = exact_sum(n, m);
            const double sine = exact_product(2, exact_product(near, far)) / both, cosine = exact_sum(m, -n) / both;
            const double shape = exact_sum(sine, exact_product(exact_sum(kPi, -angle), cosine)) / kPi;
            return exact_product(exact_product(1 / f, 1 / g), shape);
        }
    }
    return 0;
}

/// The largest value that any pair of row i can have, where there is one: a full list of such values only gives way to lower
/// indices.
GRAMIAN_HD double exact_maximum(const ExactRows& x, std::int64_t i) {
    switch (x.ranking) {
        case Ranking::cosine: return x.size[2 * i] == 0 ? 0.0 : kInfinity;
        case Ranking::squared_distance:
        case Ranking::l1_distance: return 0.0;
        default: return kInfinity;
    }
}

/// What the tiles' bounds are bounds of: the value, or of a cosine's value the cosine less 1.
GRAMIAN_HD double exact_tile_value(const ExactRows& x, double value) {
    if (x.ranking != Ranking::cosine) return value;
    const double size = std::fabs(value);
    if (size == kInfinity) return value > 0 ? 0.0 : -2.0;
    const double cosine = std::sqrt(size / (1 + size));
    return value < 0 ? -1 - cosine : -1 / ((1 + size) * (1 + cosine));
}

/// Whether neighbour (value, index) goes before (other_value, other_index).
GRAMIAN_HD bool goes_before(double value, std::int64_t index, double other_value, std::int64_t other_index) {
    return value > other_value || (value == other_value && index < other_index);
}

inline Ranking ranking_of(KernelKind kind) {
    switch (kind) {
        case KernelKind::Linear: return Ranking::dot;
        case KernelKind::Cosine: return Ranking::cosine;
        case KernelKind::Polynomial: return Ranking::polynomial;
        case KernelKind::Laplacian:
        case KernelKind::ManhattanDistance: return Ranking::l1_distance;
        case KernelKind::ArcCosine: return Ranking::arc_cosine;
        case KernelKind::Distance: return Ranking::distance;
        case KernelKind::CosineDistance: return Ranking::cosine;
        default: return Ranking::squared_distance;
    }
}

/// The kernel function whose tiles show who is near whom: radial ones fall off too fast for a float.
inline KernelFunction ranking_kernel(KernelFunction k) {
    switch (ranking_of(k.kind)) {
        case Ranking::dot:
        case Ranking::squared_distance: return {KernelKind::Linear, {}};  // −‖x − y‖²/2 = x·y − ‖x‖²/2 − ‖y‖²/2
        case Ranking::cosine: return {KernelKind::Cosine, {}};
        case Ranking::l1_distance: return {KernelKind::ManhattanDistance, {}};
        case Ranking::polynomial: k.parameter[0] = std::fmod(k.parameter[0], 2) == 0 ? 2 : 1; return k;
        default: return k;
    }
}

}  // namespace gramian

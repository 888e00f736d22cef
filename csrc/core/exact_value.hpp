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
//     dot               x·y − μ·μ, from x − μ and y − μ          linear
//     cosine            cos(x, y) − 1 = −‖x̂ − ŷ‖²/2              cosine; a zero row: −1
//     squared_distance  −‖x − y‖²/2                              RBF, exponential, rational quadratic, −d²/2
//     l1_distance       −‖x − y‖₁                                Laplacian
//     polynomial        (c·x·y + c')^p, p = 1 (odd) or 2 (even)  polynomial: its own power is a monotone function of it
//     distance          (‖x‖ + ‖y‖ − ‖x − y‖)/2                  distance
//     arc_cosine        −θ/π, or the kernel of order 1           arc-cosine; a zero row: −1, or 0
//
// Products and sums below must not be contracted to fused ones: on the host, whoever includes this is compiled with
// -ffp-contract=off.
enum class Ranking : int { dot, cosine, squared_distance, l1_distance, polynomial, distance, arc_cosine };

/// What the exact values of one representation are made from; plain values, for host and device.
struct ExactRows {
    Rows rows;
    Ranking ranking = Ranking::dot;
    double scale = 1;                   // power of two: features are taken as scale·x
    const double* reference = nullptr;  // dot: (d,) μ in units of `scale`, the row that the engine translates by; or null: 0
    const double* size = nullptr;       // (n,) cosine, arc_cosine: exact_inverse_norm; distance: exact_norm; else null
    double constant[2] = {0, 0};        // polynomial: c, c'; arc_cosine: the order
    int power = 1;                      // polynomial: p
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

/// Σ_k f(scale·x_i,k, scale·x_j,k, k) over elements of type E.
template <class E, class F>
GRAMIAN_HD double exact_over_features(const ExactRows& x, std::int64_t i, std::int64_t j, F&& f) {
    const RowPointer a = row_pointer(x.rows, i), b = row_pointer(x.rows, j);
    const E *u = reinterpret_cast<const E*>(a.data), *v = reinterpret_cast<const E*>(b.data);
    const std::int64_t d = x.rows.d;
    double lane[kExactLanes] = {};
    const auto term = [&](std::int64_t k, std::int64_t p, std::int64_t q) {
        return f(exact_product(x.scale, static_cast<double>(widen(u[p]))),
                 exact_product(x.scale, static_cast<double>(widen(v[q]))), k);
    };
    std::int64_t k = 0;
    if (a.stride == 1 && b.stride == 1) {
        for (; k + kExactLanes <= d; k += kExactLanes)
            for (int l = 0; l < kExactLanes; ++l) lane[l] = exact_sum(lane[l], term(k + l, k + l, k + l));
    }
    for (; k < d; k += kExactLanes)
        for (int l = 0; l < kExactLanes; ++l)
            if (k + l < d) lane[l] = exact_sum(lane[l], term(k + l, (k + l) * a.stride, (k + l) * b.stride));
    return exact_total(lane);
}

/// ‖scale·x_i‖.
template <class E>
GRAMIAN_HD double exact_norm(const ExactRows& x, std::int64_t i) {
    return std::sqrt(exact_over_features<E>(x, i, i, [](double a, double b, std::int64_t) { return exact_product(a, b); }));
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
            const double* r = x.reference;
            if (!r) return exact_over_features<E>(x, i, j, [](double a, double b, std::int64_t) { return exact_product(a, b); });
            return exact_over_features<E>(x, i, j, [r](double a, double b, std::int64_t k) {
                const double s = exact_sum(a, -r[k]), t = exact_sum(b, -r[k]);
                return exact_sum(exact_product(s, t), exact_product(r[k], exact_sum(s, t)));
            });
        }
        case Ranking::cosine: {
            const double f = x.size[i], g = x.size[j];
            if (f == 0 || g == 0) return -1;
            return exact_product(-0.5, exact_over_features<E>(x, i, j, [&](double a, double b, std::int64_t) {
                return square(exact_sum(exact_product(f, a), -exact_product(g, b)));
            }));
        }
        case Ranking::squared_distance:
            return exact_product(-0.5, exact_over_features<E>(
                                           x, i, j, [&](double a, double b, std::int64_t) { return square(exact_sum(a, -b)); }));
        case Ranking::l1_distance:
            return -exact_over_features<E>(x, i, j, [](double a, double b, std::int64_t) { return std::fabs(exact_sum(a, -b)); });
        case Ranking::polynomial: {
            const double dot =
                exact_over_features<E>(x, i, j, [](double a, double b, std::int64_t) { return exact_product(a, b); });
            const double base = exact_sum(exact_product(x.constant[0], dot), x.constant[1]);
            return x.power == 2 ? exact_product(base, base) : base;
        }
        case Ranking::distance: {
            const double d = std::sqrt(
                exact_over_features<E>(x, i, j, [&](double a, double b, std::int64_t) { return square(exact_sum(a, -b)); }));
            return exact_product(0.5, exact_sum(exact_sum(x.size[i], x.size[j]), -d));
        }
        case Ranking::arc_cosine: {
            const double f = x.size[i], g = x.size[j];
            const bool weighted = x.constant[0] == 1;
            if (f == 0 || g == 0) return weighted ? 0.0 : -1.0;
            const double near = std::sqrt(exact_over_features<E>(x, i, j, [&](double a, double b, std::int64_t) {
                return square(exact_sum(exact_product(f, a), -exact_product(g, b)));
            }));
            const double far = std::sqrt(exact_over_features<E>(x, i, j, [&](double a, double b, std::int64_t) {
                return square(exact_sum(exact_product(f, a), exact_product(g, b)));
            }));
            const double angle = 2 * std::atan2(near, far);
            if (!weighted) return -angle / kPi;
            const double shape = exact_sum(std::sin(angle), exact_product(exact_sum(kPi, -angle), std::cos(angle))) / kPi;
            return exact_product(exact_product(1 / f, 1 / g), shape);
        }
    }
    return 0;
}

/// The largest value that any pair of row i can have, where there is one: a full list of such values only gives way to lower
/// indices.
GRAMIAN_HD double exact_maximum(const ExactRows& x, std::int64_t i) {
    switch (x.ranking) {
        case Ranking::cosine: return x.size[i] == 0 ? -1.0 : 0.0;
        case Ranking::squared_distance:
        case Ranking::l1_distance: return 0.0;
        default: return kInfinity;
    }
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

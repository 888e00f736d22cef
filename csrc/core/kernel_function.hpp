#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/host_device.hpp"

namespace gramian {

// A kernel function is the epilogue of a Gram tile. Every one of them is split as
//
//     k(x_i, x_j) = φ(g_ij) + b_i + b_j
//
// where g_ij is the geometry of the pair and b a row vector known exactly in float64. φ is what the tiles hold: the
// split takes out of it whatever rounding would otherwise drown (the 1 of an RBF, the norms of a distance).
//
// Kernels that fall from 1 to 0 are held as φ = k − base. Base 1 keeps the digits of wide ones, where every k is near 1;
// base 0 those of narrow ones, where k is near 0. The sweep chooses.
//
// The tiles work on features scaled by a power of two, `unit`, so that norms stay below 1; constants() puts the parameters
// into these units and value_exponent() says by what power of two φ has changed.
//
// To add one: write its struct here and name it in GRAMIAN_KERNEL_FUNCTIONS. tests/oracle.py must know its formula.

enum class Geometry : int {
    dot,               // x·y
    squared_distance,  // ‖x − y‖²
    l1_distance,       // ‖x − y‖₁
    angle,             // ‖x̂ − ŷ‖² where x·y ≥ 0, else −‖x̂ + ŷ‖²: keeps the angle exact near 0 and near π
};

// What the rows go through before they meet.
struct Preparation {
    bool normalize;  // x → x/‖x‖ (a zero row stays zero)
    bool translate;  // x → x − μ, μ a reference row
};

constexpr double kFromData = std::numeric_limits<double>::quiet_NaN();
constexpr double kLog2E = 1.4426950408889634074;
constexpr double kPi = 3.14159265358979323846;
constexpr int kConstants = 4;  // per kernel function, in the tile's type
constexpr int kBase = 3;       // where the base is among them

// b of k = φ + b_i + b_j.
enum class Offset : int {
    none,
    reference,  // x·μ − ‖μ‖²/2, what translation takes from an inner product
    half_base,  // base/2: φ = k − base
    half_norm,  // ‖x‖/2
};

struct Parameter {
    const char* name;
    double default_value;  // kFromData: resolved by Python
};

// The rows' sizes, in the units the tiles use (the largest prepared norm is at most 1).
struct Extent {
    double max_norm;          // max ‖x'‖₂
    double max_l1;            // max ‖x'‖₁
    double mean_square;       // mean ‖x'‖²
    double feature_rounding;  // rounding of one prepared feature vector, as a multiple of eps
    const double* norms;      // (n,) ‖x'‖
    std::int64_t n;

    /// Root of the mean of (‖x'‖‖y'‖)^2p over pairs of different rows: one row far away is in few of them.
    double paired(double p) const {
        double before = 0, sum = 0;  // added up pair by pair: less the squares of a sum, one huge row would cancel all others
        for (std::int64_t i = 0; i < n; ++i) {
            const double square = p == 1.0 ? norms[i] * norms[i] : std::pow(norms[i], 2 * p);
            sum += 2 * before * square;
            before += square;
        }
        return n > 1 ? std::sqrt(sum / (static_cast<double>(n) * static_cast<double>(n - 1))) : 0.0;
    }
};

struct Linear {
    static constexpr const char* name = "linear";
    static constexpr Geometry geometry = Geometry::dot;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::reference;
    static constexpr int parameters = 0;
    static constexpr Parameter parameter[1] = {};

    static void constants(const double*, double, double*) {}
    static double value_exponent(const double*, double unit) { return 2 * std::log2(unit); }
    static double bound(const double*, const Extent& e) { return e.max_norm * e.max_norm; }
    static double rounding(const double*, const Extent& e) { return e.paired(1) + e.feature_rounding * std::sqrt(e.mean_square); }
    static double diagonal(const double*, double xx) { return xx; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T*, V g, V, V) {
        return g;
    }
};

struct Cosine : Linear {
    static constexpr const char* name = "cosine";
    static constexpr Preparation preparation{true, true};
};

struct Polynomial {
    static constexpr const char* name = "polynomial";
    static constexpr Geometry geometry = Geometry::dot;
    static constexpr Preparation preparation{false, false};
    static constexpr Offset offset = Offset::none;
    static constexpr int parameters = 3;
    static constexpr Parameter parameter[3] = {{"degree", 2.0}, {"scale", kFromData}, {"offset", 1.0}};

    // base = 2^-t·(scale·x·y + offset) with |base| ≤ 1; unit = 1/‖features‖ is the power of two that they were scaled by.
    // t is held as an exponent: of rows beyond 2^512, 1/unit² and 2^-t are no doubles
    static int shrink_exponent(const double* p, double unit) {
        const int square = -2 * std::ilogb(unit);
        const double largest = std::ldexp(std::abs(p[1]), square) + std::abs(p[2]);
        if (std::isinf(largest)) return static_cast<int>(std::fmax(1025, std::ilogb(p[1]) + square + 2));
        return largest > 0 ? static_cast<int>(std::ceil(std::log2(largest))) : 0;
    }
    static void constants(const double* p, double unit, double* c) {
        const int t = shrink_exponent(p, unit);
        c[0] = std::ldexp(p[1], -2 * std::ilogb(unit) - t);
        c[1] = std::ldexp(p[2], -t);
        c[2] = p[0];
    }
    static double value_exponent(const double* p, double unit) { return -p[0] * shrink_exponent(p, unit); }
    static double bound(const double*, const Extent&) { return 1.0; }
    static double rounding(const double* c, const Extent& e) {
        // by Minkowski's inequality no less than the root of the mean of (|c0|·‖x‖‖y‖ + |c1|)^2p
        return std::pow(std::abs(c[0]) * std::pow(e.paired(c[2]), 1 / c[2]) + std::abs(c[1]), c[2]);
    }
    static double diagonal(const double* c, double xx) { return std::pow(c[0] * xx + c[1], c[2]); }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T* c, V g, V, V) {
        const V base = g * c[0] + c[1];
        V power = base;
        for (int k = static_cast<int>(c[2]); k > 1; --k) power = power * base;
        return power;
    }
};

struct RBF {
    static constexpr const char* name = "rbf";
    static constexpr Geometry geometry = Geometry::squared_distance;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::half_base;
    static constexpr int parameters = 1;
    static constexpr Parameter parameter[1] = {{"bandwidth", kFromData}};

    static void constants(const double* p, double unit, double* c) {
        const double width = p[0] * unit;
        c[0] = -0.5 * kLog2E / (width * width);
    }
    static double value_exponent(const double*, double) { return 0.0; }
    static double bound(const double* c, const Extent& e) {
        return c[kBase] == 0.0 ? 1.0 : std::fmin(1.0, -4.0 / kLog2E * c[0] * e.max_norm * e.max_norm);
    }
    static double rounding(const double* c, const Extent& e) {
        const double spread = 2 * e.mean_square + 4 * e.feature_rounding * std::sqrt(e.mean_square);
        return c[kBase] == 0.0 ? 1.0 : std::fmin(1.0, -c[0] / kLog2E * spread);
    }
    static double diagonal(const double* c, double) { return 1.0 - c[kBase]; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T* c, V g, V, V) {
        return M::exp2_minus(g * c[0], c[kBase]);
    }
};

struct Exponential {
    static constexpr const char* name = "exponential";
    static constexpr Geometry geometry = Geometry::squared_distance;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::half_base;
    static constexpr int parameters = 1;
    static constexpr Parameter parameter[1] = {{"bandwidth", kFromData}};

    static void constants(const double* p, double unit, double* c) { c[0] = -kLog2E / (p[0] * unit); }
    static double value_exponent(const double*, double) { return 0.0; }
    static double bound(const double* c, const Extent& e) {
        return c[kBase] == 0.0 ? 1.0 : std::fmin(1.0, -2.0 / kLog2E * c[0] * e.max_norm);
    }
    static double rounding(const double* c, const Extent& e) {
        return c[kBase] == 0.0 ? 1.0 : std::fmin(1.0, -c[0] / kLog2E * (std::sqrt(2 * e.mean_square) + 2 * e.feature_rounding));
    }
    static double diagonal(const double* c, double) { return 1.0 - c[kBase]; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T* c, V g, V, V) {
        return M::exp2_minus(M::sqrt(g) * c[0], c[kBase]);
    }
};

struct Laplacian {
    static constexpr const char* name = "laplacian";
    static constexpr Geometry geometry = Geometry::l1_distance;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::half_base;
    static constexpr int parameters = 1;
    static constexpr Parameter parameter[1] = {{"bandwidth", kFromData}};

    static void constants(const double* p, double unit, double* c) { c[0] = -kLog2E / (p[0] * unit); }
    static double value_exponent(const double*, double) { return 0.0; }
    static double bound(const double* c, const Extent& e) {
        return c[kBase] == 0.0 ? 1.0 : std::fmin(1.0, -2.0 / kLog2E * c[0] * e.max_l1);
    }
    static double rounding(const double* c, const Extent& e) {
        // ‖·‖₁ ≤ (max_l1 / max_norm)·‖·‖₂ is loose by at most √d
        const double ratio = e.max_norm > 0 ? e.max_l1 / e.max_norm : 1.0;
        return c[kBase] == 0.0 ? 1.0
                               : std::fmin(1.0, -c[0] / kLog2E * ratio * (std::sqrt(2 * e.mean_square) + 2 * e.feature_rounding));
    }
    static double diagonal(const double* c, double) { return 1.0 - c[kBase]; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T* c, V g, V, V) {
        return M::exp2_minus(g * c[0], c[kBase]);
    }
};

struct RationalQuadratic {
    static constexpr const char* name = "rational_quadratic";
    static constexpr Geometry geometry = Geometry::squared_distance;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::half_base;
    static constexpr int parameters = 2;
    static constexpr Parameter parameter[2] = {{"bandwidth", kFromData}, {"alpha", 1.0}};

    static void constants(const double* p, double unit, double* c) {
        const double width = p[0] * unit;
        c[0] = 0.5 / (p[1] * width * width);
        c[1] = -p[1] * kLog2E;
        c[2] = p[1];
    }
    static double value_exponent(const double*, double) { return 0.0; }
    static double bound(const double* c, const Extent& e) {
        return c[kBase] == 0.0 ? 1.0 : std::fmin(1.0, 4 * c[2] * c[0] * e.max_norm * e.max_norm);
    }
    static double rounding(const double* c, const Extent& e) {
        const double spread = 2 * e.mean_square + 4 * e.feature_rounding * std::sqrt(e.mean_square);
        return c[kBase] == 0.0 ? 1.0 : std::fmin(1.0, c[2] * c[0] * spread);
    }
    static double diagonal(const double* c, double) { return 1.0 - c[kBase]; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T* c, V g, V, V) {
        return M::exp2_minus(M::log1p(g * c[0]) * c[1], c[kBase]);
    }
};

struct ArcCosine {
    static constexpr const char* name = "arc_cosine";
    static constexpr Geometry geometry = Geometry::angle;
    static constexpr Preparation preparation{true, false};
    static constexpr Offset offset = Offset::none;
    static constexpr int parameters = 1;
    static constexpr Parameter parameter[1] = {{"order", 1.0}};

    static void constants(const double* p, double, double* c) { c[0] = p[0]; }
    static double value_exponent(const double* p, double unit) { return p[0] == 1.0 ? 2 * std::log2(unit) : 0.0; }
    static double bound(const double*, const Extent&) { return 1.0; }
    static double rounding(const double* c, const Extent& e) { return c[0] == 1.0 ? e.paired(1) : 1.0; }
    static double diagonal(const double* c, double xx) { return c[0] == 1.0 ? xx : (xx > 0 ? 1.0 : 0.0); }

    // w: the rows' norms for order 1; 1, or 0 for a zero row, for order 0
    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T* c, V g, V wi, V wj) {
        const V chord = M::abs(g);  // of the angle to the nearer pole
        const V rest = T(4) - chord;
        const V half = M::atan(M::sqrt(chord / rest));  // half that angle, at most π/4
        const V twice = half + half;
        const V theta = M::select_negative(g, T(kPi) - twice, twice);
        if (c[0] == T(0)) return (wi * wj) * (T(1) - theta * T(1 / kPi));
        const V cosine = M::select_negative(g, chord * T(0.5) - T(1), T(1) - chord * T(0.5));
        const V sine = M::sqrt(chord * rest) * T(0.5);
        return (wi * wj) * ((sine + (T(kPi) - theta) * cosine) * T(1 / kPi));
    }
};

struct Distance {
    static constexpr const char* name = "distance";
    static constexpr Geometry geometry = Geometry::squared_distance;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::half_norm;
    static constexpr int parameters = 0;
    static constexpr Parameter parameter[1] = {};

    static void constants(const double*, double, double*) {}
    static double value_exponent(const double*, double unit) { return std::log2(unit); }
    static double bound(const double*, const Extent& e) { return e.max_norm; }
    static double rounding(const double*, const Extent& e) { return std::sqrt(2 * e.mean_square) + e.feature_rounding; }
    static double diagonal(const double*, double) { return 0.0; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T*, V g, V, V) {
        return M::sqrt(g) * T(-0.5);
    }
};

// −‖x − y‖²/2, which is the inner product up to an offset: what distance alignment compares. Not a public kernel.
struct SquaredDistance {
    static constexpr const char* name = "squared_distance";
    static constexpr Geometry geometry = Geometry::squared_distance;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::none;
    static constexpr int parameters = 0;
    static constexpr Parameter parameter[1] = {};

    static void constants(const double*, double, double*) {}
    static double value_exponent(const double*, double unit) { return 2 * std::log2(unit); }
    static double bound(const double*, const Extent& e) { return 2 * e.max_norm * e.max_norm; }
    static double rounding(const double*, const Extent& e) {
        return e.mean_square + 2 * e.feature_rounding * std::sqrt(e.mean_square);
    }
    static double diagonal(const double*, double) { return 0.0; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T*, V g, V, V) {
        return g * T(-0.5);
    }
};

// The same between normalised rows.
struct CosineDistance : SquaredDistance {
    static constexpr const char* name = "cosine_distance";
    static constexpr Preparation preparation{true, true};
};

// −‖x − y‖₁, which the Laplacian kernel falls with: what its nearest neighbours are found by. Not a public kernel.
struct ManhattanDistance {
    static constexpr const char* name = "manhattan_distance";
    static constexpr Geometry geometry = Geometry::l1_distance;
    static constexpr Preparation preparation{false, true};
    static constexpr Offset offset = Offset::none;
    static constexpr int parameters = 0;
    static constexpr Parameter parameter[1] = {};

    static void constants(const double*, double, double*) {}
    static double value_exponent(const double*, double unit) { return std::log2(unit); }
    static double bound(const double*, const Extent& e) { return 2 * e.max_l1; }
    static double rounding(const double*, const Extent& e) {
        const double ratio = e.max_norm > 0 ? e.max_l1 / e.max_norm : 1.0;
        return ratio * (std::sqrt(2 * e.mean_square) + 2 * e.feature_rounding);
    }
    static double diagonal(const double*, double) { return 0.0; }

    template <class M, class V, class T>
    GRAMIAN_HD static V phi(const T*, V g, V, V) {
        return -g;
    }
};

// The one list: the bindings, the tile kernels and the tests read it.
#define GRAMIAN_KERNEL_FUNCTIONS(X) \
    X(Linear)                       \
    X(Cosine)                       \
    X(Polynomial)                   \
    X(RBF)                          \
    X(Exponential)                  \
    X(Laplacian) X(RationalQuadratic) X(ArcCosine) X(Distance) X(SquaredDistance) X(CosineDistance) X(ManhattanDistance)

enum class KernelKind : int {
#define GRAMIAN_ENUM(K) K,
    GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_ENUM)
#undef GRAMIAN_ENUM
};

// A kernel function with its parameters, by value.
struct KernelFunction {
    KernelKind kind = KernelKind::Linear;
    double parameter[3] = {0, 0, 0};

    // Calls f with an object of the kernel function's type.
    template <class F>
    decltype(auto) visit(F&& f) const {
        switch (kind) {
#define GRAMIAN_VISIT(K) \
    case KernelKind::K: return f(K{});
            GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_VISIT)
#undef GRAMIAN_VISIT
        }
        return f(Linear{});
    }
};

}  // namespace gramian

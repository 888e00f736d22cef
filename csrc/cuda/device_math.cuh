#pragma once
#include <cmath>

#include "core/kernel_function.hpp"
#include "cuda/ptx.cuh"

#define GRAMIAN_DEVICE __device__ __forceinline__

namespace gramian::cuda {

/// The elementary functions that kernel functions are made of, for one value.
template <class T>
struct Math;

template <>
struct Math<float> {
    GRAMIAN_DEVICE static float sqrt(float a) { return ::sqrtf(a); }
    GRAMIAN_DEVICE static float abs(float a) { return ::fabsf(a); }
    GRAMIAN_DEVICE static float log1p(float a) { return ::log1pf(a); }
    GRAMIAN_DEVICE static float atan(float a) { return ::atanf(a); }
    GRAMIAN_DEVICE static float select_negative(float sign, float negative, float positive) {
        return ::copysignf(1.f, sign) < 0.f ? negative : positive;  // −0 is negative
    }
    /// 2^y − base for y ≤ 0, accurate near 0 if the base is 1.
    GRAMIAN_DEVICE static float exp2_minus(float y, float base) {
        const float power = ptx::exp2(y) - base;
        if (base == 0.f) return power;
        float p = 1.0178086e-07f;  // Σ (y·ln 2)^k/k!, to degree 9
        p = p * y + 1.3215487e-06f;
        p = p * y + 1.5252734e-05f;
        p = p * y + 1.5403530e-04f;
        p = p * y + 1.3333558e-03f;
        p = p * y + 9.6181291e-03f;
        p = p * y + 5.5504109e-02f;
        p = p * y + 2.4022651e-01f;
        p = p * y + 6.9314718e-01f;
        return y > -1.f ? p * y : power;
    }
};

template <>
struct Math<double> {
    GRAMIAN_DEVICE static double sqrt(double a) { return ::sqrt(a); }
    GRAMIAN_DEVICE static double abs(double a) { return ::fabs(a); }
    GRAMIAN_DEVICE static double log1p(double a) { return ::log1p(a); }
    GRAMIAN_DEVICE static double atan(double a) { return ::atan(a); }
    GRAMIAN_DEVICE static double select_negative(double sign, double negative, double positive) {
        return ::copysign(1.0, sign) < 0.0 ? negative : positive;
    }
    GRAMIAN_DEVICE static double exp2_minus(double y, double base) {
        return base == 0.0 ? ::exp2(y) : ::expm1(y * 0.69314718055994530942);
    }
};

/// The geometry of a pair from its inner product and the rows' norms (squared).
template <class K, class T>
GRAMIAN_DEVICE T geometry_of(T product, T norm_i, T norm_j) {
    if (K::geometry == Geometry::squared_distance) {
        const T distance = (norm_i + norm_j) - (product + product);
        return distance > T(0) ? distance : T(0);
    }
    if (K::geometry == Geometry::angle) {
        const T chord = T(2) - Math<T>::abs(product + product), nearer = chord > T(0) ? chord : T(0);
        return product < T(0) ? -nearer : nearer;
    }
    return product;
}

}  // namespace gramian::cuda

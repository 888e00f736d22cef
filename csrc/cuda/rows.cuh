#pragma once
#include "core/element.hpp"
#include "core/prepared.hpp"
#include "cuda/device_math.cuh"

// Rows of a caller's matrix, read in place by device code.
namespace gramian::cuda {

/// One element of a row, widened exactly.
template <class T>
GRAMIAN_DEVICE T element(DType dtype, const RowPointer& row, std::int64_t k) {
    const std::int64_t at = k * row.stride;
    switch (dtype) {  // the same for all threads
        case DType::f64: return static_cast<T>(reinterpret_cast<const double*>(row.data)[at]);
        case DType::f32: return static_cast<T>(reinterpret_cast<const float*>(row.data)[at]);
        case DType::f16: return static_cast<T>(widen(reinterpret_cast<const Half*>(row.data)[at]));
        default: return static_cast<T>(widen(reinterpret_cast<const BFloat16*>(row.data)[at]));
    }
}

GRAMIAN_DEVICE float rounded_product(float a, float b) { return __fmul_rn(a, b); }
GRAMIAN_DEVICE double rounded_product(double a, double b) { return __dmul_rn(a, b); }
GRAMIAN_DEVICE float rounded_difference(float a, float b) { return __fsub_rn(a, b); }
GRAMIAN_DEVICE double rounded_difference(double a, double b) { return __dsub_rn(a, b); }

/// x' of row `row`, feature k: a product and a difference, each rounded, so that equal rows give exact zeros.
template <class T>
GRAMIAN_DEVICE T prepared_element(const Operand<T>& x, const RowPointer& row, T factor, std::int64_t k) {
    const T scaled = rounded_product(factor, element<T>(x.rows.dtype(), row, k));
    return x.reference ? rounded_difference(scaled, x.reference[k]) : scaled;
}

}  // namespace gramian::cuda

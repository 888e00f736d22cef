#pragma once
#include <cstdint>

#include "core/element.hpp"
#include "core/host_device.hpp"

namespace gramian {

enum class DType : int { f64, f32, f16, bf16 };

/// An n×d matrix that someone else owns; strides count elements and may be negative.
struct MatrixView {
    const void* data = nullptr;
    std::int64_t rows = 0, cols = 0, row_stride = 0, col_stride = 0;
    DType dtype = DType::f32;
};

/// The rows of one representation: one matrix, or two of a dtype one below the other, taken in the order of `index`.
struct Rows {
    MatrixView part[2];
    std::int64_t n = 0, d = 0;
    const std::int64_t* index = nullptr;  // (n,) or null: in order

    GRAMIAN_HD DType dtype() const { return part[0].dtype; }
};

GRAMIAN_HD std::int64_t element_size(DType t) { return t == DType::f64 ? 8 : t == DType::f32 ? 4 : 2; }

/// f of a value of the element type.
template <class F>
decltype(auto) with_element(DType t, F&& f) {
    switch (t) {
        case DType::f64: return f(double{});
        case DType::f32: return f(float{});
        case DType::f16: return f(Half{});
        default: return f(BFloat16{});
    }
}

/// Where row i starts, and the distance between its features, in bytes and elements.
struct RowPointer {
    const char* data;
    std::int64_t stride;
};

GRAMIAN_HD RowPointer row_pointer(const Rows& x, std::int64_t i) {
    const std::int64_t r = x.index ? x.index[i] : i;
    const MatrixView& v = r < x.part[0].rows ? x.part[0] : x.part[1];
    const std::int64_t local = r < x.part[0].rows ? r : r - x.part[0].rows;
    return {static_cast<const char*>(v.data) + local * v.row_stride * element_size(v.dtype), v.col_stride};
}

}  // namespace gramian

// Rows of any dtype and layout into panels that the inner loop reads from start to end.
#pragma once
#include "core/element.hpp"
#include "cpu/kernels.hpp"
#include "cpu/kernels/multiply.inc.hpp"

namespace gramian {
namespace {

/// Panels [k][edge] of rows first, first+1, ... (through `map` if given; rows at or past `last` are zero). Writes up to
/// one vector past the last panel.
template <class T, class E, int edge>
void pack_elements(const Operand<T>& x, const std::int64_t* map, std::int64_t first, std::int64_t last, int rows, std::int64_t k0,
                   std::int64_t k1, T* out) {
    using V = Vector<T>;
    constexpr int run = Simd<T>::width, groups = (edge + run - 1) / run;
    T buffer[groups * run][run] = {};
    const E* source[edge];
    std::int64_t stride[edge];
    T factor[edge];
    for (int r = 0; r < rows; r += edge) {
        const std::int64_t left = last - first - r;
        const int present = left < 0 ? 0 : left < edge ? static_cast<int>(left) : edge;
        for (int i = 0; i < present; ++i) {
            const std::int64_t position = first + r + i, row = map ? map[position] : position;
            const RowPointer p = row_pointer(x.rows, row);
            source[i] = reinterpret_cast<const E*>(p.data);
            factor[i] = x.factor ? x.factor[row] : x.scale;
            stride[i] = p.stride;
        }
        for (int i = present; i < edge; ++i)
            for (int t = 0; t < run; ++t) buffer[i][t] = T(0);
        for (std::int64_t k = k0; k < k1; k += run) {
            const int count = static_cast<int>(k1 - k < run ? k1 - k : run);
            for (int i = 0; i < present; ++i) {
                const E* p = source[i] + k * stride[i];
                if (stride[i] == 1 && count == run) {
                    for (int t = 0; t < run; ++t) buffer[i][t] = factor[i] * static_cast<T>(widen(p[t]));
                } else {
                    for (int t = 0; t < count; ++t) buffer[i][t] = factor[i] * static_cast<T>(widen(p[t * stride[i]]));
                }
            }
            if (x.reference) {
                // a product and a difference, each rounded: equal rows and a reference made alike give exact zeros
                asm volatile("" : : "r"(&buffer[0][0]) : "memory");  // no fused multiply-add
                T reference[run] = {};
                for (int t = 0; t < count; ++t) reference[t] = x.reference[k + t];
                for (int i = 0; i < present; ++i)
                    for (int t = 0; t < run; ++t) buffer[i][t] -= reference[t];
            }
            // the last group first: what it writes beyond `edge` belongs to the next feature and is written again
            for (int g = groups - 1; g >= 0; --g) {
                typename V::vec v[run];
                GRAMIAN_UNROLL(16)
                for (int i = 0; i < run; ++i) v[i] = V::load(buffer[g * run + i]);
                V::transpose(v);
                T* p = out + (k - k0) * edge + g * run;
                if (count == run) {
                    GRAMIAN_UNROLL(16)
                    for (int t = 0; t < run; ++t) V::store(p + t * edge, v[t]);
                } else {
                    alignas(64) T columns[run][run];
                    for (int t = 0; t < run; ++t) V::store(columns[t], v[t]);
                    for (int t = 0; t < count; ++t) V::store(p + t * edge, V::load(columns[t]));
                }
            }
        }
        out += (k1 - k0) * edge;
    }
}

template <class T, int edge>
void pack(const Operand<T>& x, const std::int64_t* map, std::int64_t first, std::int64_t last, int rows, std::int64_t k0,
          std::int64_t k1, T* out) {
    switch (x.rows.dtype()) {
        case DType::f64: return pack_elements<T, double, edge>(x, map, first, last, rows, k0, k1, out);
        case DType::f32: return pack_elements<T, float, edge>(x, map, first, last, rows, k0, k1, out);
        case DType::f16: return pack_elements<T, Half, edge>(x, map, first, last, rows, k0, k1, out);
        case DType::bf16: return pack_elements<T, BFloat16, edge>(x, map, first, last, rows, k0, k1, out);
    }
}

}  // namespace
}  // namespace gramian

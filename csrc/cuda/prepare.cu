#include "cuda/prepare.hpp"

#include <algorithm>

#include "cuda/rows.cuh"

namespace gramian::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

int blocks_for(std::int64_t items, int per_block) {
    return static_cast<int>(std::min<std::int64_t>((items + per_block - 1) / per_block, std::int64_t{1} << 20));
}

GRAMIAN_DEVICE double sum_of_warp(double v) {
#pragma unroll
    for (int bit = 16; bit; bit >>= 1) v += __shfl_xor_sync(0xffffffffu, v, bit);
    return v;
}

GRAMIAN_DEVICE double max_of_warp(double v) {
#pragma unroll
    for (int bit = 16; bit; bit >>= 1) v = fmax(v, __shfl_xor_sync(0xffffffffu, v, bit));
    return v;
}

/// f(item) for this warp's items; all lanes take part.
template <class F>
GRAMIAN_DEVICE void each_of_warp(std::int64_t items, F f) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp; i < items;
         i += static_cast<std::int64_t>(gridDim.x) * kWarps)
        f(i, static_cast<int>(threadIdx.x) % 32);
}

__global__ void __launch_bounds__(kThreads) largest_entry(const __grid_constant__ Rows x, unsigned long long* largest) {
    each_of_warp(x.n, [&](std::int64_t i, int lane) {
        const RowPointer row = row_pointer(x, i);
        double most = 0;
#pragma unroll 1
        for (std::int64_t k = lane; k < x.d; k += 32) most = fmax(most, fabs(element<double>(x.dtype(), row, k)));
        most = max_of_warp(most);
        unsigned long long bits;  // of a positive double: in the order of the values
        memcpy(&bits, &most, sizeof bits);
        if (lane == 0) atomicMax(largest, bits);
    });
}

__global__ void __launch_bounds__(kThreads) first_nonfinite_row(const __grid_constant__ Rows x, unsigned long long* first) {
    each_of_warp(x.n, [&](std::int64_t i, int lane) {
        const RowPointer row = row_pointer(x, i);
        double bad = 0;  // x − x is 0, or NaN where x is not finite
#pragma unroll 1
        for (std::int64_t k = lane; k < x.d; k += 32) {
            const double value = element<double>(x.dtype(), row, k);
            bad += value - value;
        }
        bad = sum_of_warp(bad);
        if (lane == 0 && bad != 0) atomicMin(first, static_cast<unsigned long long>(i));
    });
}

__global__ void __launch_bounds__(kThreads)
    gather(const __grid_constant__ Rows x, const std::int64_t* rows, std::int64_t count, double* out) {
    each_of_warp(count, [&](std::int64_t i, int lane) {
        const RowPointer row = row_pointer(x, rows[i]);
#pragma unroll 1
        for (std::int64_t k = lane; k < x.d; k += 32) out[i * x.d + k] = element<double>(x.dtype(), row, k);
    });
}

__global__ void __launch_bounds__(kThreads)
    row_sizes(const __grid_constant__ Rows x, double first_scale, bool normalize, const double* reference, RowSizes* sizes) {
    each_of_warp(x.n, [&](std::int64_t i, int lane) {
        const RowPointer row = row_pointer(x, i);
        RowSizes s;
        double raw = 0;
#pragma unroll 1
        for (std::int64_t k = lane; k < x.d; k += 32) {
            const double value = first_scale * element<double>(x.dtype(), row, k);
            raw += value * value;
        }
        s.raw = ::sqrt(sum_of_warp(raw));
        const double inverse = !normalize ? 1.0 : s.raw > 0 ? 1 / s.raw : 0.0;
        double prepared = 0, l1 = 0, along = 0;
#pragma unroll 1
        for (std::int64_t k = lane; k < x.d; k += 32) {
            const double value = inverse * (first_scale * element<double>(x.dtype(), row, k));
            const double moved = reference ? value - reference[k] : value;
            if (reference) along += value * reference[k];
            prepared += moved * moved;
            l1 += fabs(moved);
        }
        s.prepared = ::sqrt(sum_of_warp(prepared));
        s.l1 = sum_of_warp(l1);
        s.along_reference = sum_of_warp(along);
        if (lane == 0) sizes[i] = s;
    });
}

__global__ void __launch_bounds__(kThreads) distances(const __grid_constant__ Rows x, const std::int64_t* first,
                                                      const std::int64_t* second, std::int64_t count, bool l1, double* out) {
    each_of_warp(count, [&](std::int64_t pair, int lane) {
        const RowPointer a = row_pointer(x, first[pair]), b = row_pointer(x, second[pair]);
        const auto difference = [&](std::int64_t k) {
            return element<double>(x.dtype(), a, k) - element<double>(x.dtype(), b, k);
        };
        double most = 1;
        double sum = 0;
#pragma unroll 1
        for (std::int64_t k = lane; k < x.d; k += 32) {
            const double t = difference(k);
            sum += l1 ? fabs(t) : t * t;
        }
        sum = sum_of_warp(sum);
        if (!l1) {
            sum = ::sqrt(sum);
            if (!(sum < 1e150 && sum > 1e-150)) {  // squares left the range of float64
                most = 0;
#pragma unroll 1
                for (std::int64_t k = lane; k < x.d; k += 32) most = fmax(most, fabs(difference(k)));
                most = max_of_warp(most);
                double scaled = 0;
#pragma unroll 1
                for (std::int64_t k = lane; k < x.d; k += 32) {
                    const double t = most > 0 ? difference(k) / most : 0.0;
                    scaled += t * t;
                }
                sum = ::sqrt(sum_of_warp(scaled));
            }
        }
        if (lane == 0) out[pair] = most * sum;
    });
}

__global__ void __launch_bounds__(kThreads)
    pack(const __grid_constant__ Operand<float> x, bool bfloat, float gain, std::uint16_t* panel, std::int64_t pitch, int low) {
    each_of_warp(x.rows.n, [&](std::int64_t i, int lane) {
        const RowPointer row = row_pointer(x.rows, i);
        const float factor = x.factor ? x.factor[i] : x.scale;
        std::uint16_t* to = panel + i * pitch;
        const std::int64_t columns = low ? low : pitch;
#pragma unroll 1
        for (std::int64_t k = lane; k < columns; k += 32) {
            const float value = k < x.rows.d ? gain * prepared_element(x, row, factor, k) : 0.f;
            const std::uint16_t high = bfloat ? ptx::to_bfloat16(value) : ptx::to_half(value);
            to[k] = high;
            if (low) {
                const float rest = value - (bfloat ? ptx::bfloat16_to_float(high) : ptx::half_to_float(high));
                to[low + k] = bfloat ? ptx::to_bfloat16(rest) : ptx::to_half(rest);
            }
        }
    });
}

}  // namespace

void launch_largest_entry(const Rows& x, unsigned long long* largest, cudaStream_t stream) {
    launch(largest_entry, blocks_for(x.n, kWarps), 1, kThreads, 0, stream, x, largest);
}

void launch_first_nonfinite(const MatrixView& x, unsigned long long* first, cudaStream_t stream) {
    const Rows rows{{x, {}}, x.rows, x.cols, nullptr};
    launch(first_nonfinite_row, blocks_for(x.rows, kWarps), 1, kThreads, 0, stream, rows, first);
}

void launch_gather(const Rows& x, const std::int64_t* rows, std::int64_t count, double* out, cudaStream_t stream) {
    launch(gather, blocks_for(count, kWarps), 1, kThreads, 0, stream, x, rows, count, out);
}

void launch_row_sizes(const Rows& x, double first_scale, bool normalize, const double* reference, RowSizes* sizes,
                      cudaStream_t stream) {
    launch(row_sizes, blocks_for(x.n, kWarps), 1, kThreads, 0, stream, x, first_scale, normalize, reference, sizes);
}

void launch_pair_distances(const Rows& x, const std::int64_t* i, const std::int64_t* j, std::int64_t count, bool l1, double* out,
                           cudaStream_t stream) {
    launch(distances, blocks_for(count, kWarps), 1, kThreads, 0, stream, x, i, j, count, l1, out);
}

void launch_pack(const Operand<float>& x, bool bfloat, float gain, std::uint16_t* panel, std::int64_t pitch, int low,
                 cudaStream_t stream) {
    launch(pack, blocks_for(x.rows.n, kWarps), 1, kThreads, 0, stream, x, bfloat, gain, panel, pitch, low);
}

}  // namespace gramian::cuda

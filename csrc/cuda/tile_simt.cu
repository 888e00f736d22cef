#include "cuda/tile_simt.hpp"

#include "cuda/rows.cuh"

namespace gramian::cuda {
namespace {

constexpr int kThreads = 256;  // 16 × 16, each 8 × 8 elements 16 apart
constexpr int kEdge = 16;
constexpr int kOwn = kTile / kEdge;
constexpr int kDepth = 16;          // features at a time
constexpr double kNear = 1.0 / 32;  // of the norms: a smaller distance is not taken from what cancels

/// Features by rows. The padding puts what a warp writes, 16 features of two rows, into different banks.
template <class T>
using Panel = T[kDepth][kTile + 8 / sizeof(T)];

template <class T>
struct Panels {
    Panel<T> row, column;
};

/// One thread's part in bringing kDepth features of kTile rows; `map` of a position gives the row, or −1 for none.
template <class T, class Map>
GRAMIAN_DEVICE void bring(const Operand<T>& x, Panel<T>& panel, std::int64_t feature, int thread, Map map) {
#pragma unroll 1
    for (int item = thread; item < kTile * kDepth; item += kThreads) {
        const int k = item % kDepth, position = item / kDepth;
        const std::int64_t row = map(position);
        T value = T(0);
        if (row >= 0 && feature + k < x.rows.d)
            value = prepared_element(x, row_pointer(x.rows, row), x.factor ? x.factor[row] : x.scale, feature + k);
        panel[k][position] = value;
    }
}

/// sum += x·y, ‖x − y‖² (for angles too) or ‖x − y‖₁ over all features.
template <class T, class K, int Columns, class RowMap, class ColumnMap>
GRAMIAN_DEVICE void accumulate(const Operand<T>& x, Panels<T>& panels, RowMap row_map, ColumnMap column_map,
                               T (&sum)[kOwn][Columns]) {
    const int thread = static_cast<int>(threadIdx.x), tx = thread % kEdge, ty = thread / kEdge;
    for (std::int64_t feature = 0; feature < x.rows.d; feature += kDepth) {
        __syncthreads();
        bring(x, panels.row, feature, thread, row_map);
        bring(x, panels.column, feature, thread, column_map);
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < kDepth; ++k) {
            T a[kOwn], b[Columns];
#pragma unroll
            for (int i = 0; i < kOwn; ++i) a[i] = panels.row[k][ty + kEdge * i];
#pragma unroll
            for (int j = 0; j < Columns; ++j) b[j] = panels.column[k][tx + kEdge * j];
#pragma unroll
            for (int i = 0; i < kOwn; ++i)
#pragma unroll
                for (int j = 0; j < Columns; ++j) {
                    if (K::geometry == Geometry::squared_distance || K::geometry == Geometry::angle) {
                        const T t = a[i] - b[j];
                        sum[i][j] += t * t;
                    } else if (K::geometry == Geometry::l1_distance) {
                        sum[i][j] += Math<T>::abs(a[i] - b[j]);
                    } else {
                        sum[i][j] += a[i] * b[j];
                    }
                }
        }
    }
}

/// ‖x + sign·y‖² of one pair, from its rows: for the few of which nothing else keeps any digits.
template <class T>
GRAMIAN_DEVICE T squared_distance(const Operand<T>& x, std::int64_t i, std::int64_t j, T sign) {
    const RowPointer row = row_pointer(x.rows, i), column = row_pointer(x.rows, j);
    const T row_factor = x.factor ? x.factor[i] : x.scale, column_factor = x.factor ? x.factor[j] : x.scale;
    T sum = T(0);
#pragma unroll 1
    for (std::int64_t k = 0; k < x.rows.d; ++k) {
        const T t = prepared_element(x, row, row_factor, k) + sign * prepared_element(x, column, column_factor, k);
        sum += t * t;
    }
    return sum;
}

/// The geometry of a pair from its distance. Unit vectors are 4 − ‖x − y‖² from each other's opposite.
template <class T, class K>
GRAMIAN_DEVICE T geometry_of_distance(const Operand<T>& x, T distance, std::int64_t i, std::int64_t j) {
    if (K::geometry != Geometry::angle || distance <= T(2)) return distance;
    return T(4) - distance < T(kNear) ? -squared_distance(x, i, j, T(1)) : distance - T(4);
}

/// The same from its product.
template <class T, class K>
GRAMIAN_DEVICE T geometry_of_product(const Operand<T>& x, T product, T norm_i, T norm_j, std::int64_t i, std::int64_t j) {
    const T t = geometry_of<K, T>(product, norm_i, norm_j);
    if (K::geometry == Geometry::squared_distance && t < T(kNear) * (norm_i + norm_j)) return squared_distance(x, i, j, T(-1));
    if (K::geometry == Geometry::angle && Math<T>::abs(t) < T(kNear))
        return product < T(0) ? -squared_distance(x, i, j, T(1)) : squared_distance(x, i, j, T(-1));
    return t;
}

/// out·φ of an accumulated product, or of a distance if that is what was accumulated.
template <class T, class K>
GRAMIAN_DEVICE T value_of(const Operand<T>& x, T sum, bool product, std::int64_t i, std::int64_t j) {
    const T wi = x.aux ? x.aux[i] : T(0), wj = x.aux ? x.aux[j] : T(0);
    const T t = product ? geometry_of_product<T, K>(x, sum, wi, wj, i, j) : geometry_of_distance<T, K>(x, sum, i, j);
    return K::template phi<Math<T>, T, T>(x.constant, t, wi, wj) * x.out;
}

template <class T, class K>
__global__ void __launch_bounds__(kThreads) tile_simt(const __grid_constant__ SimtArgs<T> args) {
    Panels<T>& panels = *reinterpret_cast<Panels<T>*>(ptx::dynamic_shared());
    const int thread = static_cast<int>(threadIdx.x), tx = thread % kEdge, ty = thread / kEdge;
    const int n = args.n;
    for (int u = args.first + static_cast<int>(blockIdx.x); u < args.last; u += static_cast<int>(gridDim.x)) {
        const Unit unit = args.units[u];
        for (int t = 0; t < unit.count; ++t) {
            const int row0 = (unit.row + t) * kTile, column0 = unit.column * kTile;
            T sum[kOwn][kOwn] = {};
            const auto within = [n](int first) {
                return [=](int position) { return first + position < n ? first + position : -1; };
            };
            accumulate<T, K, kOwn>(args.x, panels, within(row0), within(column0), sum);
            T* tile = args.values + static_cast<std::int64_t>(unit.tile + t - args.first_tile) * kTile * kTile;
#pragma unroll
            for (int i = 0; i < kOwn; ++i)
#pragma unroll
                for (int j = 0; j < kOwn; ++j) {
                    const int row = row0 + ty + kEdge * i, column = column0 + tx + kEdge * j;
                    T value = T(0);
                    if (row < column && column < n)
                        value =
                            value_of<T, K>(args.x, sum[i][j], false, row, column) - (args.x.shift[row] + args.x.shift[column]);
                    tile[(ty + kEdge * i) * kTile + tx + kEdge * j] = value;
                }
        }
    }
}

template <class K>
__global__ void __launch_bounds__(kThreads) apply(const __grid_constant__ SimtArgs<float> args) {
    for (int u = args.first + static_cast<int>(blockIdx.x); u < args.last; u += static_cast<int>(gridDim.x)) {
        const Unit unit = args.units[u];
        float* tile = args.values + static_cast<std::int64_t>(unit.tile - args.first_tile) * kTile * kTile;
        for (int e = static_cast<int>(threadIdx.x); e < unit.count * kTile * kTile; e += kThreads) {
            const int row = unit.row * kTile + e / kTile, column = unit.column * kTile + e % kTile;
            float value = 0.f;
            if (row < column && column < args.n)
                value = value_of<float, K>(args.x, tile[e], true, row, column) - (args.x.shift[row] + args.x.shift[column]);
            tile[e] = value;
        }
    }
}

template <class T, class K>
__global__ void __launch_bounds__(kThreads, 2) landmark_sums(const __grid_constant__ Operand<T> x, double* sums) {
    Panels<T>& panels = *reinterpret_cast<Panels<T>*>(ptx::dynamic_shared());
    const int thread = static_cast<int>(threadIdx.x), tx = thread % kEdge, ty = thread / kEdge;
    const std::int64_t n = x.rows.n, count = n < kLandmarks ? n : kLandmarks;
    for (std::int64_t row0 = static_cast<std::int64_t>(blockIdx.x) * kTile; row0 < n;
         row0 += static_cast<std::int64_t>(gridDim.x) * kTile) {
        T sum[kOwn][kLandmarks / kEdge] = {};
        const auto rows = [=](int position) { return row0 + position < n ? row0 + position : std::int64_t{-1}; };
        const auto landmarks = [=](int position) {
            return position < count ? landmark_row(position, count, n) : std::int64_t{-1};
        };
        accumulate<T, K, kLandmarks / kEdge>(x, panels, rows, landmarks, sum);
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
            const std::int64_t row = row0 + ty + kEdge * i;
            double total = 0;
#pragma unroll
            for (int j = 0; j < kLandmarks / kEdge; ++j) {
                const std::int64_t landmark = landmarks(tx + kEdge * j);
                if (row < n && landmark >= 0 && landmark != row)
                    total += static_cast<double>(value_of<T, K>(x, sum[i][j], false, row, landmark));
            }
#pragma unroll
            for (int bit = 8; bit; bit >>= 1) total += __shfl_xor_sync(0xffffffffu, total, bit);
            if (tx == 0) sums[row] = total;
        }
    }
}

}  // namespace

template <class T>
void launch_tiles_simt(const SimtArgs<T>& args, int blocks, cudaStream_t stream) {
    const KernelFunction kernel{args.x.kind, {}};
    kernel.visit([&](auto k) { launch(tile_simt<T, decltype(k)>, blocks, 1, kThreads, sizeof(Panels<T>), stream, args); });
}

void launch_apply(const SimtArgs<float>& args, int blocks, cudaStream_t stream) {
    const KernelFunction kernel{args.x.kind, {}};
    kernel.visit([&](auto k) { launch(apply<decltype(k)>, blocks, 1, kThreads, 0, stream, args); });
}

template <class T>
void launch_landmark_sums(const Operand<T>& x, double* sums, cudaStream_t stream) {
    const auto blocks = static_cast<int>(padded(x.rows.n) / kTile);
    const KernelFunction kernel{x.kind, {}};
    kernel.visit([&](auto k) { launch(landmark_sums<T, decltype(k)>, blocks, 1, kThreads, sizeof(Panels<T>), stream, x, sums); });
}

template void launch_tiles_simt<float>(const SimtArgs<float>&, int, cudaStream_t);
template void launch_tiles_simt<double>(const SimtArgs<double>&, int, cudaStream_t);
template void launch_landmark_sums<float>(const Operand<float>&, double*, cudaStream_t);
template void launch_landmark_sums<double>(const Operand<double>&, double*, cudaStream_t);

}  // namespace gramian::cuda

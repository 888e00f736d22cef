#include "cuda/reduce.hpp"

#include <algorithm>

#include "cuda/epilogue.cuh"

namespace gramian::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kElements = kTile * kTile;
constexpr int kGroup = 4;  // representations multiplied with as many others at once

/// Where a stored tile lies in the matrix.
struct Place {
    int row, column;
};

template <class T>
GRAMIAN_DEVICE Place place_of(const StoredTiles<T>& x, int tile) {
    const int wanted = x.first_tile + tile;
    int low = x.first, high = x.last - 1;
    while (low < high) {  // the last unit that begins at or before the tile
        const int middle = (low + high + 1) / 2;
        if (x.units[middle].tile <= wanted) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    const Unit unit = x.units[low];
    return {(unit.row + wanted - unit.tile) * kTile, unit.column * kTile};
}

/// Σ over the block, on its first thread; a fixed order.
GRAMIAN_DEVICE double block_sum(double v, double* shared) {
    const int thread = static_cast<int>(threadIdx.x);
    v = warp_sum(v);
    __syncthreads();
    if (thread % 32 == 0) shared[thread / 32] = v;
    __syncthreads();
    double sum = 0;
    if (thread == 0)
        for (int w = 0; w < kWarps; ++w) sum += shared[w];
    return sum;
}

/// Adds to a sum of two words: what is below the first one's lowest bit goes to the second.
template <class T>
GRAMIAN_DEVICE void add_wide(const StoredTiles<T>& x, unsigned long long* sum, double value) {
    const double scaled = value * x.row_scale, whole = rint(scaled),
                 rest = (scaled - whole) * static_cast<double>(1LL << kLowBits);
    atomicAdd(sum, static_cast<unsigned long long>(__double2ll_rn(whole)));
    if (rest != 0) atomicAdd(sum + x.low_words, static_cast<unsigned long long>(__double2ll_rn(rest)));
}

/// Rows and columns of one tile of f(element) added to fixed-point sums.
template <class T, class F>
GRAMIAN_DEVICE void add_rows_and_columns(const StoredTiles<T>& x, F value, const Place& at, unsigned long long* sums,
                                         double* shared) {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
    for (int row = thread / 32; row < kTile; row += kWarps) {
        double sum = 0;
#pragma unroll
        for (int k = 0; k < kTile / 32; ++k) sum += value(row * kTile + lane + 32 * k);
        sum = warp_sum(sum);
        if (lane == 0) add_wide(x, sums + at.row + row, sum);
    }
    const int column = thread % kTile, half = thread / kTile;
    double sum = 0;
    for (int row = half * kTile / 2; row < (half + 1) * kTile / 2; ++row) sum += value(row * kTile + column);
    __syncthreads();
    if (half == 1) shared[column] = sum;
    __syncthreads();
    if (half == 0) add_wide(x, sums + at.column + column, sum + shared[column]);
}

// A block for every representation of every tile; those of one tile follow each other, and so do those of pairs below:
// what they read again is still in the cache.
template <class T>
__global__ void __launch_bounds__(kThreads) row_sums(StoredTiles<T> x, std::int64_t padded_n, unsigned long long* sums) {
    double* shared = reinterpret_cast<double*>(ptx::dynamic_shared());
    const int tile = static_cast<int>(blockIdx.x) / x.m, rep = static_cast<int>(blockIdx.x) % x.m;
    const T* v = x.values + (static_cast<std::int64_t>(rep) * x.tiles + tile) * kElements;
    add_rows_and_columns(x, [&](int e) { return static_cast<double>(v[e]); }, place_of(x, tile), sums + rep * padded_n, shared);
}

/// p and q of the pair with this number, counted along the rows of the upper triangle.
GRAMIAN_DEVICE void pair_of(int number, int m, int& p, int& q) {
    p = 0;
    while (number >= m - p) number -= m - p++;
    q = p + number;
}

template <class T>
__global__ void __launch_bounds__(kThreads) row_products(StoredTiles<T> x, std::int64_t padded_n, unsigned long long* sums) {
    double* shared = reinterpret_cast<double*>(ptx::dynamic_shared());
    const int pairs = x.m * (x.m + 1) / 2;
    const int tile = static_cast<int>(blockIdx.x) / pairs, pair = static_cast<int>(blockIdx.x) % pairs;
    int p, q;
    pair_of(pair, x.m, p, q);
    const T* a = x.values + (static_cast<std::int64_t>(p) * x.tiles + tile) * kElements;
    const T* b = x.values + (static_cast<std::int64_t>(q) * x.tiles + tile) * kElements;
    add_rows_and_columns(
        x, [&](int e) { return static_cast<double>(a[e]) * static_cast<double>(b[e]); }, place_of(x, tile),
        sums + pair * padded_n, shared);
}

GRAMIAN_HD int groups_of(int representations) { return (representations + kGroup - 1) / kGroup; }

/// Blocks for the pairs of a tile: one for every two groups that meet, and of a split one more for every group with itself.
GRAMIAN_HD int blocks_across(const Pairs& x) { return groups_of(x.split) * groups_of(x.m - x.split); }
GRAMIAN_HD int blocks_of(const Pairs& x) {
    const int groups = groups_of(x.m);
    return x.split == 0 ? groups * (groups + 1) / 2 : blocks_across(x) + (x.own ? groups : 0);
}

template <class T>
__global__ void __launch_bounds__(kThreads) pair_sums(StoredTiles<T> x, Pairs pairs, double* terms) {
    double* shared = reinterpret_cast<double*>(ptx::dynamic_shared());
    const int blocks = blocks_of(pairs), tile = static_cast<int>(blockIdx.x) / blocks, thread = static_cast<int>(threadIdx.x);
    const int number = static_cast<int>(blockIdx.x) % blocks, across = blocks_across(pairs);
    const bool own = pairs.split > 0 && number >= across;  // each of a group with itself alone
    int p, q, p_end = x.m;                                 // the groups' first
    if (pairs.split == 0) {
        pair_of(number, groups_of(x.m), p, q);
        p *= kGroup, q *= kGroup;
    } else if (own) {
        p = q = (number - across) * kGroup;
    } else {
        const int columns = groups_of(x.m - pairs.split);
        p = number / columns * kGroup, q = pairs.split + number % columns * kGroup, p_end = pairs.split;
    }
    const T* v = x.values + static_cast<std::int64_t>(tile) * kElements;
    const std::int64_t stride = static_cast<std::int64_t>(x.tiles) * kElements;
    T sum[kGroup][kGroup];
#pragma unroll
    for (int i = 0; i < kGroup; ++i)
#pragma unroll
        for (int j = 0; j < kGroup; ++j) sum[i][j] = T(0);
    for (int e = thread; e < kElements; e += kThreads) {
        T a[kGroup], b[kGroup];
#pragma unroll
        for (int i = 0; i < kGroup; ++i) {
            a[i] = p + i < p_end ? v[(p + i) * stride + e] : T(0);
            b[i] = q + i < x.m ? v[(q + i) * stride + e] : T(0);
        }
#pragma unroll
        for (int i = 0; i < kGroup; ++i)
#pragma unroll
            for (int j = 0; j < kGroup; ++j) sum[i][j] += a[i] * b[j];
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i)
#pragma unroll
        for (int j = 0; j < kGroup; ++j) {
            const int r = p + i, c = q + j;
            if (r >= p_end || c >= x.m || (own ? r != c : r > c)) continue;  // the same for all threads
            const double total = block_sum(static_cast<double>(sum[i][j]), shared);
            if (thread == 0) terms[static_cast<std::int64_t>(tile) * pairs.count() + pairs.number(r, c)] = total;
        }
}

// A block for every pair of every tile, and one more for the difference.
template <class T>
__global__ void __launch_bounds__(kThreads) squares(StoredTiles<T> x, int pairs, T weight0, T weight1, double* terms) {
    double* shared = reinterpret_cast<double*>(ptx::dynamic_shared());
    const int tile = static_cast<int>(blockIdx.x) / (pairs + 1), number = static_cast<int>(blockIdx.x) % (pairs + 1);
    const int thread = static_cast<int>(threadIdx.x);
    const bool difference = number == pairs;
    int p = 0, q = x.m > 1 ? 1 : 0;
    if (!difference) pair_of(number, x.m, p, q);
    const T* a = x.values + (static_cast<std::int64_t>(p) * x.tiles + tile) * kElements;
    const T* b = x.values + (static_cast<std::int64_t>(q) * x.tiles + tile) * kElements;
    T sum = T(0);
    for (int e = thread; e < kElements; e += kThreads) {
        const T t = difference ? a[e] * weight0 - b[e] * weight1 : a[e] * b[e];
        sum += t * t;
    }
    const double total = block_sum(static_cast<double>(sum), shared);
    if (thread == 0) terms[static_cast<std::int64_t>(tile) * (pairs + 1) + number] = total;
}

// grid: (tiles, 2): rows times the columns' vectors, and columns times the rows'
template <class T>
__global__ void __launch_bounds__(kThreads)
    multiply(StoredTiles<T> x, const double* vectors, int columns, unsigned long long* sums) {
    const int tile = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
    const bool transposed = blockIdx.y == 1;
    const Place at = place_of(x, tile);
    const T* v = x.values + static_cast<std::int64_t>(tile) * kElements;
    const int to = transposed ? at.column : at.row, from = transposed ? at.row : at.column;
    for (int item = thread; item < kTile * columns; item += kThreads) {
        const int row = item / columns, column = item % columns;
        double sum = 0;
        for (int k = 0; k < kTile; ++k) {
            const T value = transposed ? v[k * kTile + row] : v[row * kTile + k];
            sum += static_cast<double>(value) * vectors[static_cast<std::int64_t>(from + k) * columns + column];
        }
        add_wide(x, sums + static_cast<std::int64_t>(to + row) * columns + column, sum);
    }
}

// grid: (columns, parts); a thread for every kThreads·parts-th term, a block for every total
__global__ void __launch_bounds__(kThreads) total(const double* terms, std::int64_t count, int columns, PairSum* totals) {
    PairSum* shared = reinterpret_cast<PairSum*>(ptx::dynamic_shared());
    const int thread = static_cast<int>(threadIdx.x), column = static_cast<int>(blockIdx.x), part = static_cast<int>(blockIdx.y);
    const std::int64_t stride = static_cast<std::int64_t>(kThreads) * gridDim.y;
    PairSum sum{};
    for (std::int64_t term = static_cast<std::int64_t>(part) * kThreads + thread; term < count; term += stride)
        sum.add(2 * terms[term * columns + column]);
    shared[thread] = sum;
    for (int half = kThreads / 2; half; half /= 2) {
        __syncthreads();
        if (thread < half) shared[thread].add(shared[thread + half].limb);
    }
    if (thread == 0) totals[static_cast<std::int64_t>(part) * columns + column].add(shared[0].limb);
}

constexpr std::size_t kShared = kTile * sizeof(double);

}  // namespace

template <class T>
void launch_row_sums(const StoredTiles<T>& x, std::int64_t padded_n, unsigned long long* sums, cudaStream_t stream) {
    launch(row_sums<T>, x.tiles * x.m, 1, kThreads, kShared, stream, x, padded_n, sums);
}

template <class T>
void launch_row_products(const StoredTiles<T>& x, std::int64_t padded_n, unsigned long long* sums, cudaStream_t stream) {
    launch(row_products<T>, x.tiles * (x.m * (x.m + 1) / 2), 1, kThreads, kShared, stream, x, padded_n, sums);
}

template <class T>
void launch_pair_sums(const StoredTiles<T>& x, const Pairs& pairs, double* terms, cudaStream_t stream) {
    if (pairs.count() == 0) return;
    launch(pair_sums<T>, x.tiles * blocks_of(pairs), 1, kThreads, kShared, stream, x, pairs, terms);
}

template <class T>
void launch_squares(const StoredTiles<T>& x, T weight0, T weight1, double* terms, cudaStream_t stream) {
    const int pairs = x.m * (x.m + 1) / 2;
    launch(squares<T>, x.tiles * (pairs + 1), 1, kThreads, kShared, stream, x, pairs, weight0, weight1, terms);
}

template <class T>
void launch_multiply(const StoredTiles<T>& x, const double* vectors, int columns, unsigned long long* sums, cudaStream_t stream) {
    launch(multiply<T>, x.tiles, 2, kThreads, 0, stream, x, vectors, columns, sums);
}

void launch_total(const double* terms, std::int64_t count, int columns, PairSum* totals, cudaStream_t stream) {
    if (columns == 0 || count == 0) return;
    const auto parts = static_cast<int>(std::min<std::int64_t>((count + kThreads - 1) / kThreads, kTotals));
    launch(total, columns, parts, kThreads, kThreads * sizeof(PairSum), stream, terms, count, columns, totals);
}

#define GRAMIAN_INSTANTIATE(T)                                                                                    \
    template void launch_row_sums<T>(const StoredTiles<T>&, std::int64_t, unsigned long long*, cudaStream_t);     \
    template void launch_row_products<T>(const StoredTiles<T>&, std::int64_t, unsigned long long*, cudaStream_t); \
    template void launch_pair_sums<T>(const StoredTiles<T>&, const Pairs&, double*, cudaStream_t);                \
    template void launch_squares<T>(const StoredTiles<T>&, T, T, double*, cudaStream_t);                          \
    template void launch_multiply<T>(const StoredTiles<T>&, const double*, int, unsigned long long*, cudaStream_t);
GRAMIAN_INSTANTIATE(float)
GRAMIAN_INSTANTIATE(double)
#undef GRAMIAN_INSTANTIATE

}  // namespace gramian::cuda

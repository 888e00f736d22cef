#include "cuda/neighbors.hpp"

#include <limits>

#include "cuda/rows.cuh"

namespace gramian::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kOwn = 32;           // rows of the matrix that a block keeps the lists of
constexpr int kPitch = kTile + 1;  // of a panel in shared memory: what is written down its columns goes to different banks
constexpr int kFree = std::numeric_limits<int>::max();

/// A stored tile as its rows or its columns see it.
struct Side {
    int tile;   // among the stored ones
    int other;  // the tile's number along the other edge
    bool transposed;
};

template <class T>
struct NearestArgs {
    ExactRows exact;
    double out;        // of exact values to the tiles' units
    const T* values;   // (tiles, kTile, kTile)
    const int* edges;  // (participants) numbers of tiles along the edge that have stored tiles
    const int* begin;  // (participants + 1) where their sides begin
    const Side* sides;
    int n, k;
    int* index;     // (n, k) nearest first; free places behind all others
    double* value;  // (n, k)
};

/// Puts a neighbour into a list in its order; a warp together.
GRAMIAN_DEVICE void insert(int* index, double* value, int k, double v, int j, int lane) {
    if (!goes_before(v, j, value[k - 1], index[k - 1])) return;
    int place = 0;
    for (int first = 0; first < k; first += 32) {
        const int t = first + lane;
        const bool before = t < k && !goes_before(v, j, value[t], index[t]);
        const int count = __popc(__ballot_sync(0xffffffffu, before));
        place += count;
        if (count < 32) break;
    }
    for (int first = (k - 1) / 32 * 32; first >= place / 32 * 32; first -= 32) {
        const int t = first + lane;
        const bool moves = t > place && t < k;
        double moved = 0;
        int moved_index = 0;
        if (moves) moved = value[t - 1], moved_index = index[t - 1];
        __syncwarp();
        if (moves) value[t] = moved, index[t] = moved_index;
        __syncwarp();
    }
    if (lane == 0) value[place] = v, index[place] = j;
    __syncwarp();
}

/// Computes the pairs of a row that may be near, a lane for each, and puts them into its list.
template <class T, class E>
GRAMIAN_DEVICE void settle(const NearestArgs<T>& args, int row, int other, bool may) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    int* index = args.index + static_cast<std::int64_t>(row) * args.k;
    double* value = args.value + static_cast<std::int64_t>(row) * args.k;
    double exact = 0;
    if (may) exact = args.out * exact_value<E>(args.exact, min(row, other), max(row, other));
    for (unsigned found = __ballot_sync(0xffffffffu, may); found; found &= found - 1) {
        const int from = __ffs(static_cast<int>(found)) - 1;
        insert(index, value, args.k, __shfl_sync(0xffffffffu, exact, from), __shfl_sync(0xffffffffu, other, from), lane);
    }
}

/// What may still enter a list: from which tile value on, and below which index.
struct Limit {
    double least;
    int settled;
};

template <class T>
GRAMIAN_DEVICE Limit limit_of(const NearestArgs<T>& args, std::int64_t end, double most) {
    const double last = args.value[end];
    const int index = args.index[end];
    if (index == kFree) return {-kInfinity, kFree};
    return {args.out * exact_tile_value(args.exact, last / args.out), last == most ? index : kFree};
}

// A block owns kOwn rows, its warps kOwn/kWarps of them each, for the whole launch: nobody else touches their lists. For one
// side of a tile after the other the block brings kOwn × kTile values to shared memory, and each warp compares 32 of them at a
// time with the last of a row's list. What passes is computed in float64, a pair to a lane, and inserted by all of them.
// Bound by reading the tiles, each of them twice.
template <class T, class E>
__global__ void __launch_bounds__(kThreads, 2) nearest(const __grid_constant__ NearestArgs<T> args) {
    T* panel = reinterpret_cast<T*>(ptx::dynamic_shared());
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int participant = static_cast<int>(blockIdx.x) / (kTile / kOwn);
    const int own = static_cast<int>(blockIdx.x) % (kTile / kOwn) * kOwn;
    const int row0 = args.edges[participant] * kTile + own;
    for (int s = args.begin[participant]; s < args.begin[participant + 1]; ++s) {
        const Side side = args.sides[s];
        const T* v = args.values + static_cast<std::int64_t>(side.tile) * kTile * kTile;
        __syncthreads();  // the last panel has been read
        for (int item = thread; item < kOwn * kTile; item += kThreads) {
            if (side.transposed) {
                panel[item % kOwn * kPitch + item / kOwn] = v[item / kOwn * kTile + own + item % kOwn];
            } else {
                panel[item / kTile * kPitch + item % kTile] = v[own * kTile + item];
            }
        }
        __syncthreads();
        for (int r = warp; r < kOwn && row0 + r < args.n; r += kWarps) {
            const int row = row0 + r;
            const std::int64_t end = static_cast<std::int64_t>(row + 1) * args.k - 1;
            const double most = args.out * exact_maximum(args.exact, row);
            Limit limit = limit_of(args, end, most);
#pragma unroll 1
            for (int first = 0; first < kTile; first += 32) {
                const int other = side.other * kTile + first + lane;
                const bool may = other < args.n && (side.transposed ? other < row : other > row) && other < limit.settled &&
                                 static_cast<double>(panel[r * kPitch + first + lane]) >= limit.least;
                if (!__any_sync(0xffffffffu, may)) continue;
                settle<T, E>(args, row, other, may);
                limit = limit_of(args, end, most);
            }
        }
    }
}

// A thread for a row.
template <class E>
__global__ void __launch_bounds__(kThreads) row_sizes_for_values(ExactRows exact, RowSize what, double* size) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i < exact.rows.n) write_row_size<E>(exact, what, i, size);
}

// A thread for a place.
__global__ void __launch_bounds__(kThreads) clear_lists(std::int64_t count, int* index, double* value) {
    const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (t >= count) return;
    index[t] = kFree;
    value[t] = -kInfinity;
}

int blocks_for(std::int64_t items) { return static_cast<int>((items + kThreads - 1) / kThreads); }

/// f of a value of the element type that tiles of T were made of.
template <class T, class F>
void with_element_of(DType t, F&& f) {
    with_element(t, [&](auto e) {
        if constexpr ((sizeof(e) == sizeof(double)) == (sizeof(T) == sizeof(double))) f(e);
    });
}

}  // namespace

template <class T>
NeighborLists<T>::NeighborLists(const Representation& given, const DeviceRepresentation<T>& tiles, std::int64_t k,
                                cudaStream_t stream)
    : stream_(stream),
      n_(given.rows.n),
      k_(k),
      out_(static_cast<double>(tiles.host.operand.out)),
      exact_(exact_rows(given, tiles.host)),
      value_(n_ * k, stream),
      index_(n_ * k, stream) {
    exact_.rows = tiles.operand.rows;  // with its index on the device
    const RowSize read = row_size_of(exact_.ranking);
    if (read != RowSize::none) {
        size_ = DeviceBuffer<double>(read == RowSize::square ? 2 * n_ : n_, stream);
        with_element_of<T>(exact_.rows.dtype(), [&](auto e) {
            launch(row_sizes_for_values<decltype(e)>, blocks_for(n_), 1, kThreads, 0, stream, exact_, read, size_.data());
        });
        exact_.size = size_.data();
    }
    launch(clear_lists, blocks_for(n_ * k_), 1, kThreads, 0, stream, n_ * k_, index_.data(), value_.data());
}

template <class T>
void NeighborLists<T>::add(const T* values, const std::vector<Unit>& units, int first, int last) {
    // the sides of the tiles, by the number of the tile of rows that they tell about
    std::vector<int> count(static_cast<std::size_t>(padded(n_) / kTile + 1), 0);
    const auto over_sides = [&](auto&& f) {
        int tile = 0;
        for (int u = first; u < last; ++u) {
            const Unit& unit = units[static_cast<std::size_t>(u)];
            for (int t = 0; t < unit.count; ++t, ++tile) {
                f(unit.row + t, Side{tile, unit.column, false});
                f(unit.column, Side{tile, unit.row + t, true});
            }
        }
    };
    over_sides([&](int edge, const Side&) { ++count[static_cast<std::size_t>(edge)]; });
    std::vector<int> edges, begin{0}, place(count.size());
    for (std::size_t edge = 0; edge < count.size(); ++edge) {
        if (count[edge] == 0) continue;
        place[edge] = begin.back();
        edges.push_back(static_cast<int>(edge));
        begin.push_back(begin.back() + count[edge]);
    }
    std::vector<Side> sides(static_cast<std::size_t>(begin.back()));
    over_sides(
        [&](int edge, const Side& side) { sides[static_cast<std::size_t>(place[static_cast<std::size_t>(edge)]++)] = side; });

    const auto participants = static_cast<std::int64_t>(edges.size());
    DeviceBuffer<int> edges_on_device(participants, stream_), begin_on_device(participants + 1, stream_);
    DeviceBuffer<Side> sides_on_device(static_cast<std::int64_t>(sides.size()), stream_);
    edges_on_device.from_host(edges.data(), participants);
    begin_on_device.from_host(begin.data(), participants + 1);
    sides_on_device.from_host(sides.data(), sides_on_device.size());
    const NearestArgs<T> args{exact_,
                              out_,
                              values,
                              edges_on_device.data(),
                              begin_on_device.data(),
                              sides_on_device.data(),
                              static_cast<int>(n_),
                              static_cast<int>(k_),
                              index_.data(),
                              value_.data()};
    with_element_of<T>(exact_.rows.dtype(), [&](auto e) {
        launch(nearest<T, decltype(e)>, static_cast<int>(participants) * (kTile / kOwn), 1, kThreads, kOwn * kPitch * sizeof(T),
               stream_, args);
    });
}

template <class T>
void NeighborLists<T>::take(std::vector<std::int64_t>& index, std::vector<double>& value) const {
    std::vector<int> found(static_cast<std::size_t>(n_ * k_));
    value.resize(found.size());
    index_.to_host(found.data(), n_ * k_);
    value_.to_host(value.data(), n_ * k_);
    index.resize(found.size());
    for (std::size_t t = 0; t < found.size(); ++t) {
        index[t] = found[t] == kFree ? -1 : found[t];
        if (index[t] < 0) value[t] = std::numeric_limits<double>::quiet_NaN();
    }
}

template class NeighborLists<float>;
template class NeighborLists<double>;

}  // namespace gramian::cuda

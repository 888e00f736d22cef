#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <mutex>
#include <new>

#include "cpu/instruction_set.hpp"
#include "cpu/kernels.hpp"
#include "cpu/neighbors.hpp"
#include "cpu/prepare.hpp"
#include "cpu/thread_pool.hpp"

namespace gramian {

#define GRAMIAN_DECLARE(isa)                         \
    const TileKernels<float>& float_kernels_##isa(); \
    const TileKernels<double>& double_kernels_##isa();
GRAMIAN_DECLARE(baseline)
GRAMIAN_DECLARE(avx2)
GRAMIAN_DECLARE(avx512)
#undef GRAMIAN_DECLARE

template <>
const TileKernels<float>& tile_kernels<float>() {
#ifdef GRAMIAN_X86
    if (instruction_set() == InstructionSet::avx512) return float_kernels_avx512();
    if (instruction_set() == InstructionSet::avx2) return float_kernels_avx2();
#endif
    return float_kernels_baseline();
}

template <>
const TileKernels<double>& tile_kernels<double>() {
#ifdef GRAMIAN_X86
    if (instruction_set() == InstructionSet::avx512) return double_kernels_avx512();
    if (instruction_set() == InstructionSet::avx2) return double_kernels_avx2();
#endif
    return double_kernels_baseline();
}

namespace {

constexpr std::int64_t kMemory = std::int64_t{40} << 20;          // scratch of all threads together
constexpr std::int64_t kMemoryPerThread = std::int64_t{4} << 20;  // but never less than this for one
constexpr std::int64_t kMostTiles = 16;                           // along a block's edge
constexpr std::int64_t kChunk = 1024;                             // features at a time when a tile's rows do not fit
constexpr std::int64_t kBlocksPerThread = 4;                      // along the edge, so that threads finish together

struct AlignedFree {
    void operator()(char* p) const { std::free(p); }
};
using Memory = std::unique_ptr<char, AlignedFree>;

Memory aligned(std::size_t bytes) {
    char* p = static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64));
    if (!p) throw std::bad_alloc();
    return Memory(p);
}

/// Row sums that all threads add to, one lock for each tile's worth of rows.
struct SharedRows {
    std::int64_t n, columns;
    RowSum* rows;
    std::unique_ptr<std::mutex[]> locks;

    static void add_rows(void* owner, int which, std::int64_t first, int count, const double* values) {
        auto& self = *static_cast<SharedRows*>(owner);
        const std::lock_guard lock(self.locks[static_cast<std::size_t>(first / kTileEdge)]);
        RowSum* row = self.rows + which * self.n + first;
        for (int i = 0; i < count; ++i) row[i].add(values[i]);
    }
    static void add_vectors(void* owner, std::int64_t first, int count, const double* values) {
        auto& self = *static_cast<SharedRows*>(owner);
        const std::lock_guard lock(self.locks[static_cast<std::size_t>(first / kTileEdge)]);
        RowSum* row = self.rows + first * self.columns;
        for (int i = 0; i < count; ++i)
            for (std::int64_t c = 0; c < self.columns; ++c)
                row[i * self.columns + c].add(values[i * padded_columns(self.columns) + c]);
    }
    static std::int64_t padded_columns(std::int64_t columns) { return (columns + 7) / 8 * 8; }
    static bool stop(void*) { return stop_requested(); }
};

/// How much of the data is packed at once: as many tiles as memory allows, but enough blocks for every thread.
template <class T>
void choose_blocks(Plan<T>& plan, std::int64_t side, std::int64_t memory, int threads) {
    const std::int64_t budget = std::max((memory ? memory : kMemory) / threads, memory ? 0 : kMemoryPerThread);
    plan.chunk = kChunk;
    plan.strips = tile_kernels<T>().strips;
    const auto bytes = [&] { return static_cast<std::int64_t>(tile_kernels<T>().workspace_bytes(plan)); };
    for (plan.block = std::clamp(side / (kBlocksPerThread * threads), std::int64_t{2}, kMostTiles); plan.block > 0;
         --plan.block) {
        if (plan.block <= std::max<std::int64_t>(side, 1) && bytes() <= budget) return;
    }
    // by chunks of features, or a tile at a time if that takes less
    while (plan.strips > 1 && bytes() > budget) plan.strips /= 2;
    const std::int64_t chunked = bytes();
    plan.block = 1;
    if (bytes() > chunked) plan.block = 0;
}

/// Σ out·φ(x_i, x_l) over the landmarks l ≠ i, for every row.
template <class T>
std::vector<double> landmark_sums(const Operand<T>& operand, std::int64_t n, int threads) {
    const TileKernels<T>& kernels = tile_kernels<T>();
    Plan<T> plan{};
    plan.x = &operand;
    plan.m = 1;
    plan.n = n;
    plan.statistic = Statistic::star;
    plan.chunk = kChunk;
    plan.strips = kernels.strips;
    const std::size_t bytes = kernels.workspace_bytes(plan);
    const std::int64_t tiles = (n + kTileEdge - 1) / kTileEdge;
    std::vector<Memory> memory(static_cast<std::size_t>(threads));
    std::vector<double> sums(static_cast<std::size_t>(tiles * kTileEdge));
    parallel_for(tiles, threads, [&](int thread, std::int64_t tile) {
        Memory& own = memory[static_cast<std::size_t>(thread)];
        if (!own) own = aligned(bytes);
        Workspace workspace{own.get(), -1};
        kernels.landmark_sums(plan, workspace, 0, tile, sums.data() + tile * kTileEdge);
    });
    return sums;
}

/// Row and column of an item of the upper triangle of side×side, counted along the rows.
std::pair<std::int64_t, std::int64_t> upper_triangle(std::int64_t item, std::int64_t side) {
    const auto first = [&](std::int64_t row) { return row * side - row * (row - 1) / 2; };
    std::int64_t low = 0, high = side - 1;
    while (low < high) {
        const std::int64_t middle = (low + high + 1) / 2;
        if (first(middle) <= item) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return {low, low + item - first(low)};
}

/// The same with the diagonal in front: of data in some order, time or class, the nearest lie there, and after it few other
/// pairs have to be looked at twice.
std::pair<std::int64_t, std::int64_t> diagonal_first(std::int64_t item, std::int64_t side) {
    if (item < side) return {item, item};
    const auto [row, col] = upper_triangle(item - side, side - 1);
    return {row, col + 1};
}

template <class T>
SweepResult run(const SweepArgs& args) {
    const int m = static_cast<int>(args.x.size());
    const std::int64_t n = args.x[0].rows.n;
    const int threads = args.threads > 0 ? args.threads : pool_threads();
    const TileKernels<T>& kernels = tile_kernels<T>();
    const TileSchedule schedule(n, args.shard);

    std::vector<Prepared<T>> prepared(args.x.size());
    std::vector<Operand<T>> operands(args.x.size());
    std::vector<int> base(args.x.size());
    std::unique_ptr<NeighborLists<T>> neighbors;
    for (std::size_t q = 0; q < args.x.size(); ++q) {
        Representation x = args.x[q];
        Prepared<T>& p = prepared[q];
        base[q] = x.base < 0 ? 1 : x.base;
        if (args.statistic == Statistic::topk) x.kernel = ranking_kernel(x.kernel);
        prepare<T>(x, base[q], threads, p);
        if (args.statistic == Statistic::topk) {
            neighbors = std::make_unique<NeighborLists<T>>(args.x[q], p, args.neighbors, threads);
            p.shift = neighbors->tile_shift();
            p.operand.shift = p.shift.data();
            operands[q] = p.operand;
            break;
        }
        const bool chosen_here = x.base < 0 && has_base(x.kernel), narrow = x.base == 0 && has_base(x.kernel);
        std::vector<double> sums;
        if (!x.shift || chosen_here || narrow) sums = landmark_sums(p.operand, n, threads);
        if (chosen_here && mean_of_landmarks(sums, n) < -0.5 * static_cast<double>(p.operand.out)) {
            base[q] = 0;
            prepare<T>(x, base[q], threads, p);
            sums = landmark_sums(p.operand, n, threads);
        }
        // values that are all small are rounded at their own scale
        if (base[q] == 0 && has_base(x.kernel)) {
            p.rounding = narrow_rounding<T>(sums, n);
        }
        if (x.shift) {
            p.shift.resize(static_cast<std::size_t>(n));
            for (std::size_t i = 0; i < p.shift.size(); ++i)
                p.shift[i] = static_cast<T>(x.shift[i] - p.offset[i] + (x.rest ? x.rest[i] : 0.0));
        } else {
            set_shift(sums, n, p.shift);
        }
        p.operand.shift = p.shift.data();
        operands[q] = p.operand;
    }

    Plan<T> plan{};
    plan.x = operands.data();
    plan.m = m;
    plan.n = n;
    plan.statistic = args.statistic;
    plan.pairs = pairs_of(args.statistic, m, args.split);
    plan.weight[0] = static_cast<T>(args.weight[0]);
    plan.weight[1] = static_cast<T>(args.weight[1]);
    std::vector<double> vectors;
    if (args.statistic == Statistic::matmul) {
        plan.columns = static_cast<int>(SharedRows::padded_columns(args.columns));
        vectors.assign(static_cast<std::size_t>(n * plan.columns), 0.0);
        for (std::int64_t i = 0; i < n; ++i)
            std::copy_n(args.vectors + i * args.columns, args.columns, vectors.data() + i * plan.columns);
        plan.vectors = vectors.data();
    }

    choose_blocks(plan, schedule.side(), args.memory, threads);
    const std::int64_t edge = std::max<std::int64_t>(plan.block, 1), blocks = (schedule.side() + edge - 1) / edge;
    SweepResult result;
    const auto pairs = static_cast<std::size_t>(plan.pairs.count());
    const std::size_t row_vectors = args.statistic == Statistic::moments    ? args.x.size()
                                    : args.statistic == Statistic::products ? pairs
                                    : args.statistic == Statistic::matmul   ? static_cast<std::size_t>(args.columns)
                                                                            : 0;
    result.rows.assign(row_vectors * static_cast<std::size_t>(n), RowSum{});
    SharedRows shared{n, args.columns, result.rows.data(),
                      std::make_unique<std::mutex[]>(static_cast<std::size_t>(schedule.side()))};

    struct Own {
        Memory memory;
        Workspace workspace{nullptr, -1};
        std::vector<PairSum> pairs, squares;
        PairSum difference{};
    };
    std::vector<Own> own(static_cast<std::size_t>(threads));
    const std::size_t bytes = kernels.workspace_bytes(plan);
    const std::int64_t total = blocks * (blocks + 1) / 2;
    parallel_for(
        total, threads,
        [&](int thread, std::int64_t item) {
            Own& mine = own[static_cast<std::size_t>(thread)];
            if (!mine.memory) {
                mine.memory = aligned(bytes);
                mine.workspace.memory = mine.memory.get();
                mine.pairs.assign(pairs, PairSum{});
                mine.squares.assign(pairs, PairSum{});
            }
            const Sink sink{&shared,
                            SharedRows::add_rows,
                            SharedRows::add_vectors,
                            SharedRows::stop,
                            mine.pairs.data(),
                            mine.squares.data(),
                            &mine.difference,
                            neighbors.get(),
                            NeighborLists<T>::thresholds,
                            NeighborLists<T>::offer};
            const auto [i, j] = neighbors ? diagonal_first(item, blocks) : upper_triangle(item, blocks);
            kernels.block(plan, schedule, mine.workspace, sink, i, j);
        },
        [&](std::int64_t done) {
            if (args.progress) args.progress(done, total);
        });
    if (args.progress) args.progress(total, total);

    result.tiles = schedule.owned();
    result.all_tiles = schedule.tiles();
    result.single = sizeof(T) == sizeof(float);
    result.epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
    result.pairs.assign(pairs, PairSum{});
    if (args.statistic == Statistic::products) result.squares.assign(pairs, PairSum{});
    for (const Own& mine : own) {
        if (mine.pairs.empty() && pairs) continue;
        for (std::size_t p = 0; p < pairs; ++p) {
            result.pairs[p].add(mine.pairs[p].limb);
            if (args.statistic == Statistic::products) result.squares[p].add(mine.squares[p].limb);
        }
        result.difference.add(mine.difference.limb);
    }
    if (neighbors) neighbors->take(threads, result.index, result.similarity);
    for (std::size_t q = 0; q < prepared.size(); ++q) {
        Prepared<T>& p = prepared[q];
        result.exponent.push_back(p.exponent);
        result.base.push_back(base[q]);
        result.rounding.push_back(p.rounding);
        if (neighbors) continue;
        result.offset.push_back(p.offset);
        result.rest.emplace_back(p.shift.begin(), p.shift.end());
        for (std::size_t i = 0; i < p.offset.size(); ++i) {
            p.diagonal[i] -= 2 * static_cast<double>(p.shift[i]);
            p.offset[i] += static_cast<double>(p.shift[i]);
        }
        result.shift.push_back(std::move(p.offset));
        result.diagonal.push_back(std::move(p.diagonal));
    }
    return result;
}

}  // namespace

SweepResult sweep_cpu(const SweepArgs& args) {
    const bool stored =
        std::any_of(args.x.begin(), args.x.end(), [](const Representation& x) { return x.rows.dtype() == DType::f64; });
    if (args.wide || stored) return run<double>(args);
    try {
        return run<float>(args);
    } catch (const NeedsFloat64&) {
        return run<double>(args);
    }
}

}  // namespace gramian

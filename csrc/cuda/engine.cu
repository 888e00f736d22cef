#include "cuda/engine.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "cuda/neighbors.hpp"
#include "cuda/prepare.hpp"
#include "cuda/reduce.hpp"
#include "cuda/representation.hpp"
#include "cuda/tile_launch.hpp"
#include "cuda/tile_simt.hpp"

namespace gramian::cuda {
namespace {

constexpr int kLeastVersion = 75;
constexpr std::int64_t kDefaultMemory = std::int64_t{1} << 30;  // of stored tiles, if the device has it four times over
constexpr double kFlopsOfLaunch = 2e13;                         // some 50 ms: between launches Ctrl-C is heard
constexpr int kRowBits = 58;                                    // of |Σ| ≤ 16·n: what a row's fixed-point sum has room for

/// A fixed-point sum as the engines exchange it: the same integer, its lowest bit moved up to where 2^-bits is.
RowSum row_sum(unsigned long long fixed, int bits) {
    const int up = RowSum::fraction - bits, word = up / 64, offset = up % 64;
    const std::uint64_t sign = fixed >> 63 ? ~std::uint64_t{0} : 0;
    RowSum sum{};
    for (int i = word; i < RowSum::limbs; ++i) {
        const std::uint64_t low = i == word ? 0 : i == word + 1 ? fixed : sign, high = i == word ? fixed : sign;
        sum.limb[i] = offset ? high << offset | low >> (64 - offset) : high;
    }
    return sum;
}

std::int64_t countable(std::int64_t rows) {
    if (rows > std::numeric_limits<int>::max() - 2 * kTile)
        throw std::runtime_error("the CUDA engine counts rows in 32 bits; got " + std::to_string(rows) + " rows");
    return rows;
}

/// A sweep under way: what its launches share.
template <class T>
class Sweep {
public:
    Sweep(const SweepArgs& args, cudaStream_t stream)
        : args_(args),
          stream_(stream),
          clock_(stream),
          device_(capability()),
          n_(countable(args.x[0].rows.n)),
          m_(static_cast<int>(args.x.size())),
          chosen_(pairs_of(args.statistic, m_, args.split)),
          pairs_(chosen_.count()),
          units_(make_units(n_, setting("GRAMIAN_CUDA_UNIT", 0))),
          owned_(owned_units(units_, args.shard)),
          row_bits_(kRowBits - std::max(0, static_cast<int>(std::ceil(std::log2(static_cast<double>(n_)))))),
          row_scale_(std::exp2(row_bits_)) {
        if (args.statistic == Statistic::topk) {
            prepare_ranking(args.x[0]);
        } else {
            for (const Representation& x : args.x) x_.push_back(prepare<T>(x, args.precision, device_, stream));
        }
        for (const Unit& u : units_) tiles_ += u.count;
        unit_table_ = DeviceBuffer<Unit>(static_cast<std::int64_t>(units_.size()), stream);
        unit_table_.from_host(units_.data(), static_cast<std::int64_t>(units_.size()));
        row_vectors_ = args.statistic == Statistic::moments    ? m_
                       : args.statistic == Statistic::products ? pairs_
                       : args.statistic == Statistic::matmul   ? static_cast<int>(args.columns)
                                                               : 0;
        rows_ = DeviceBuffer<unsigned long long>(row_vectors_ * padded(n_) * (fused() ? 1 : 2), stream);
        rows_.zero();
        pair_totals_ = DeviceBuffer<PairSum>(kTotals * pairs_, stream);
        pair_totals_.zero();
        if (args.statistic == Statistic::products) {
            square_totals_ = DeviceBuffer<PairSum>(kTotals * (pairs_ + 1), stream);
            square_totals_.zero();
        }
        if (args.statistic == Statistic::matmul) upload_vectors();
    }

    SweepResult run() {
        if (fused()) {
            run_fused();
        } else {
            run_stored();
        }
        return result();
    }

private:
    /// Two representations on tensor cores meet in registers; everything else is stored tile by tile and then reduced.
    bool fused() const {
        return sizeof(T) == sizeof(float) && args_.statistic == Statistic::moments && m_ == 2 && in_registers(x_[0]) &&
               in_registers(x_[1]);
    }

    static bool in_registers(const DeviceRepresentation<T>& x) { return x.tensor && x.tile.form != Form::product; }

    /// Exact values settle who is near, so precision is a matter of speed alone. Distances and angles are left to float32: what
    /// tensor cores make of them from norms and products would let too many pairs pass.
    void prepare_ranking(const Representation& given) {
        Representation x = given;
        x.kernel = ranking_kernel(x.kernel);
        Capability device = device_;
        if (x.kernel.kind == KernelKind::Distance || x.kernel.kind == KernelKind::ArcCosine)
            device.version = std::min(device.version, kLeastVersion);
        x_.push_back(prepare<T>(x, args_.precision, device, stream_, &given));
        neighbors_ = std::make_unique<NeighborLists<T>>(given, x_[0], args_.neighbors, stream_);
    }

    void upload_vectors() {
        std::vector<double> vectors(static_cast<std::size_t>(padded(n_) * args_.columns), 0.0);
        std::copy_n(args_.vectors, n_ * args_.columns, vectors.data());
        vectors_ = DeviceBuffer<double>(static_cast<std::int64_t>(vectors.size()), stream_);
        vectors_.from_host(vectors.data(), vectors_.size());
    }

    /// The end of the units from `first` on that have at most so many tiles, but of one unit at least.
    int end_of_batch(int first, std::int64_t most_tiles) const {
        std::int64_t tiles = 0;
        int last = first;
        while (last < static_cast<int>(owned_.end) &&
               (last == first || tiles + units_[static_cast<std::size_t>(last)].count <= most_tiles))
            tiles += units_[static_cast<std::size_t>(last++)].count;
        return last;
    }

    std::int64_t tiles_of_launch() const {
        double flops = 0;
        for (const auto& x : x_)
            flops += 2.0 * kTile * kTile * static_cast<double>(x.operand.rows.d) * (x.tensor && x.tile.low ? 3 : 1);
        return std::max(static_cast<std::int64_t>(kFlopsOfLaunch / flops), std::int64_t{4} * device_.multiprocessors);
    }

    void report(int last) {
        clock_.stop();
        if (args_.progress) args_.progress(last - owned_.begin, owned_.end - owned_.begin);
    }

    TileArgs tile_args(int first, int last) const {
        TileArgs a{};
        a.n = static_cast<int>(n_);
        a.units = unit_table_.data();
        a.first = first;
        a.last = last;
        a.first_tile = units_[static_cast<std::size_t>(first)].tile;
        a.row_scale = row_scale_;
        return a;
    }

    void launch_tiles(int reps, const bool (&bfloat)[2], const TensorMap (&maps)[2], const TileArgs& a) {
        const int blocks = std::min(a.last - a.first, device_.multiprocessors);
        if (device_.version == 90) {
            launch_tiles_sm90(reps, bfloat, maps, a, blocks, stream_);
        } else {
            launch_tiles_sm80(reps, bfloat, a, blocks, stream_);
        }
    }

    void run_fused() {
        const std::int64_t most = tiles_of_launch();
        DeviceBuffer<double> terms;
        for (int first = static_cast<int>(owned_.begin), last = first; first < static_cast<int>(owned_.end); first = last) {
            last = end_of_batch(first, most);
            if (terms.size() < 3 * (last - first)) terms = DeviceBuffer<double>(3 * (last - first), stream_);
            TileArgs a = tile_args(first, last);
            a.pairs = terms.data();
            for (int q = 0; q < 2; ++q) {
                a.x[q] = x_[static_cast<std::size_t>(q)].tile;
                a.rows[q] = rows_.data() + q * padded(n_);
            }
            clock_.start();
            launch_tiles(2, {x_[0].bfloat, x_[1].bfloat}, {x_[0].map, x_[1].map}, a);
            launch_total(terms.data(), last - first, 3, pair_totals_.data(), stream_);
            report(last);
        }
    }

    std::int64_t tiles_in_memory() const {
        std::int64_t memory = args_.memory;
        if (memory == 0) {
            std::size_t free = 0, total = 0;
            check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
            memory = std::min(kDefaultMemory, static_cast<std::int64_t>(free / 4));
        }
        return std::max<std::int64_t>(
            1, memory / (m_ * kTile * kTile * static_cast<std::int64_t>(sizeof(T)) + (2 * pairs_ + 1) * 8));
    }

    void store_tiles(int q, T* values, int first, int last) {
        const DeviceRepresentation<T>& x = x_[static_cast<std::size_t>(q)];
        const int blocks = std::min(last - first, 4 * device_.multiprocessors);
        const SimtArgs<T> simt{
            x.operand, static_cast<int>(n_), unit_table_.data(), first, last, units_[static_cast<std::size_t>(first)].tile,
            values};
        if (!x.tensor) {
            launch_tiles_simt(simt, blocks, stream_);
            return;
        }
        if constexpr (sizeof(T) == sizeof(float)) {
            TileArgs a = tile_args(first, last);
            a.x[0] = a.x[1] = x.tile;
            a.values = values;
            launch_tiles(1, {x.bfloat, false}, {x.map, x.map}, a);
            if (x.tile.form == Form::product) launch_apply(simt, blocks, stream_);
        }
    }

    void run_stored() {
        if (tiles_ > std::numeric_limits<int>::max())
            throw std::runtime_error("the CUDA engine counts stored tiles in 32 bits, for up to 8388480 rows; got " +
                                     std::to_string(n_));
        const std::int64_t blocks = std::numeric_limits<int>::max() / (pairs_ + 1);  // of a reduction's grid
        const std::int64_t most = std::min({tiles_of_launch(), tiles_in_memory(), blocks});
        DeviceBuffer<T> values;
        DeviceBuffer<double> terms;
        for (int first = static_cast<int>(owned_.begin), last = first; first < static_cast<int>(owned_.end); first = last) {
            last = end_of_batch(first, most);
            const Unit& end = units_[static_cast<std::size_t>(last - 1)];
            const int first_tile = units_[static_cast<std::size_t>(first)].tile, tiles = end.tile + end.count - first_tile;
            const std::int64_t plane = static_cast<std::int64_t>(tiles) * kTile * kTile;
            if (values.size() < m_ * plane) {
                values = {};
                values = DeviceBuffer<T>(m_ * plane, stream_);
            }
            if (terms.size() < static_cast<std::int64_t>(tiles) * (pairs_ + 1))
                terms = DeviceBuffer<double>(static_cast<std::int64_t>(tiles) * (pairs_ + 1), stream_);
            clock_.start();
            for (int q = 0; q < m_; ++q) store_tiles(q, values.data() + q * plane, first, last);
            if (neighbors_) neighbors_->add(values.data(), units_, first, last);
            reduce({values.data(), m_, tiles, unit_table_.data(), first, last, first_tile, row_scale_, rows_.size() / 2},
                   terms.data());
            report(last);
        }
    }

    void reduce(const StoredTiles<T>& stored, double* terms) {
        switch (args_.statistic) {
            case Statistic::moments:
                launch_row_sums(stored, padded(n_), rows_.data(), stream_);
                launch_pair_sums(stored, chosen_, terms, stream_);
                break;
            case Statistic::star: launch_pair_sums(stored, chosen_, terms, stream_); break;
            case Statistic::products:
                launch_row_products(stored, padded(n_), rows_.data(), stream_);
                launch_squares(stored, static_cast<T>(args_.weight[0]), static_cast<T>(args_.weight[1]), terms, stream_);
                launch_total(terms, stored.tiles, pairs_ + 1, square_totals_.data(), stream_);
                launch_pair_sums(stored, chosen_, terms, stream_);
                break;
            case Statistic::matmul:
                launch_multiply(stored, vectors_.data(), static_cast<int>(args_.columns), rows_.data(), stream_);
                return;
            case Statistic::topk: return;  // in the lists already
        }
        launch_total(terms, stored.tiles, pairs_, pair_totals_.data(), stream_);
    }

    /// Σ over the parts that launch_total keeps apart.
    static std::vector<PairSum> totals(const DeviceBuffer<PairSum>& parts, int columns) {
        std::vector<PairSum> all(static_cast<std::size_t>(parts.size())), sums(static_cast<std::size_t>(columns), PairSum{});
        parts.to_host(all.data(), parts.size());
        for (std::size_t k = 0; k < all.size(); ++k) sums[k % sums.size()].add(all[k].limb);
        return sums;
    }

    SweepResult result() {
        SweepResult r;
        r.tiles = owned_;
        r.all_tiles = static_cast<std::int64_t>(units_.size());
        r.single = sizeof(T) == sizeof(float);
        r.device_seconds = clock_.seconds();
        r.pairs = totals(pair_totals_, pairs_);
        if (args_.statistic == Statistic::products) {
            r.squares = totals(square_totals_, pairs_ + 1);
            if (m_ > 1) r.difference = r.squares.back();
            r.squares.pop_back();
        }
        std::vector<unsigned long long> fixed(static_cast<std::size_t>(rows_.size()));
        rows_.to_host(fixed.data(), rows_.size());
        const bool matmul = args_.statistic == Statistic::matmul;
        const std::int64_t vectors = matmul ? 1 : row_vectors_, length = n_ * (matmul ? args_.columns : 1);
        r.rows.reserve(static_cast<std::size_t>(vectors * length));
        const std::int64_t low = fused() ? 0 : rows_.size() / 2;
        for (std::int64_t v = 0; v < vectors; ++v)
            for (std::int64_t k = 0; k < length; ++k) {
                const auto at = static_cast<std::size_t>(v * padded(n_) + k);
                r.rows.push_back(row_sum(fixed[at], row_bits_));
                if (low) r.rows.back().add(row_sum(fixed[at + static_cast<std::size_t>(low)], row_bits_ + kLowBits).limb);
            }
        if (neighbors_) neighbors_->take(r.index, r.similarity);
        for (DeviceRepresentation<T>& x : x_) {
            Prepared<T>& p = x.host;
            r.epsilon = std::max(r.epsilon, x.epsilon);
            r.exponent.push_back(p.exponent);
            r.base.push_back(x.base);
            r.rounding.push_back(p.rounding);
            if (neighbors_) continue;
            r.offset.push_back(p.offset);
            r.rest.emplace_back(p.shift.begin(), p.shift.end());
            for (std::size_t i = 0; i < p.offset.size(); ++i) {
                p.diagonal[i] -= 2 * static_cast<double>(p.shift[i]);
                p.offset[i] += static_cast<double>(p.shift[i]);
            }
            r.shift.push_back(std::move(p.offset));
            r.diagonal.push_back(std::move(p.diagonal));
        }
        return r;
    }

    const SweepArgs& args_;
    cudaStream_t stream_;
    DeviceClock clock_;
    Capability device_;
    std::int64_t n_;
    int m_;
    Pairs chosen_;
    int pairs_, row_vectors_ = 0;
    std::vector<Unit> units_;
    Range owned_;
    std::int64_t tiles_ = 0;
    int row_bits_;
    double row_scale_;
    std::vector<DeviceRepresentation<T>> x_;
    std::unique_ptr<NeighborLists<T>> neighbors_;
    DeviceBuffer<Unit> unit_table_;
    DeviceBuffer<unsigned long long> rows_;
    DeviceBuffer<PairSum> pair_totals_, square_totals_;
    DeviceBuffer<double> vectors_;
};

template <class T>
SweepResult sweep_with(const SweepArgs& args) {
    const cudaStream_t stream = cudaStreamLegacy;
    SweepResult result = Sweep<T>(args, stream).run();
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    return result;
}

/// Asks for two attributes and not for all properties, some of which take the driver milliseconds: every array asks.
bool usable(int device) {
    int major = 0, minor = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
    return 10 * major + minor >= kLeastVersion;
}

}  // namespace

std::vector<Device> devices() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        (void)cudaGetLastError();
        return {};
    }
    std::vector<Device> found;
    for (int index = 0; index < count; ++index) {
        if (!usable(index)) continue;
        cudaDeviceProp p;
        check(cudaGetDeviceProperties(&p, index), "cudaGetDeviceProperties");
        found.push_back({index, p.name, p.major, p.minor, p.multiProcessorCount, static_cast<std::int64_t>(p.totalGlobalMem)});
    }
    return found;
}

std::string status() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        return cudaGetErrorString(error);
    }
    if (count == 0) return "no CUDA device";
    for (int index = 0; index < count; ++index)
        if (usable(index)) return "";
    return "no device of compute capability 7.5 or newer";
}

SweepResult sweep(const SweepArgs& args, int device) {
    const DeviceGuard guard(device);
    const bool stored =
        std::any_of(args.x.begin(), args.x.end(), [](const Representation& x) { return x.rows.dtype() == DType::f64; });
    if (args.wide || stored) return sweep_with<double>(args);
    try {
        return sweep_with<float>(args);
    } catch (const NeedsFloat64&) {
        return sweep_with<double>(args);
    }
}

std::int64_t first_nonfinite(const MatrixView& x, int device) {
    const DeviceGuard guard(device);
    const cudaStream_t stream = cudaStreamLegacy;
    DeviceBuffer<unsigned long long> first(1, stream);
    auto found = static_cast<unsigned long long>(x.rows);
    first.from_host(&found, 1);
    launch_first_nonfinite(x, first.data(), stream);
    first.to_host(&found, 1);
    return found == static_cast<unsigned long long>(x.rows) ? -1 : static_cast<std::int64_t>(found);
}

std::vector<double> pair_distances(const Rows& x, const std::int64_t* i, const std::int64_t* j, std::int64_t count, bool l1,
                                   int device) {
    const DeviceGuard guard(device);
    const cudaStream_t stream = cudaStreamLegacy;
    DeviceBuffer<std::int64_t> first(count, stream), second(count, stream);
    first.from_host(i, count);
    second.from_host(j, count);
    const DeviceBuffer<double> out(count, stream);
    if (count) launch_pair_distances(x, first.data(), second.data(), count, l1, out.data(), stream);
    std::vector<double> found(static_cast<std::size_t>(count));
    out.to_host(found.data(), count);
    return found;
}

void rows_to_host(const Rows& x, const std::int64_t* rows, std::int64_t count, double* out, int device) {
    const DeviceGuard guard(device);
    const cudaStream_t stream = cudaStreamLegacy;
    DeviceBuffer<std::int64_t> listed(count, stream);
    listed.from_host(rows, count);
    const DeviceBuffer<double> gathered(count * x.d, stream);
    if (count) launch_gather(x, listed.data(), count, gathered.data(), stream);
    gathered.to_host(out, count * x.d);
}

}  // namespace gramian::cuda

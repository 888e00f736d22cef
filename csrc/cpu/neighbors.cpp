// Compiled with -ffp-contract=off: see core/exact_value.hpp.
#include "cpu/neighbors.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/thread_pool.hpp"

namespace gramian {
namespace {

constexpr std::int64_t kRun = 512;  // rows that a thread takes at a time
constexpr std::int64_t kFree = std::numeric_limits<std::int64_t>::max();

template <class F>
decltype(auto) with_element(DType t, F&& f) {
    switch (t) {
        case DType::f64: return f(double{});
        case DType::f32: return f(float{});
        case DType::f16: return f(Half{});
        default: return f(BFloat16{});
    }
}

template <class F>
void over_rows(std::int64_t n, int threads, F&& f) {
    parallel_for((n + kRun - 1) / kRun, threads, [&](int, std::int64_t run) {
        for (std::int64_t i = run * kRun; i < std::min(n, (run + 1) * kRun); ++i) f(i);
    });
}

template <class T>
T rounded_down(double x) {
    const T rounded = static_cast<T>(x);
    return static_cast<double>(rounded) <= x ? rounded : std::nextafter(rounded, -std::numeric_limits<T>::infinity());
}

}  // namespace

template <class T>
NeighborLists<T>::NeighborLists(const Representation& given, const Prepared<T>& tiles, std::int64_t k, int threads)
    : tiles_(tiles), n_(given.rows.n), k_(k), out_(static_cast<double>(tiles.operand.out)) {
    exact_.rows = given.rows;
    exact_.ranking = ranking_of(given.kernel.kind);
    exact_.scale = static_cast<double>(tiles.operand.scale);
    const auto rows = static_cast<std::size_t>(n_);
    switch (exact_.ranking) {
        case Ranking::dot:
            reference_.assign(tiles.reference.begin(), tiles.reference.end());
            exact_.reference = reference_.data();
            break;
        case Ranking::polynomial: {
            const KernelFunction kernel = ranking_kernel(given.kernel);
            double constants[kConstants] = {};
            Polynomial::constants(kernel.parameter, exact_.scale, constants);
            exact_.constant[0] = constants[0], exact_.constant[1] = constants[1];
            exact_.power = static_cast<int>(kernel.parameter[0]);
            break;
        }
        case Ranking::arc_cosine: exact_.constant[0] = given.kernel.parameter[0]; break;
        case Ranking::cosine: exact_.scale = tiles.first_scale; break;
        default: break;
    }
    if (exact_.ranking == Ranking::cosine || exact_.ranking == Ranking::arc_cosine || exact_.ranking == Ranking::distance) {
        size_.resize(rows);
        with_element(given.rows.dtype(), [&](auto e) {
            using E = decltype(e);
            const bool inverse = exact_.ranking != Ranking::distance;
            over_rows(n_, threads, [&](std::int64_t i) {
                size_[static_cast<std::size_t>(i)] = inverse ? exact_inverse_norm<E>(exact_, i) : exact_norm<E>(exact_, i);
            });
        });
        exact_.size = size_.data();
    }
    index_.assign(rows * static_cast<std::size_t>(k), kFree);
    value_.assign(rows * static_cast<std::size_t>(k), -std::numeric_limits<double>::infinity());
    threshold_ = std::make_unique<std::atomic<T>[]>(rows);
    settled_ = std::make_unique<std::atomic<std::int64_t>[]>(rows);
    for (std::size_t i = 0; i < rows; ++i) {
        threshold_[i].store(-std::numeric_limits<T>::infinity(), std::memory_order_relaxed);
        settled_[i].store(kFree, std::memory_order_relaxed);
    }
    locks_ = std::make_unique<std::mutex[]>(static_cast<std::size_t>((n_ + kTileEdge - 1) / kTileEdge));
}

// A tile's value is T arithmetic all the way: features are rounded when they are translated (and, if normalised, divided
// by a rounded norm), products are summed in runs of 256, and b_i and b_j are added last. With unit roundoff u, rows x' as
// the tiles see them, w = ‖x'‖², and
//
//     m = min(d, 256) + ⌈d/256⌉ + 2,   + d/8 in float64, where the exact value's own sum has so many roundings
//
// an inner product is off by (m + 2)u‖x'_i‖‖x'_j‖ ≤ (m + 2)u(w_i + w_j)/2, and adding the two shifts s = b + e rounds sums
// of at most |φ| + |s_i| + |s_j| twice. That is a part for each of the two rows:
//
//     dot        (m + 16)u·w + 8u|b|                     b = μ·x' (w/2 negative for −‖x − y‖²/2)
//     cosine     the same + 16u‖x'‖ + 64u²               ‖x̂‖ = 1 is what was rounded before translation
//     L1         (m + 16)u‖x'‖₁
//     distance   4(m + 16)u‖x'‖ + 8u|b|                  d² above 1/32 of w_i + w_j, where the root's slope is bounded; what
//                                                        is below comes from differences, to 2(m + 4)u of itself
//     polynomial p·(m + 16)u(c·w + c')                   its base is at most 1
//     arc-cosine 16(m + 16)u, times w for order 1         the chord of an angle at least 1/4, or from differences
//
// and (d + 8)·2^-52 of the terms that b is the difference of, for its own rounding in float64. The factors are generous by
// half and more; what is always added stands for products that are subnormal.
template <class T>
std::vector<T> NeighborLists<T>::tile_shift() const {
    const Prepared<T>& p = tiles_;
    const auto d = static_cast<double>(exact_.rows.d);
    const double u = 0.5 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const double m = std::min(d, 256.0) + std::ceil(d / 256) + 2 + (sizeof(T) == sizeof(double) ? d / 8 : 0);
    const double c = (m + 16) * u, wide = (d + 8) * std::numeric_limits<double>::epsilon();
    const double tiny = (d + 8) * static_cast<double>(std::numeric_limits<T>::min());
    double reference_square = 0;
    for (const T r : p.reference) reference_square += static_cast<double>(r) * static_cast<double>(r);
    const double reference = std::sqrt(reference_square);

    std::vector<T> shift(static_cast<std::size_t>(n_));
    for (std::size_t i = 0; i < shift.size(); ++i) {
        const double size = p.size[i], w = size * size, offset = p.offset[i];  // the offset in the tiles' units: times out
        double b = 0, e = 0;
        switch (exact_.ranking) {
            case Ranking::dot:  // its offset is x·μ − ‖μ‖²/2
                b = offset - 0.5 * reference_square * out_;
                e = (c * w + wide * (size + reference) * reference) * out_;
                break;
            case Ranking::squared_distance:
                b = -0.5 * w * out_;
                e = c * w * out_;
                break;
            case Ranking::cosine:
                b = offset - 0.5 * out_;
                e = (c * w + 16 * u * size + 64 * u * u + wide) * out_;
                break;
            case Ranking::l1_distance: e = c * size * out_; break;
            case Ranking::polynomial:
                e = exact_.power * c * (std::abs(exact_.constant[0]) * w + std::abs(exact_.constant[1])) * out_;
                break;
            case Ranking::distance:
                b = offset;
                e = 4 * c * size * out_ + wide * offset;
                break;
            case Ranking::arc_cosine:
                b = exact_.constant[0] == 1 ? 0 : -0.5 * out_;
                e = 16 * c * (exact_.constant[0] == 1 ? w : 1) * out_;
                break;
        }
        e += 8 * u * std::abs(b);
        shift[i] = static_cast<T>(-(b + 1.01 * e + tiny));
    }
    return shift;
}

template <class T>
bool NeighborLists<T>::may_enter(std::int64_t row, std::int64_t col, double bound) const {
    const auto i = static_cast<std::size_t>(row);
    return bound >= static_cast<double>(threshold_[i].load(std::memory_order_relaxed)) &&
           col < settled_[i].load(std::memory_order_relaxed);
}

/// Puts a neighbour where the root was, or whoever is further down.
template <class T>
void NeighborLists<T>::sift_down(std::int64_t row, std::int64_t at, std::int64_t count, double value, std::int64_t index) {
    double* values = value_.data() + row * k_;
    std::int64_t* indices = index_.data() + row * k_;
    for (;;) {
        std::int64_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && goes_before(values[child], indices[child], values[child + 1], indices[child + 1])) ++child;
        if (!goes_before(value, index, values[child], indices[child])) break;
        values[at] = values[child], indices[at] = indices[child];
        at = child;
    }
    values[at] = value, indices[at] = index;
}

template <class T>
void NeighborLists<T>::insert(std::int64_t row, std::int64_t col, double value) {
    const auto i = static_cast<std::size_t>(row), root = i * static_cast<std::size_t>(k_);
    if (!goes_before(value, col, value_[root], index_[root])) return;
    sift_down(row, 0, k_, value, col);
    const double last = value_[root];
    T threshold = rounded_down<T>(last);
    if (last == out_ * exact_maximum(exact_, row)) {
        // only a lower index may still enter; none is left if these are the first k rows
        settled_[i].store(index_[root], std::memory_order_relaxed);
        if (index_[root] == (row < k_ ? k_ : k_ - 1)) threshold = std::numeric_limits<T>::infinity();
    }
    threshold_[i].store(threshold, std::memory_order_relaxed);
}

template <class T>
void NeighborLists<T>::thresholds(void* owner, std::int64_t first, int count, void* out) {
    const auto& self = *static_cast<const NeighborLists*>(owner);
    const std::atomic<T>* from = self.threshold_.get() + first;
    T* to = static_cast<T*>(out);
    for (int i = 0; i < count; ++i) to[i] = from[i].load(std::memory_order_relaxed);
}

template <class T>
void NeighborLists<T>::offer(void* owner, std::int64_t row0, std::int64_t col0, const Candidate* candidates, int count) {
    auto& self = *static_cast<NeighborLists*>(owner);
    Found found[kCandidates];
    int held = 0;
    with_element(self.exact_.rows.dtype(), [&](auto e) {
        for (int c = 0; c < count; ++c) {
            const std::int64_t row = row0 + candidates[c].row, col = col0 + candidates[c].col;
            const bool to_row = self.may_enter(row, col, candidates[c].bound),
                       to_col = self.may_enter(col, row, candidates[c].bound);
            if (to_row || to_col)
                found[held++] = {row, col, self.out_ * exact_value<decltype(e)>(self.exact_, row, col), to_row, to_col};
        }
    });
    if (held == 0) return;
    {
        const std::lock_guard lock(self.locks_[static_cast<std::size_t>(row0 / kTileEdge)]);
        for (int f = 0; f < held; ++f)
            if (found[f].to_row) self.insert(found[f].row, found[f].col, found[f].value);
    }
    const std::lock_guard lock(self.locks_[static_cast<std::size_t>(col0 / kTileEdge)]);
    for (int f = 0; f < held; ++f)
        if (found[f].to_col) self.insert(found[f].col, found[f].row, found[f].value);
}

template <class T>
void NeighborLists<T>::take(int threads, std::vector<std::int64_t>& index, std::vector<double>& value) {
    over_rows(n_, threads, [&](std::int64_t row) {
        // the heap in order: its root, the last of all, goes behind the others, again and again
        double* values = value_.data() + row * k_;
        std::int64_t* indices = index_.data() + row * k_;
        for (std::int64_t end = k_ - 1; end > 0; --end) {
            const double last = values[end];
            const std::int64_t last_index = indices[end];
            values[end] = values[0], indices[end] = indices[0];
            sift_down(row, 0, end, last, last_index);
        }
        for (std::int64_t t = k_; t-- > 0 && indices[t] == kFree;) {
            values[t] = std::numeric_limits<double>::quiet_NaN();
            indices[t] = -1;
        }
    });
    index = std::move(index_);
    value = std::move(value_);
}

template class NeighborLists<float>;
template class NeighborLists<double>;

}  // namespace gramian

// Compiled with -ffp-contract=off: see core/exact_value.hpp.
#include "cpu/neighbors.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/thread_pool.hpp"

namespace gramian {
namespace {

constexpr std::int64_t kFree = std::numeric_limits<std::int64_t>::max();

template <class T>
T rounded_down(double x) {
    const T rounded = static_cast<T>(x);
    return static_cast<double>(rounded) <= x ? rounded : std::nextafter(rounded, -std::numeric_limits<T>::infinity());
}

}  // namespace

template <class T>
NeighborLists<T>::NeighborLists(const Representation& given, const Prepared<T>& tiles, std::int64_t k, int threads)
    : tiles_(tiles), n_(given.rows.n), k_(k), out_(static_cast<double>(tiles.operand.out)), exact_(exact_rows(given, tiles)) {
    const auto rows = static_cast<std::size_t>(n_);
    const RowSize read = row_size_of(exact_.ranking);
    if (read != RowSize::none) {
        size_.resize(read == RowSize::square ? 2 * rows : rows);
        with_element(given.rows.dtype(), [&](auto e) {
            over_rows(n_, threads, [&](std::int64_t i) { write_row_size<decltype(e)>(exact_, read, i, size_.data()); });
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

// Products are summed in runs of 256 features; in float64 the exact value's own sum has d/8 more roundings.
template <class T>
std::vector<T> NeighborLists<T>::tile_shift() const {
    const auto d = static_cast<double>(exact_.rows.d);
    const double m = std::min(d, 256.0) + std::ceil(d / 256) + 2 + (sizeof(T) == sizeof(double) ? d / 8 : 0);
    return bounding_shift(exact_, tiles_, {(m + 16) * 0.5 * static_cast<double>(std::numeric_limits<T>::epsilon()), 0});
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
    if (index_[root] == kFree) return;  // anything may enter
    T threshold = rounded_down<T>(out_ * exact_tile_value(exact_, last / out_));
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

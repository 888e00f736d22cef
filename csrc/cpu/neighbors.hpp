#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/neighbors.hpp"
#include "cpu/kernels.hpp"

namespace gramian {

/// The k nearest of every row so far, which all threads offer pairs to. Memory O(n·k).
///
/// A tile's value of a pair, shifted by `tile_shift`, is never below the pair's exact value. Tiles compare it with the row's
/// threshold, the exact value of its k-th neighbour rounded down, which only grows: a threshold read too early lets a pair
/// pass in vain and never keeps one out. What passes is settled by exact values, so the result depends on them alone.
template <class T>
class NeighborLists {
public:
    /// `given` is the representation that is asked about, `tiles` the one of its ranking_kernel, prepared.
    NeighborLists(const Representation& given, const Prepared<T>& tiles, std::int64_t k, int threads);

    /// −(b_i + e_i): what makes the tiles' values upper bounds of exact ones.
    std::vector<T> tile_shift() const;

    /// k neighbours of each row, nearest first, with exact values in the tiles' units; -1 and NaN where there are fewer.
    void take(int threads, std::vector<std::int64_t>& index, std::vector<double>& value);

    static void thresholds(void* owner, std::int64_t first, int count, void* out);
    static void offer(void* owner, std::int64_t row0, std::int64_t col0, const Candidate* candidates, int count);

private:
    struct Found {
        std::int64_t row, col;
        double value;
        bool to_row, to_col;
    };
    bool may_enter(std::int64_t row, std::int64_t col, double bound) const;
    void insert(std::int64_t row, std::int64_t col, double value);
    void sift_down(std::int64_t row, std::int64_t at, std::int64_t count, double value, std::int64_t index);

    const Prepared<T>& tiles_;
    std::int64_t n_, k_;
    double out_;
    std::vector<double> size_, reference_;
    ExactRows exact_;                  // points to them
    std::vector<std::int64_t> index_;  // (n, k) heaps, the last of the list at the root; what is free stands behind all rows
    std::vector<double> value_;
    std::unique_ptr<std::atomic<T>[]> threshold_;
    std::unique_ptr<std::atomic<std::int64_t>[]> settled_;  // from this index on, nothing enters the row's list
    std::unique_ptr<std::mutex[]> locks_;                   // one for each tile's worth of rows
};

}  // namespace gramian

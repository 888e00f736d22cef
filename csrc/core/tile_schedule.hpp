#pragma once
#include <cstdint>

#include "core/host_device.hpp"

namespace gramian {

constexpr int kTileEdge = 192;  // rows of a tile; every register block divides it
constexpr int kLandmarks = 64;  // rows that the shift is averaged over

struct Shard {
    std::int64_t rank = 0, size = 1;
};

struct Range {
    std::int64_t begin, end;
};

/// The tiles (row ≤ col) of a symmetric n×n matrix, numbered along the rows of the upper triangle. A shard owns a range
/// of these numbers.
class TileSchedule {
public:
    TileSchedule(std::int64_t n, Shard shard);

    GRAMIAN_HD std::int64_t side() const { return side_; }
    std::int64_t tiles() const { return side_ * (side_ + 1) / 2; }
    Range owned() const { return owned_; }
    GRAMIAN_HD bool owns(std::int64_t row, std::int64_t col) const {
        const std::int64_t number = row * side_ - row * (row - 1) / 2 + (col - row);
        return owned_.begin <= number && number < owned_.end;
    }

private:
    std::int64_t side_;
    Range owned_;
};

/// The i-th of `count` landmark rows of n; depends on nothing else.
GRAMIAN_HD std::int64_t landmark_row(std::int64_t i, std::int64_t count, std::int64_t n) { return (2 * i + 1) * n / (2 * count); }

}  // namespace gramian

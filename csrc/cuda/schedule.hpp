#pragma once
#include <cstdint>
#include <vector>

#include "core/tile_schedule.hpp"

namespace gramian::cuda {

constexpr int kTile = 128;  // edge of a tile; rows past n are padding

/// What a block works on at once: `count` tiles of one column of tiles, one below the other, none under the diagonal.
/// Sums over columns are made once for the unit, sums over pairs too, so units and not blocks decide every rounding.
struct Unit {
    int column;  // of tiles
    int row;     // the first
    int count;
    int tile;  // tiles of earlier units
};

/// All units of a symmetric n×n matrix, of at most `run` tiles, or of as many as suit n if it is 0; depends on n alone then.
/// Neighbours in the list share rows, so that what the running blocks read stays in the L2 cache.
std::vector<Unit> make_units(std::int64_t n, int run);

/// A shard's part of them, in units.
Range owned_units(const std::vector<Unit>& units, Shard shard);

inline std::int64_t padded(std::int64_t n) { return (n + kTile - 1) / kTile * kTile; }

}  // namespace gramian::cuda

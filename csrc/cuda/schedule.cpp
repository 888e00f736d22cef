#include "cuda/schedule.hpp"

#include <algorithm>

namespace gramian::cuda {
namespace {

constexpr std::int64_t kUnits = 4096;  // about as many as this, so that blocks finish together
constexpr std::int64_t kMostTiles = 16;
constexpr std::int64_t kColumns = 16;  // of tiles taken together

}  // namespace

std::vector<Unit> make_units(std::int64_t n, int wanted) {
    const std::int64_t side = padded(n) / kTile, tiles = side * (side + 1) / 2;
    const std::int64_t run = wanted ? wanted : std::clamp(tiles / kUnits, std::int64_t{1}, kMostTiles);
    std::vector<Unit> units;
    units.reserve(static_cast<std::size_t>(tiles / run + side));
    std::int64_t tile = 0;
    for (std::int64_t group = 0; group < side; group += kColumns) {
        const std::int64_t end = std::min(group + kColumns, side);
        for (std::int64_t row = 0; row < end; row += run)
            for (std::int64_t column = std::max(group, row); column < end; ++column) {
                const std::int64_t count = std::min(run, column + 1 - row);
                units.push_back(
                    {static_cast<int>(column), static_cast<int>(row), static_cast<int>(count), static_cast<int>(tile)});
                tile += count;
            }
    }
    return units;
}

Range owned_units(const std::vector<Unit>& units, Shard shard) {
    const auto all = static_cast<std::int64_t>(units.size());
    const auto bound = [&](std::int64_t rank) {  // all·rank/size without overflow
        return all / shard.size * rank + all % shard.size * rank / shard.size;
    };
    return {bound(shard.rank), bound(shard.rank + 1)};
}

}  // namespace gramian::cuda

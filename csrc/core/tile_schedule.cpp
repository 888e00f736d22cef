#include "core/tile_schedule.hpp"

namespace gramian {

TileSchedule::TileSchedule(std::int64_t n, Shard shard) : side_((n + kTileEdge - 1) / kTileEdge), owned_{} {
    // rank·tiles/size without overflow
    const auto cut = [&](std::int64_t rank) {
        const std::int64_t all = tiles();
        return all / shard.size * rank + all % shard.size * rank / shard.size;
    };
    owned_ = {cut(shard.rank), cut(shard.rank + 1)};
}

}  // namespace gramian

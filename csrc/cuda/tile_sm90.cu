#include "cuda/tile_launch.hpp"
#include "cuda/tile_sm90.cuh"

namespace gramian::cuda {

void launch_tiles_sm90(int reps, const bool (&bfloat)[2], const TensorMap (&maps)[2], const TileArgs& args, int blocks,
                       cudaStream_t stream) {
    using namespace sm90;
    using Kernel = void (*)(TensorMap, TensorMap, TileArgs);
    static constexpr Kernel one[2] = {tile_sm90<1, false, false>, tile_sm90<1, true, false>};
    static constexpr Kernel two[2][2] = {{tile_sm90<2, false, false>, tile_sm90<2, false, true>},
                                         {tile_sm90<2, true, false>, tile_sm90<2, true, true>}};
    const Kernel kernel = reps == 1 ? one[bfloat[0]] : two[bfloat[0]][bfloat[1]];
    launch(kernel, blocks, 1, kThreads, kSharedBytes, stream, maps[0], maps[reps - 1], args);
}

}  // namespace gramian::cuda

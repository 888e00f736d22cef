#pragma once
#include <cstdint>

#include "cuda/runtime.hpp"
#include "cuda/tile.hpp"

// Where host code meets the tile kernels, one function for each family: they are compiled for different architectures.
namespace gramian::cuda {

/// reps 2: moments of args.x[0] and args.x[1]. reps 1: values of args.x[0].
void launch_tiles_sm90(int reps, const bool (&bfloat)[2], const TensorMap (&maps)[2], const TileArgs& args, int blocks,
                       cudaStream_t stream);
void launch_tiles_sm80(int reps, const bool (&bfloat)[2], const TileArgs& args, int blocks, cudaStream_t stream);

}  // namespace gramian::cuda

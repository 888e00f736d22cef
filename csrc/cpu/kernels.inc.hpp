// The tile kernels, compiled once per instruction set (kernels_<isa>.cpp). No container, no mutex, no inline function of
// other headers that could be shared with another translation unit: see simd.inc.hpp.
#include "cpu/kernels/tile.inc.hpp"

namespace gramian {
namespace {

template <class T>
constexpr TileKernels<T> kKernels = {workspace_bytes<T>, run_block<T>, landmark_sums<T>, Shape<T>::strips};

}  // namespace

#define GRAMIAN_JOIN2(a, b) a##b
#define GRAMIAN_JOIN(a, b) GRAMIAN_JOIN2(a, b)
const TileKernels<float>& GRAMIAN_JOIN(float_kernels_, GRAMIAN_ISA)() { return kKernels<float>; }
const TileKernels<double>& GRAMIAN_JOIN(double_kernels_, GRAMIAN_ISA)() { return kKernels<double>; }

}  // namespace gramian

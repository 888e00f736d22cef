#pragma once
#include <cstdint>

#include "core/prepared.hpp"
#include "cuda/runtime.hpp"
#include "cuda/tile.hpp"

// One pass over the rows each, O(n·d).
namespace gramian::cuda {

/// *largest ← max |x|, as the bits of a double; zero it first.
void launch_largest_entry(const Rows& x, unsigned long long* largest, cudaStream_t stream);

/// *first ← the first row that holds NaN or Inf, if it is below *first.
void launch_first_nonfinite(const MatrixView& x, unsigned long long* first, cudaStream_t stream);

/// Listed rows as float64, (count, d).
void launch_gather(const Rows& x, const std::int64_t* rows, std::int64_t count, double* out, cudaStream_t stream);

/// Sizes of all rows; reference: (d,) or null.
void launch_row_sizes(const Rows& x, double first_scale, bool normalize, const double* reference, RowSizes* sizes,
                      cudaStream_t stream);

void launch_pair_distances(const Rows& x, const std::int64_t* i, const std::int64_t* j, std::int64_t count, bool l1, double* out,
                           cudaStream_t stream);

/// The prepared rows times `gain` as 16-bit panels of `pitch` columns; low 0: rounded once, else the rest goes to column `low`.
void launch_pack(const Operand<float>& x, bool bfloat, float gain, std::uint16_t* panel, std::int64_t pitch, int low,
                 cudaStream_t stream);

}  // namespace gramian::cuda

#pragma once
#include <vector>

#include "core/neighbors.hpp"
#include "cuda/representation.hpp"
#include "cuda/schedule.hpp"

namespace gramian::cuda {

/// The k nearest of every row so far, on the device; memory O(n·k). Tiles are stored with a shift that makes their values
/// upper bounds (core/neighbors.hpp): what is no less than a row's k-th exact value is looked at again in float64.
template <class T>
class NeighborLists {
public:
    /// `given` is the representation that is asked about, `tiles` the one of its ranking_kernel.
    NeighborLists(const Representation& given, const DeviceRepresentation<T>& tiles, std::int64_t k, cudaStream_t stream);

    /// Takes in the stored tiles (tiles, kTile, kTile) of some units.
    void add(const T* values, const std::vector<Unit>& units, int first, int last);

    /// k neighbours of each row, nearest first, with exact values in the tiles' units; -1 and NaN where there are fewer.
    void take(std::vector<std::int64_t>& index, std::vector<double>& value) const;

private:
    cudaStream_t stream_;
    std::int64_t n_, k_;
    double out_;
    ExactRows exact_;  // its pointers on the device
    DeviceBuffer<double> size_, value_;
    DeviceBuffer<int> index_;
};

}  // namespace gramian::cuda

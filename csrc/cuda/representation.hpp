#pragma once
#include <cstdint>

#include "core/prepared.hpp"
#include "cuda/runtime.hpp"
#include "cuda/tile.hpp"

namespace gramian::cuda {

/// What a device can do, as far as the choice of kernels goes.
struct Capability {
    int version;  // 90 for compute capability 9.0
    int multiprocessors;
};
Capability capability();  // of the current device

/// One representation on the device, ready for its tiles.
template <class T>
struct DeviceRepresentation {
    Prepared<T> host;
    int base = 1;
    double epsilon = 0;   // rounding of a value, relative to host.rounding
    Operand<T> operand;   // as host.operand, its pointers on the device
    bool tensor = false;  // tiles by tensor cores, from the fields below; else from the rows themselves
    bool bfloat = false;
    TileOperand tile{};
    TensorMap map{};

    DeviceBuffer<std::int64_t> index;
    DeviceBuffer<T> factor, reference, aux, shift;
    DeviceBuffer<std::uint16_t> panel;
    DeviceBuffer<RowTerms> rows;
};

/// x.rows lies on the device, x.rows.index and x.shift on the host. If x is the ranking_kernel of another representation, its
/// values become upper bounds of that one's exact values.
template <class T>
DeviceRepresentation<T> prepare(const Representation& x, Precision precision, const Capability& device, cudaStream_t stream,
                                const Representation* ranked = nullptr);

}  // namespace gramian::cuda

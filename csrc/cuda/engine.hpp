#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/sweep.hpp"

// What the bindings see of the CUDA engine. Data lies on the device, results come to the host. Every function works on the
// legacy default stream, after everything that a producer has queued there, and returns when it is done.
// CUDA's errors are std::runtime_error: the call that failed and the device's message.
namespace gramian::cuda {

struct Device {
    int index;
    std::string name;
    int major, minor;  // compute capability
    int multiprocessors;
    std::int64_t memory;  // bytes
};

/// The devices that can be used; none without a driver.
std::vector<Device> devices();

/// Why devices() is empty, in the driver's words, or "".
std::string status();

/// sweep_cpu on a device: x.rows and x.rows.part point to its memory, everything else to the host's.
SweepResult sweep(const SweepArgs& args, int device);

/// The first row that holds NaN or Inf, or -1.
std::int64_t first_nonfinite(const MatrixView& x, int device);

/// ‖x_i − x_j‖ for listed pairs, in float64.
std::vector<double> pair_distances(const Rows& x, const std::int64_t* i, const std::int64_t* j, std::int64_t count, bool l1,
                                   int device);

/// Listed rows as float64, (count, d) row-major on the host.
void rows_to_host(const Rows& x, const std::int64_t* rows, std::int64_t count, double* out, int device);

}  // namespace gramian::cuda

#pragma once
#include <stdexcept>

#include "core/sweep.hpp"
#include "cuda/engine.hpp"

// Both engines behind one door: what lies on the host goes to the CPU's, what lies on a device to CUDA's.
namespace gramian {

constexpr int kHost = -1;  // where a device's index is asked for

#if !defined(GRAMIAN_CUDA_ENGINE) && !defined(GRAMIAN_EMULATOR)
// What is left of the CUDA engine in a build for the CPU alone. No view lies on a device there, so no sweep gets here.
namespace cuda {
inline std::string status() { return "this build of gramian has no CUDA engine"; }
inline std::vector<Device> devices() { return {}; }
inline SweepResult sweep(const SweepArgs&, int) { throw std::runtime_error(status()); }
inline std::int64_t first_nonfinite(const MatrixView&, int) { throw std::runtime_error(status()); }
inline std::vector<double> pair_distances(const Rows&, const std::int64_t*, const std::int64_t*, std::int64_t, bool, int) {
    throw std::runtime_error(status());
}
inline void rows_to_host(const Rows&, const std::int64_t*, std::int64_t, double*, int) { throw std::runtime_error(status()); }
}  // namespace cuda
#endif

inline SweepResult sweep_on(int device, const SweepArgs& args) {
    return device == kHost ? sweep_cpu(args) : cuda::sweep(args, device);
}

inline std::int64_t first_nonfinite_on(int device, const MatrixView& x) {
    return device == kHost ? first_nonfinite(x) : cuda::first_nonfinite(x, device);
}

inline std::vector<double> pair_distances_on(int device, const Rows& x, const std::int64_t* i, const std::int64_t* j,
                                             std::int64_t count, bool l1) {
    return device == kHost ? pair_distances(x, i, j, count, l1) : cuda::pair_distances(x, i, j, count, l1, device);
}

}  // namespace gramian

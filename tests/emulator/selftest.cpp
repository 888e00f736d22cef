#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "cuda/runtime.hpp"
#include "emulator/settings.hpp"

// Small kernels that are right, and each wrong in ways that the emulator must notice.
namespace py = pybind11;
using namespace pybind11::literals;

namespace gramian {
namespace {

enum class Fault {
    none,
    missing_wait,
    missing_sync,
    early_release,
    wrong_phase,
    over_arrival,
    too_few_bytes,
    too_many_bytes,
    misaligned,
    missing_fence,
    out_of_bounds,
    past_the_end,
    divergence,
    thread_count,
};

constexpr int kColumns = 64;  // of a stage
constexpr int kStages = 2;

struct MatrixArgs {
    int blocks;         // of kColumns columns
    std::int64_t m, n;  // rows of a and of b
    const std::uint16_t *a, *b;
    std::int64_t pitch;
    float* out;  // (m, n)
};

/// out = a bᵀ, 128 x 128 for a block: one warp loads with TMA, two warpgroups multiply.
template <bool BF16>
__global__ void __launch_bounds__(288) multiply_wgmma(const __grid_constant__ TensorMap map_a,
                                                      const __grid_constant__ TensorMap map_b, MatrixArgs args, Fault fault) {
    constexpr std::uint32_t kTile = 128 * kColumns * 2;
    std::uint32_t base = (ptx::shared_address(ptx::dynamic_shared()) + 1023) / 1024 * 1024;
    if (fault == Fault::misaligned) base -= 512;
    const std::uint32_t full = base + kStages * 2 * kTile, empty = full + 8 * kStages;
    if (threadIdx.x == 0) {
        for (std::uint32_t s = 0; s < kStages; ++s) {
            ptx::barrier_init(full + 8 * s, 1);
            ptx::barrier_init(empty + 8 * s, fault == Fault::over_arrival ? 7 : 8);
        }
        if (fault != Fault::missing_fence) ptx::fence_barrier_init();
    }
    __syncthreads();
    const int row = static_cast<int>(blockIdx.x) * 128, column = static_cast<int>(blockIdx.y) * 128;
    if (threadIdx.x >= 256) {
        if (threadIdx.x > 256) return;
        for (int k = 0; k < args.blocks; ++k) {
            const std::uint32_t s = static_cast<std::uint32_t>(k) % kStages, round = static_cast<std::uint32_t>(k) / kStages;
            ptx::barrier_wait(empty + 8 * s, (round & 1) ^ (fault == Fault::wrong_phase ? 0 : 1));
            const std::uint32_t bytes = fault == Fault::too_few_bytes    ? kTile
                                        : fault == Fault::too_many_bytes ? 3 * kTile
                                                                         : 2 * kTile;
            ptx::barrier_arrive_expect(full + 8 * s, bytes);
            ptx::tma_load(base + s * 2 * kTile, &map_a, full + 8 * s, k * kColumns, row);
            ptx::tma_load(base + s * 2 * kTile + kTile, &map_b, full + 8 * s, k * kColumns, column);
        }
        return;
    }
    const int group = static_cast<int>(threadIdx.x) / 128, lane = static_cast<int>(threadIdx.x) % 32;
    float d[64];
    for (int k = 0; k < args.blocks; ++k) {
        const std::uint32_t s = static_cast<std::uint32_t>(k) % kStages, round = static_cast<std::uint32_t>(k) / kStages;
        if (fault != Fault::missing_wait) ptx::barrier_wait(full + 8 * s, round & 1);
        if (fault == Fault::early_release && lane == 0) ptx::barrier_arrive(empty + 8 * s);
        const std::uint64_t a = ptx::swizzled_descriptor(base + s * 2 * kTile + static_cast<std::uint32_t>(group) * 64 * 128);
        const std::uint64_t b = ptx::swizzled_descriptor(base + s * 2 * kTile + kTile);
        ptx::wgmma_fence();
        for (unsigned step = 0; step < 4; ++step) ptx::wgmma<BF16>(d, a + 2 * step, b + 2 * step, k > 0 || step > 0);
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        if (fault != Fault::early_release && lane == 0) ptx::barrier_arrive(empty + 8 * s);
    }
    for (int i = 0; i < 64; ++i) {
        const std::int64_t r = row + group * 64 + static_cast<int>(threadIdx.x) % 128 / 32 * 16 + lane / 4 + i / 2 % 2 * 8;
        const std::int64_t c = column + i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (r < args.m && c < args.n) args.out[r * args.n + c] = d[i];
    }
}

/// The same with cp.async, ldmatrix and mma: 32 x 32 for a block of four warps, 16 x 16 each.
template <bool BF16>
__global__ void __launch_bounds__(128) multiply_mma(MatrixArgs args, Fault fault) {
    constexpr int kTile = 32 * kColumns * 2;
    const std::uint32_t base = ptx::shared_address(ptx::dynamic_shared());
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const std::int64_t row = blockIdx.x * 32, column = blockIdx.y * 32;
    // 16-byte pieces of a row change places by the row, so that ldmatrix meets all banks
    const auto place = [](int r, int piece) { return static_cast<std::uint32_t>(r * kColumns * 2 + (piece ^ r % 8) * 16); };
    const auto load = [&](int k) {
        for (int i = thread; i < 2 * 32 * 8; i += 128) {
            const int which = i / 256, r = i / 8 % 32, piece = i % 8;
            const std::int64_t source = (which ? column : row) + r;
            const bool inside = source < (which ? args.n : args.m);
            const std::uint16_t* from = which ? args.b : args.a;
            if (inside) from += source * args.pitch + k * kColumns + piece * 8;
            ptx::copy_async(base + static_cast<std::uint32_t>((k % kStages * 2 + which) * kTile) + place(r, piece), from,
                            inside ? 16 : 0);
        }
        ptx::copy_commit();
    };
    float d[8] = {};
    load(0);
    for (int k = 0; k < args.blocks; ++k) {
        if (k + 1 < args.blocks) load(k + 1);
        if (fault == Fault::missing_wait || k + 1 < args.blocks)
            ptx::copy_wait<1>();
        else
            ptx::copy_wait<0>();
        __syncthreads();
        const std::uint32_t a = base + static_cast<std::uint32_t>(k % kStages * 2 * kTile), b = a + kTile;
        for (int step = 0; step < 4; ++step) {
            std::uint32_t left[1][4], right[1][4];
            ptx::load_matrices(left, {a + place(warp / 2 * 16 + lane % 16, step * 2 + lane / 16)});
            ptx::load_matrices(right, {b + place(warp % 2 * 16 + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2)});
            ptx::mma<BF16, 1, 2>(d, left, right);
        }
        if (fault != Fault::missing_sync) __syncthreads();
    }
    for (int i = 0; i < 8; ++i) {
        const std::int64_t r = row + warp / 2 * 16 + lane / 4 + i / 2 % 2 * 8;
        const std::int64_t c = column + warp % 2 * 16 + i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (r < args.m && c < args.n) args.out[r * args.n + c] = d[i];
    }
}

/// out = in backwards, and the sum of all; through shared memory, shuffles and a named barrier.
__global__ void reverse(const float* in, float* out, unsigned long long* sum, Fault fault) {
    auto* shared = reinterpret_cast<float*>(ptx::dynamic_shared());
    const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
    shared[thread] = in[thread];
    if (fault == Fault::past_the_end && thread == 5) shared[threads] = 0;
    if (fault != Fault::missing_sync) {
        if (thread < threads / 2 || fault != Fault::thread_count)
            ptx::named_sync<3>(threads);
        else
            ptx::named_sync<3>(threads / 2);
    }
    out[thread] = shared[threads - 1 - thread];
    float x = in[thread];
    if (fault == Fault::divergence && thread == 40) return;
    for (int mask = 16; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffff, x, mask);
    if (thread % 32 == 0) atomicAdd(sum, static_cast<unsigned long long>(__double2ll_rn(x)));
    if (fault == Fault::out_of_bounds) {
        std::uint32_t r[1][4];
        ptx::load_matrices(r, {ptx::shared_address(shared) + static_cast<std::uint32_t>(threads) * 4});
    }
}

__global__ void write_at(float* out, std::int64_t index) { out[index] = 1.0f; }

using Bits = py::array_t<std::uint16_t, py::array::c_style>;
using Floats = py::array_t<float, py::array::c_style>;

template <bool BF16>
void launch_multiply(const MatrixArgs& args, bool wgmma, Fault fault) {
    const auto tiles = [](std::int64_t rows, int edge) { return static_cast<int>((rows + edge - 1) / edge); };
    if (wgmma)
        cuda::launch(multiply_wgmma<BF16>, tiles(args.m, 128), tiles(args.n, 128), 288, kStages * 2 * 128 * kColumns * 2 + 2048,
                     nullptr, cuda::make_tensor_map(args.a, args.m, args.blocks * kColumns, args.pitch),
                     cuda::make_tensor_map(args.b, args.n, args.blocks * kColumns, args.pitch), args, fault);
    else
        cuda::launch(multiply_mma<BF16>, tiles(args.m, 32), tiles(args.n, 32), 128, kStages * 2 * 32 * kColumns * 2, nullptr,
                     args, fault);
}

Floats multiply(const Bits& a, const Bits& b, bool wgmma, bool bf16, Fault fault) {
    cuda::DeviceBuffer<std::uint16_t> device_a(a.size(), nullptr), device_b(b.size(), nullptr);
    cuda::DeviceBuffer<float> device_out(a.shape(0) * b.shape(0), nullptr);
    device_a.from_host(a.data(), a.size());
    device_b.from_host(b.data(), b.size());
    const MatrixArgs args{static_cast<int>((a.shape(1) + kColumns - 1) / kColumns),
                          a.shape(0),
                          b.shape(0),
                          device_a.data(),
                          device_b.data(),
                          a.shape(1),
                          device_out.data()};
    bf16 ? launch_multiply<true>(args, wgmma, fault) : launch_multiply<false>(args, wgmma, fault);
    Floats out({a.shape(0), b.shape(0)});
    device_out.to_host(out.mutable_data(), out.size());
    return out;
}

py::tuple run_reverse(const Floats& in, Fault fault) {
    cuda::DeviceBuffer<float> device_in(in.size(), nullptr), device_out(in.size(), nullptr);
    cuda::DeviceBuffer<unsigned long long> device_sum(1, nullptr);
    device_in.from_host(in.data(), in.size());
    device_sum.zero();
    cuda::launch(reverse, 1, 1, static_cast<int>(in.size()), static_cast<std::size_t>(in.size()) * sizeof(float), nullptr,
                 device_in.data(), device_out.data(), device_sum.data(), fault);
    Floats out(in.size());
    unsigned long long sum = 0;
    device_out.to_host(out.mutable_data(), out.size());
    device_sum.to_host(&sum, 1);
    return py::make_tuple(out, sum);
}

}  // namespace
}  // namespace gramian

PYBIND11_MODULE(_selftest, m) {
    using gramian::Fault;
    gramian::bind_emulator(m);
    py::enum_<Fault>(m, "Fault")
        .value("none", Fault::none)
        .value("missing_wait", Fault::missing_wait)
        .value("missing_sync", Fault::missing_sync)
        .value("early_release", Fault::early_release)
        .value("wrong_phase", Fault::wrong_phase)
        .value("over_arrival", Fault::over_arrival)
        .value("too_few_bytes", Fault::too_few_bytes)
        .value("too_many_bytes", Fault::too_many_bytes)
        .value("misaligned", Fault::misaligned)
        .value("missing_fence", Fault::missing_fence)
        .value("out_of_bounds", Fault::out_of_bounds)
        .value("past_the_end", Fault::past_the_end)
        .value("divergence", Fault::divergence)
        .value("thread_count", Fault::thread_count);
    m.def("multiply", &gramian::multiply, "a"_a, "b"_a, "wgmma"_a, "bf16"_a, "fault"_a);
    m.def("reverse", &gramian::run_reverse, "values"_a, "fault"_a);
    m.def(
        "allocate",
        [](std::int64_t count, bool leak) {
            gramian::cuda::DeviceBuffer<float> buffer(count, nullptr);
            if (leak) new gramian::cuda::DeviceBuffer<float>(std::move(buffer));
        },
        "count"_a, "leak"_a);
    m.def(
        "write_at",
        [](std::int64_t count, std::int64_t index) {
            gramian::cuda::DeviceBuffer<float> buffer(count, nullptr);
            gramian::cuda::launch(gramian::write_at, 1, 1, 32, 0, nullptr, buffer.data(), index);
        },
        "count"_a, "index"_a);
    m.def("read_on_host", [] { return *gramian::cuda::DeviceBuffer<float>(1, nullptr).data(); });
    m.def("to_half", &gramian::ptx::to_half);
    m.def("to_bfloat16", &gramian::ptx::to_bfloat16);
}

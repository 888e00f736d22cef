#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "cuda/ptx.cuh"

// What the host asks of CUDA: every call checked, every resource owned. The only host code that knows of the emulator.
namespace gramian::cuda {

inline void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    (void)cudaGetLastError();  // an error that is reported here must not be found by the next launch
    throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")");
}

/// A positive number of the environment, to try other kernels, grids or units than the engine's own choice.
inline int setting(const char* name, int otherwise) {
    const char* text = std::getenv(name);
    const int value = text ? std::atoi(text) : 0;
    return value > 0 ? value : otherwise;
}

/// "12.0 GB" of bytes.
inline std::string readable(double bytes) {
    const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
    int unit = 0;
    for (; bytes >= 1000 && unit < 4; ++unit) bytes /= 1000;
    char text[32];
    std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

/// Makes a device the current one for as long as this lives.
class DeviceGuard {
public:
    explicit DeviceGuard(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        changed_ = device != before_;
        if (changed_) check(cudaSetDevice(device), "cudaSetDevice");
    }
    ~DeviceGuard() {
        if (changed_) (void)cudaSetDevice(before_);  // which would make a context where there is none
    }
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;

private:
    int before_ = 0;
    bool changed_ = false;
};

/// Memory of the current device, allocated and freed in the order of a stream.
template <class T>
class DeviceBuffer {
public:
    DeviceBuffer() = default;
    DeviceBuffer(std::int64_t count, cudaStream_t stream) : size_(count), stream_(stream) {
        if (count == 0) return;
        const cudaError_t status = cudaMallocAsync(reinterpret_cast<void**>(&data_), bytes(count), stream);
        if (status == cudaErrorMemoryAllocation) throw_out_of_memory(bytes(count));
        check(status, "cudaMallocAsync");
    }
    DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
    DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
        DeviceBuffer(std::move(other)).swap(*this);
        return *this;
    }
    ~DeviceBuffer() {
        if (data_) (void)cudaFreeAsync(data_, stream_);
    }

    T* data() const { return data_; }
    std::int64_t size() const { return size_; }

    void zero() {
        if (size_) check(cudaMemsetAsync(data_, 0, bytes(size_), stream_), "cudaMemsetAsync");
    }
    /// Returns when `from` may go. Copies of pageable memory mostly wait by themselves, but nothing promises it.
    void from_host(const T* from, std::int64_t count) {
        check_count(count);
        if (!count) return;
        check(cudaMemcpyAsync(data_, from, bytes(count), cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
        check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    }
    /// Returns when the data is there.
    void to_host(T* to, std::int64_t count) const {
        check_count(count);
        if (count) check(cudaMemcpyAsync(to, data_, bytes(count), cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
        check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    }

private:
    static std::size_t bytes(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(T); }
    void check_count(std::int64_t count) const {
        if (count < 0 || count > size_) throw std::out_of_range("DeviceBuffer: a copy of more than it holds");
    }
    void swap(DeviceBuffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(stream_, other.stream_);
    }
    [[noreturn]] static void throw_out_of_memory(std::size_t asked) {
        (void)cudaGetLastError();
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
        throw std::runtime_error("cudaMallocAsync: out of memory: asked for " + readable(static_cast<double>(asked)) + ", " +
                                 readable(static_cast<double>(free)) + " of " + readable(static_cast<double>(total)) +
                                 " are free");
    }

    T* data_ = nullptr;
    std::int64_t size_ = 0;
    cudaStream_t stream_ = nullptr;
};

/// The time that a stream takes for what is started between start() and stop(), all such stretches together.
class DeviceClock {
public:
    explicit DeviceClock(cudaStream_t stream) : stream_(stream) {}

    void start() { check(cudaEventRecord(begin_.get(), stream_), "cudaEventRecord"); }
    /// Returns when the stream has got here.
    void stop() {
        check(cudaEventRecord(end_.get(), stream_), "cudaEventRecord");
        check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "cudaEventElapsedTime");
        seconds_ += 1e-3 * static_cast<double>(milliseconds);
    }
    double seconds() const { return seconds_; }

private:
    class Event {
    public:
        Event() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
        ~Event() { (void)cudaEventDestroy(event_); }
        Event(const Event&) = delete;
        Event& operator=(const Event&) = delete;
        cudaEvent_t get() const { return event_; }

    private:
        cudaEvent_t event_ = nullptr;
    };

    cudaStream_t stream_;
    Event begin_, end_;
    double seconds_ = 0;
};

/// Starts a kernel; its errors are those of the launch, or of whatever waits for it.
template <class... P, class... A>
void launch(void (*kernel)(P...), int grid_x, int grid_y, int threads, std::size_t shared_bytes, cudaStream_t stream,
            A&&... arguments) {
    constexpr std::size_t kWithoutAsking = 48 << 10;
    if (shared_bytes > kWithoutAsking)
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared_bytes)),
              "cudaFuncSetAttribute");
    std::tuple<P...> values(std::forward<A>(arguments)...);
#ifdef GRAMIAN_EMULATOR
    (void)stream;
    emulator::launch(grid_x, grid_y, threads, shared_bytes, [&] { std::apply(kernel, values); });
#else
    const dim3 grid(static_cast<unsigned>(grid_x), static_cast<unsigned>(grid_y)), block(static_cast<unsigned>(threads));
    std::apply(
        [&](P&... value) {
            void* addresses[] = {static_cast<void*>(&value)..., nullptr};
            check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, addresses, shared_bytes, stream),
                  "cudaLaunchKernel");
        },
        values);
#endif
}

/// Describes a matrix of 16-bit elements to ptx::tma_load. The pitch is in elements.
inline TensorMap make_tensor_map(const void* data, std::int64_t rows, std::int64_t columns, std::int64_t pitch) {
    if (reinterpret_cast<std::uintptr_t>(data) % 16 || pitch % 8 || columns > pitch || rows < 1 || columns < 1)
        throw std::runtime_error("make_tensor_map: the matrix must begin, and each row follow, at a multiple of 16 bytes");
#ifdef GRAMIAN_EMULATOR
    return {static_cast<const std::uint16_t*>(data), rows, columns, pitch};
#else
    // asked of the driver at run time: the module also loads where there is no libcuda
    static const auto encode = [] {
        void* found = nullptr;
        cudaDriverEntryPointQueryResult result{};
        check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result),
              "cudaGetDriverEntryPointByVersion");
        if (result != cudaDriverEntryPointSuccess || !found)
            throw std::runtime_error("the NVIDIA driver has no cuTensorMapEncodeTiled; version 580 or newer has it");
        return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
    }();
    TensorMap map;
    const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
    const cuuint64_t strides[] = {static_cast<cuuint64_t>(pitch) * 2};
    const cuuint32_t box[] = {64, 128};
    const cuuint32_t steps[] = {1, 1};
    const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, const_cast<void*>(data), sizes, strides, box, steps,
                                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (status != CUDA_SUCCESS)
        throw std::runtime_error("cuTensorMapEncodeTiled: the driver's error " + std::to_string(static_cast<int>(status)));
    return map;
#endif
}

}  // namespace gramian::cuda

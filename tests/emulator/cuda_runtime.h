#pragma once
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "emulator/scheduler.hpp"

// Stands in for CUDA's header of this name, as far as the engine uses it: the runtime, then what CUDA C++ has built in.

// ---- the runtime: everything is done when a call returns ----

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorIllegalAddress = 700,
    cudaErrorUnknown = 999,
};
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault,
};
enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
    cudaDevAttrMemoryPoolsSupported = 115,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    std::size_t totalGlobalMem, sharedMemPerBlockOptin;
};
using cudaStream_t = struct CUstream_st*;
inline const cudaStream_t cudaStreamLegacy = reinterpret_cast<cudaStream_t>(1);

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

struct CUevent_st {
    std::chrono::steady_clock::time_point at;
};
using cudaEvent_t = CUevent_st*;
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = new CUevent_st, cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    return event->at = std::chrono::steady_clock::now(), cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    return *milliseconds = std::chrono::duration<float, std::milli>(end->at - begin->at).count(), cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMemset(void* data, int value, std::size_t bytes);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind);
inline cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t) { return cudaMalloc(data, bytes); }
inline cudaError_t cudaFreeAsync(void* data, cudaStream_t) { return cudaFree(data); }
inline cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
    return cudaMemset(data, value, bytes);
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                                     std::size_t height, cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy2D(to, to_pitch, from, from_pitch, width, height, kind);
}

// ---- CUDA C++ ----

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)
#define __constant__
#define __shared__ static  // blocks run one after another; what dynamic shared memory has and this lacks: rubbish, checks

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
inline uint3 threadIdx{}, blockIdx{};  // of the running thread
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

#define EMULATOR_VECTORS(name, type, bytes)                               \
    struct alignas(bytes / 2) name##2 { type x, y; };                     \
    struct alignas(bytes < 16 ? bytes : 16) name##4 { type x, y, z, w; }; \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }      \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATOR_VECTORS(float, float, 16)
EMULATOR_VECTORS(double, double, 32)
EMULATOR_VECTORS(int, int, 16)
EMULATOR_VECTORS(uint, unsigned, 16)
EMULATOR_VECTORS(ushort, unsigned short, 8)
#undef EMULATOR_VECTORS

inline void __syncthreads() { emulator::sync_threads(); }
inline void __syncwarp(unsigned mask = emulator::kAllLanes) { emulator::exchange(mask, {}, "__syncwarp"); }
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace emulator {
/// The value that lane `from` shows, or the own one.
template <class T>
T shuffle(unsigned mask, T value, int from, const char* where) {
    static_assert(sizeof(T) <= sizeof(Collective::Words));
    Collective::Words words{};
    std::memcpy(words.data(), &value, sizeof value);
    const Collective::Slot& slot = exchange(mask, words, where);
    if (from < 0 || from >= kLanes) return value;
    if (!(mask >> from & 1)) fail(std::string(where) + ": from a lane that the mask lacks");
    std::memcpy(&value, slot.lane[static_cast<std::size_t>(from)].data(), sizeof value);
    return value;
}
template <class T, class F>
T update(T* p, F f) {
    const T before = *p;
    *p = f(before);
    return before;
}
}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return emulator::shuffle(mask, value, lane & 31, "__shfl_sync");
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
    return emulator::shuffle(mask, value, emulator::running->lane() ^ lane_mask, "__shfl_xor_sync");
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int by) {
    return emulator::shuffle(mask, value, emulator::running->lane() + by, "__shfl_down_sync");
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int by) {
    return emulator::shuffle(mask, value, emulator::running->lane() - by, "__shfl_up_sync");
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    const auto& slot = emulator::exchange(mask, {predicate != 0}, "__ballot_sync");
    unsigned bits = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) bits |= slot.lane[lane][0] << lane;
    return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

// only one thread runs at a time
template <class T>
T atomicAdd(T* p, std::common_type_t<T> x) {
    return emulator::update(p, [=](T y) { return static_cast<T>(y + x); });
}
template <class T>
T atomicMin(T* p, std::common_type_t<T> x) {
    return emulator::update(p, [=](T y) { return y < x ? y : x; });
}
template <class T>
T atomicMax(T* p, std::common_type_t<T> x) {
    return emulator::update(p, [=](T y) { return y < x ? x : y; });
}
template <class T>
T atomicExch(T* p, std::common_type_t<T> x) {
    return emulator::update(p, [=](T) { return x; });
}
template <class T>
T atomicCAS(T* p, std::common_type_t<T> expected, std::common_type_t<T> x) {
    return emulator::update(p, [=](T y) { return y == expected ? x : y; });
}

template <class T>
T __ldg(const T* p) {
    return *p;
}
// built without contraction, as the cases that name the rounding promise
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline long long __double2ll_rn(double x) { return std::llrint(x); }
inline long long __float2ll_rn(float x) { return std::llrint(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::lrint(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }

namespace emulator {
template <class To, class From>
To bits_of(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace emulator
inline float __uint_as_float(unsigned x) { return emulator::bits_of<float>(x); }
inline unsigned __float_as_uint(float x) { return emulator::bits_of<unsigned>(x); }
inline float __int_as_float(int x) { return emulator::bits_of<float>(x); }
inline int __float_as_int(float x) { return emulator::bits_of<int>(x); }
inline double __longlong_as_double(long long x) { return emulator::bits_of<double>(x); }
inline long long __double_as_longlong(double x) { return emulator::bits_of<long long>(x); }

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
    return b < a ? b : a;
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
    return a < b ? b : a;
}

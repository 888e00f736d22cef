#pragma once
#include <cstdint>

// The structs of DLPack (https://dmlc.github.io/dlpack, a stable ABI), as far as a reader needs them. A capsule named
// "dltensor" points to a ManagedTensor, one named "dltensor_versioned" to a VersionedTensor; whoever reads it renames it
// to "used_..." and calls the deleter when done.
namespace gramian::dlpack {

// DeviceType
constexpr std::int32_t kCpu = 1, kCuda = 2, kPinned = 3, kManaged = 13;
// DataType::code
constexpr std::uint8_t kFloat = 2, kBFloat = 4;

struct Device {
    std::int32_t type;
    std::int32_t index;
};

struct DataType {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct Tensor {
    void* data;
    Device device;
    std::int32_t ndim;
    DataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null: row-major without gaps
    std::uint64_t byte_offset;
};

struct ManagedTensor {
    Tensor tensor;
    void* context;
    void (*deleter)(ManagedTensor* self);  // or null
};

struct Version {
    std::uint32_t major, minor;  // a reader of one major version reads all its minor ones
};

struct VersionedTensor {
    Version version;
    void* context;
    void (*deleter)(VersionedTensor* self);  // or null
    std::uint64_t flags;
    Tensor tensor;
};

}  // namespace gramian::dlpack

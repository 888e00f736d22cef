#include "bindings/view.hpp"

#include <pybind11/numpy.h>

#include <cstdlib>
#include <limits>
#include <string>

#include "bindings/dlpack.hpp"

namespace py = pybind11;
using namespace pybind11::literals;

namespace gramian {

const char* name_of(DType dtype) {
    switch (dtype) {
        case DType::f64: return "float64";
        case DType::f32: return "float32";
        case DType::f16: return "float16";
        default: return "bfloat16";
    }
}

namespace {

DType float_of(std::int64_t bytes) {
    if (bytes == 8) return DType::f64;
    if (bytes == 4) return DType::f32;
    if (bytes == 2) return DType::f16;
    throw py::type_error("a view needs float64, float32 or float16 elements");
}

/// Deletes a Python reference from whatever thread lets go of it last.
std::shared_ptr<void> keep(py::object object) {
    return {object.release().ptr(), [](void* p) {
                const py::gil_scoped_acquire gil;
                Py_DECREF(static_cast<PyObject*>(p));
            }};
}

void check_aligned(const void* data, std::int64_t item) {
    if (reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(item))
        throw py::value_error("a view needs aligned elements");
}

/// A matrix of NumPy's, its elements read as `dtype`.
View of_array(const py::array& a, DType dtype) {
    const std::int64_t item = element_size(dtype);
    if (a.strides(0) % item || a.strides(1) % item) throw py::value_error("a view needs strides that are whole elements");
    check_aligned(a.data(), item);
    View v;
    v.matrix = {a.data(), a.shape(0), a.shape(1), a.strides(0) / item, a.strides(1) / item, dtype};
    v.owner = keep(a);
    return v;
}

bool is_native(const py::dtype& type) { return type.byteorder() == '=' || type.byteorder() == '|'; }

View from_numpy(const py::array& a) {
    if (a.ndim() != 2) throw py::value_error("a view needs a matrix, got " + std::to_string(a.ndim()) + " dimensions");
    const py::dtype type = a.dtype();
    if (type.kind() != 'f' || !is_native(type)) throw py::type_error("a view needs native float64, float32 or float16 elements");
    return of_array(a, float_of(static_cast<std::int64_t>(type.itemsize())));
}

/// bfloat16, which NumPy lacks, as its bits.
View from_bfloat16(const py::array& bits) {
    if (bits.ndim() != 2 || bits.dtype().kind() != 'u' || bits.itemsize() != 2 || !is_native(bits.dtype()))
        throw py::type_error("bfloat16 bits come as a matrix of uint16");
    return of_array(bits, DType::bf16);
}

DType dtype_of(const dlpack::DataType& type) {
    const bool plain = type.lanes == 1 && (type.bits == 16 || type.bits == 32 || type.bits == 64);
    if (plain && type.code == dlpack::kFloat) return float_of(type.bits / 8);
    if (plain && type.code == dlpack::kBFloat && type.bits == 16) return DType::bf16;
    throw py::type_error("a view needs float64, float32, float16 or bfloat16 elements");
}

int device_of(const dlpack::Device& device) {
    if (device.type == dlpack::kCpu || device.type == dlpack::kPinned) return kHost;
    if (device.type != dlpack::kCuda && device.type != dlpack::kManaged)
        throw std::runtime_error("DLPack device " + std::to_string(device.type) + " is neither the CPU nor CUDA");
    const std::string missing = cuda::status();
    if (!missing.empty()) throw std::runtime_error(missing);
    return device.index;
}

constexpr std::int32_t kMostDimensions = 64;  // NumPy's
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

/// a·b for numbers that are not negative; what is beyond 64 bits is refused.
std::int64_t product(std::int64_t a, std::int64_t b) {
    if (b > 0 && a > kMost / b) throw py::value_error("a DLPack tensor has more elements than 64 bits can count");
    return a * b;
}

/// Refuses a tensor that cannot be followed: no shape, a size below 0, elements beyond the address space, or no memory. How
/// much memory there is, only its producer knows.
void check_followable(const dlpack::Tensor& t) {
    if (t.ndim < 0 || t.ndim > kMostDimensions)
        throw py::value_error("a DLPack tensor has " + std::to_string(t.ndim) + " dimensions");
    if (t.ndim > 0 && !t.shape) throw py::value_error("a DLPack tensor has no shape");
    std::int64_t count = 1;
    for (std::int32_t k = 0; k < t.ndim; ++k) {
        if (t.shape[k] < 0) throw py::value_error("a DLPack tensor has a size below 0: " + std::to_string(t.shape[k]));
        count = product(count, t.shape[k]);
    }
    const std::int64_t item = (std::int64_t{t.dtype.bits} * t.dtype.lanes + 7) / 8;
    product(count, item);
    if (count == 0) return;
    if (!t.data) throw py::value_error("a DLPack tensor has no memory");
    // the furthest element in each direction, in bytes from the first
    const auto address = reinterpret_cast<std::uintptr_t>(t.data);
    if (t.byte_offset > static_cast<std::uint64_t>(kMost) || address > UINTPTR_MAX - t.byte_offset)
        throw py::value_error("a DLPack tensor begins beyond the address space");
    if (!t.strides) return;
    std::int64_t above = 0, below = 0;
    for (std::int32_t k = 0; k < t.ndim; ++k) {
        const std::int64_t stride = t.strides[k];
        if (stride == std::numeric_limits<std::int64_t>::min())
            throw py::value_error("a DLPack tensor has strides beyond 64 bits");
        const std::int64_t reach = product(product(t.shape[k] - 1, std::abs(stride)), item);
        std::int64_t& side = stride < 0 ? below : above;
        if (reach > kMost - side) throw py::value_error("a DLPack tensor has strides beyond 64 bits");
        side += reach;
    }
    const std::uintptr_t first = address + t.byte_offset;
    if (static_cast<std::uintptr_t>(below) > first || static_cast<std::uintptr_t>(above) > UINTPTR_MAX - first)
        throw py::value_error("a DLPack tensor reaches beyond the address space");
}

MatrixView matrix_of(const dlpack::Tensor& t) {
    if (t.ndim != 2) throw py::value_error("a view needs a matrix, got " + std::to_string(t.ndim) + " dimensions");
    const DType dtype = dtype_of(t.dtype);
    check_followable(t);
    if (t.shape[0] == 0 || t.shape[1] == 0) throw py::value_error("a view needs a matrix that is not empty");
    const char* data = static_cast<const char*>(t.data) + t.byte_offset;
    check_aligned(data, element_size(dtype));
    return {data, t.shape[0], t.shape[1], t.strides ? t.strides[0] : t.shape[1], t.strides ? t.strides[1] : 1, dtype};
}

template <class Managed>
Managed* managed_of(const py::object& capsule, const char* name) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
    if constexpr (std::is_same_v<Managed, dlpack::VersionedTensor>) {
        if (managed->version.major != 1)
            throw py::buffer_error("DLPack " + std::to_string(managed->version.major) + " is not known here, only 1");
    }
    return managed;
}

/// Takes the tensor over from its capsule; if it cannot be read, it stays the capsule's.
template <class Managed>
View take(const py::object& capsule, const char* name, const char* used) {
    auto* managed = managed_of<Managed>(capsule, name);
    View v;
    v.matrix = matrix_of(managed->tensor);
    v.device = device_of(managed->tensor.device);
    if (PyCapsule_SetName(capsule.ptr(), used) != 0) throw py::error_already_set();
    v.owner = {managed, [](Managed* m) {
                   const py::gil_scoped_acquire gil;
                   if (m->deleter) m->deleter(m);
               }};
    return v;
}

/// f(the tensor's kind, the capsule's name, its name when used) of a capsule that nobody has read.
template <class F>
auto with_kind(const py::object& capsule, F&& f) {
    if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned"))
        return f(dlpack::VersionedTensor{}, "dltensor_versioned", "used_dltensor_versioned");
    if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) return f(dlpack::ManagedTensor{}, "dltensor", "used_dltensor");
    throw py::type_error("a view is read from a DLPack capsule that nobody has read before");
}

View from_dlpack(const py::object& capsule) {
    return with_kind(capsule,
                     [&](auto kind, const char* name, const char* used) { return take<decltype(kind)>(capsule, name, used); });
}

void check_dlpack(const py::object& capsule) {
    with_kind(capsule, [&](auto kind, const char* name, const char*) {
        check_followable(managed_of<decltype(kind)>(capsule, name)->tensor);
    });
}

#ifdef GRAMIAN_EMULATOR
/// The emulated device's memory is the host's.
View on_device(const py::array& a, bool bfloat16) {
    View v = bfloat16 ? from_bfloat16(a) : from_numpy(a);
    v.device = 0;
    return v;
}
#endif

}  // namespace

void bind_view(py::module_& m) {
    // local to the module: tests load more than one of them into a process
    py::class_<View>(m, "View", py::module_local(), "A float matrix read in place; keeps its owner alive.")
        .def_static("from_numpy", &from_numpy, "array"_a)
        .def_static("from_bfloat16", &from_bfloat16, "bits"_a)
        .def_static("from_dlpack", &from_dlpack, "capsule"_a)
        .def_static("check_dlpack", &check_dlpack, "capsule"_a, "Raises if whoever reads this capsule would follow no memory.")
#ifdef GRAMIAN_EMULATOR
        .def_static("on_device", &on_device, "array"_a, py::kw_only(), "bfloat16"_a = false)
#endif
        .def_property_readonly("rows", [](const View& v) { return v.matrix.rows; })
        .def_property_readonly("cols", [](const View& v) { return v.matrix.cols; })
        .def_property_readonly("dtype", [](const View& v) { return name_of(v.matrix.dtype); })
        .def_property_readonly("device",
                               [](const View& v) { return v.device == kHost ? "cpu" : "cuda:" + std::to_string(v.device); })
        .def(
            "first_nonfinite", [](const View& v) { return first_nonfinite_on(v.device, v.matrix); },
            "The first row that holds NaN or Inf, or -1.", py::call_guard<py::gil_scoped_release>());
}

}  // namespace gramian

#include "bindings/view.hpp"

#include <pybind11/numpy.h>

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

View from_numpy(const py::array& a) {
    if (a.ndim() != 2) throw py::value_error("a view needs a matrix, got " + std::to_string(a.ndim()) + " dimensions");
    const py::dtype type = a.dtype();
    if (type.kind() != 'f' || !(type.byteorder() == '=' || type.byteorder() == '|'))
        throw py::type_error("a view needs native float64, float32 or float16 elements");
    const auto item = static_cast<std::int64_t>(type.itemsize());
    if (a.strides(0) % item || a.strides(1) % item) throw py::value_error("a view needs strides that are whole elements");
    View v;
    v.matrix = {a.data(), a.shape(0), a.shape(1), a.strides(0) / item, a.strides(1) / item, float_of(item)};
    v.owner = keep(a);
    return v;
}

/// bfloat16, which NumPy lacks, as its bits.
View from_bfloat16(const py::array& bits) {
    if (bits.ndim() != 2 || bits.dtype().kind() != 'u' || bits.itemsize() != 2)
        throw py::type_error("bfloat16 bits come as a matrix of uint16");
    View v;
    v.matrix = {bits.data(), bits.shape(0), bits.shape(1), bits.strides(0) / 2, bits.strides(1) / 2, DType::bf16};
    v.owner = keep(bits);
    return v;
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

MatrixView matrix_of(const dlpack::Tensor& t) {
    if (t.ndim != 2) throw py::value_error("a view needs a matrix, got " + std::to_string(t.ndim) + " dimensions");
    const DType dtype = dtype_of(t.dtype);
    const char* data = static_cast<const char*>(t.data) + t.byte_offset;
    if (reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(element_size(dtype)))
        throw py::value_error("a view needs aligned elements");
    return {data, t.shape[0], t.shape[1], t.strides ? t.strides[0] : t.shape[1], t.strides ? t.strides[1] : 1, dtype};
}

/// Takes the tensor over from its capsule; if it cannot be read, it stays the capsule's.
template <class Managed>
View take(const py::object& capsule, const char* name, const char* used) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
    if constexpr (std::is_same_v<Managed, dlpack::VersionedTensor>) {
        if (managed->version.major != 1)
            throw py::buffer_error("DLPack " + std::to_string(managed->version.major) + " is not known here, only 1");
    }
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

View from_dlpack(const py::object& capsule) {
    if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned"))
        return take<dlpack::VersionedTensor>(capsule, "dltensor_versioned", "used_dltensor_versioned");
    if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) return take<dlpack::ManagedTensor>(capsule, "dltensor", "used_dltensor");
    throw py::type_error("a view is read from a DLPack capsule that nobody has read before");
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

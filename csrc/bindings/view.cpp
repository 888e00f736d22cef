#include "bindings/view.hpp"

#include <pybind11/numpy.h>

#include <cstring>
#include <string>

#include "bindings/dlpack.hpp"
#include "core/sweep.hpp"

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

DType dtype_of(std::uint8_t code, int bits) {
    if (code == dlpack::kFloat && bits == 64) return DType::f64;
    if (code == dlpack::kFloat && bits == 32) return DType::f32;
    if (code == dlpack::kFloat && bits == 16) return DType::f16;
    if (code == dlpack::kBfloat && bits == 16) return DType::bf16;
    throw py::type_error("a view needs float64, float32, float16 or bfloat16 elements");
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
    v.matrix = {a.data(),
                a.shape(0),
                a.shape(1),
                a.strides(0) / item,
                a.strides(1) / item,
                dtype_of(dlpack::kFloat, static_cast<int>(item * 8))};
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

template <class Managed>
View take(const py::capsule& capsule, const char* used) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), capsule.name()));
    const dlpack::Tensor& t = managed->tensor;
    if (t.ndim != 2) throw py::value_error("a view needs a matrix, got " + std::to_string(t.ndim) + " dimensions");
    if (t.device.type != dlpack::kCPU && t.device.type != dlpack::kCUDAHost)
        throw py::type_error("a view needs memory of the CPU");
    if (t.dtype.lanes != 1) throw py::type_error("a view needs elements of one lane");
    View v;
    v.matrix = {static_cast<const char*>(t.data) + t.byte_offset,
                t.shape[0],
                t.shape[1],
                t.strides ? t.strides[0] : t.shape[1],
                t.strides ? t.strides[1] : 1,
                dtype_of(t.dtype.code, t.dtype.bits)};
    PyCapsule_SetName(capsule.ptr(), used);
    v.owner = {managed, [](void* p) {
                   auto* m = static_cast<Managed*>(p);
                   const py::gil_scoped_acquire gil;
                   if (m->deleter) m->deleter(m);
               }};
    return v;
}

View from_dlpack(const py::capsule& capsule) {
    const char* name = capsule.name();
    if (name && std::strcmp(name, "dltensor") == 0) return take<dlpack::Managed>(capsule, "used_dltensor");
    if (name && std::strcmp(name, "dltensor_versioned") == 0)
        return take<dlpack::ManagedVersioned>(capsule, "used_dltensor_versioned");
    throw py::type_error("a view needs a fresh DLPack capsule");
}

}  // namespace

void bind_view(py::module_& m) {
    py::class_<View>(m, "View", "A float matrix read in place; keeps its owner alive.")
        .def_static("from_numpy", &from_numpy, "array"_a)
        .def_static("from_bfloat16", &from_bfloat16, "bits"_a)
        .def_static("from_dlpack", &from_dlpack, "capsule"_a)
        .def_property_readonly("rows", [](const View& v) { return v.matrix.rows; })
        .def_property_readonly("cols", [](const View& v) { return v.matrix.cols; })
        .def_property_readonly("dtype", [](const View& v) { return name_of(v.matrix.dtype); })
        .def_property_readonly("device", [](const View&) { return "cpu"; })
        .def(
            "first_nonfinite", [](const View& v) { return first_nonfinite(v.matrix); },
            "The first row that holds NaN or Inf, or -1.", py::call_guard<py::gil_scoped_release>());
}

}  // namespace gramian

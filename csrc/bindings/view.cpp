#include "bindings/view.hpp"

#include <pybind11/numpy.h>

#include <string>

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

}  // namespace

void bind_view(py::module_& m) {
    py::class_<View>(m, "View", "A float matrix read in place; keeps its owner alive.")
        .def_static("from_numpy", &from_numpy, "array"_a)
        .def_static("from_bfloat16", &from_bfloat16, "bits"_a)
        .def_property_readonly("rows", [](const View& v) { return v.matrix.rows; })
        .def_property_readonly("cols", [](const View& v) { return v.matrix.cols; })
        .def_property_readonly("dtype", [](const View& v) { return name_of(v.matrix.dtype); })
        .def_property_readonly("device", [](const View&) { return "cpu"; })
        .def(
            "first_nonfinite", [](const View& v) { return first_nonfinite(v.matrix); },
            "The first row that holds NaN or Inf, or -1.", py::call_guard<py::gil_scoped_release>());
}

}  // namespace gramian

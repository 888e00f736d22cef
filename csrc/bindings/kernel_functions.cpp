#include "bindings/kernel_functions.hpp"

#include <cmath>
#include <string>

namespace py = pybind11;
using namespace pybind11::literals;

namespace gramian {
namespace {

template <class K>
void describe(py::dict& out, K) {
    py::dict parameters;
    for (int i = 0; i < K::parameters; ++i) {
        const Parameter& p = K::parameter[i];
        parameters[p.name] = std::isnan(p.default_value) ? py::object(py::none()) : py::object(py::float_(p.default_value));
    }
    out[K::name] = parameters;
}

template <class K>
bool try_make(KernelKind kind, const std::string& name, const py::dict& given, KernelFunction& out) {
    if (name != K::name) return false;
    out.kind = kind;
    for (int i = 0; i < K::parameters; ++i) out.parameter[i] = given[K::parameter[i].name].template cast<double>();
    return true;
}

KernelFunction make(const std::string& name, const py::dict& parameters) {
    KernelFunction k;
#define GRAMIAN_TRY(K) \
    if (try_make<K>(KernelKind::K, name, parameters, k)) return k;
    GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_TRY)
#undef GRAMIAN_TRY
    throw py::value_error("unknown kernel function '" + name + "'");
}

}  // namespace

void bind_kernel_functions(py::module_& m) {
    py::class_<KernelFunction>(m, "KernelFunction", py::module_local(),
                               "A kernel function with its parameters, all of them resolved.")
        .def(py::init(&make), "name"_a, "parameters"_a);
    py::dict known;
#define GRAMIAN_DESCRIBE(K) describe(known, K{});
    GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_DESCRIBE)
#undef GRAMIAN_DESCRIBE
    m.attr("KERNEL_FUNCTIONS") = known;
}

}  // namespace gramian

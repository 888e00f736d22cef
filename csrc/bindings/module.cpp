#include <pybind11/pybind11.h>

#include "bindings/engines.hpp"
#include "bindings/kernel_functions.hpp"
#include "bindings/sweeps.hpp"
#include "bindings/view.hpp"
#include "cpu/instruction_set.hpp"
#include "cpu/thread_pool.hpp"
#ifdef GRAMIAN_EMULATOR
#include "emulator/settings.hpp"
#endif

namespace py = pybind11;
using namespace pybind11::literals;

namespace {

py::list cuda_devices() {
    std::vector<gramian::cuda::Device> found;
    {
        const py::gil_scoped_release nogil;  // the first question starts the driver, which takes its time
        found = gramian::cuda::devices();
    }
    py::list out;
    for (const auto& d : found)
        out.append(py::dict("index"_a = d.index, "name"_a = d.name, "capability"_a = py::make_tuple(d.major, d.minor),
                            "multiprocessors"_a = d.multiprocessors, "memory"_a = d.memory));
    return out;
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "gramian's native part: sweeps over tiles of Gram matrices.";
    gramian::bind_view(m);
    gramian::bind_kernel_functions(m);
    gramian::bind_sweeps(m);
    m.def("threads", &gramian::pool_threads, "Threads that the next sweep will use.");
    m.def("set_threads", &gramian::set_pool_threads, "count"_a, "0: as many as this process may use.");
    m.def("available_cpus", &gramian::available_cpus, "CPUs allowed by affinity and cgroup limits.");
    m.def("instruction_set", [] { return gramian::name_of(gramian::instruction_set()); }, "Instruction set of the tile kernels.");
    m.def("cuda_devices", &cuda_devices, "The CUDA devices that can be used.");
    m.def("cuda_status", &gramian::cuda::status, "Why there are none, or an empty string.",
          py::call_guard<py::gil_scoped_release>());
#ifdef GRAMIAN_EMULATOR
    gramian::bind_emulator(m);
#endif
    m.attr("__version__") = GRAMIAN_VERSION;
    m.attr("COMPILER") = GRAMIAN_COMPILER;
#ifdef GRAMIAN_CUDA_VERSION
    m.attr("CUDA_COMPILER") = GRAMIAN_CUDA_VERSION;
#else
    m.attr("CUDA_COMPILER") = "";
#endif
}

#include "emulator/settings.hpp"

#include "emulator/scheduler.hpp"

namespace py = pybind11;
using namespace pybind11::literals;

namespace gramian {

void bind_emulator(py::module_& m) {
    py::module_ emulator = m.def_submodule("emulator", "A GPU that is not there.");
    const emulator::Settings usual;
    emulator.def(
        "configure",
        [](std::uint64_t seed, int capability, int multiprocessors, std::size_t memory_limit) {
            emulator::settings = {seed, capability, multiprocessors, memory_limit};
        },
        py::kw_only(), "seed"_a = usual.seed, "capability"_a = usual.capability, "multiprocessors"_a = usual.multiprocessors,
        "memory_limit"_a = usual.memory_limit,
        "What the device is and how its threads are scheduled; what is not named is as usual again.");
    emulator.def("live_allocations", &emulator::live_allocations, "Allocations of device memory that have not been freed.");
}

}  // namespace gramian

#pragma once
#include <pybind11/pybind11.h>

namespace gramian {

void bind_sweeps(pybind11::module_& m);

}  // namespace gramian

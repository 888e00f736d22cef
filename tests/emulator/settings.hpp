#pragma once
#include <pybind11/pybind11.h>

namespace gramian {

/// Adds the submodule `emulator` to a module that was built with it.
void bind_emulator(pybind11::module_& m);

}  // namespace gramian

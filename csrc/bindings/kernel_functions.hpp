#pragma once
#include <pybind11/pybind11.h>

#include "core/kernel_function.hpp"

namespace gramian {

void bind_kernel_functions(pybind11::module_& m);

}  // namespace gramian

#pragma once
#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/engines.hpp"
#include "core/rows.hpp"

namespace gramian {

/// A matrix that Python owns, read in place for as long as this lives.
struct View {
    MatrixView matrix;
    std::shared_ptr<void> owner;
    int device = kHost;  // or the index of the CUDA device that it lies on
};

const char* name_of(DType dtype);
void bind_view(pybind11::module_& m);

}  // namespace gramian

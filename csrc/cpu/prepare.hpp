#pragma once
#include "core/prepared.hpp"

namespace gramian {

/// All but the shift, in one or two passes over the rows.
template <class T>
void prepare(const Representation& x, int base, int threads, Prepared<T>& out);

}  // namespace gramian

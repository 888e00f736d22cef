#pragma once
#include "core/host_device.hpp"

namespace gramian {

/// The pairs p ≤ q of m representations whose products a sweep adds up, in the order of their sums: along the rows of the upper
/// triangle, those left out not counted.
struct Pairs {
    int m;
    int split;  // 0: all of them. Else the first `split` with each of the others,
    bool own;   // and everyone with itself

    GRAMIAN_HD int count() const { return split == 0 ? m * (m + 1) / 2 : split * (m - split) + (own ? m : 0); }

    GRAMIAN_HD int number(int p, int q) const {
        if (split == 0) return p * m - p * (p - 1) / 2 + (q - p);
        const int row = m - split + own;
        if (p >= split) return split * row + (p - split);
        return p * row + (q == p ? 0 : q - split + own);
    }
};

}  // namespace gramian

#pragma once
#include <cstdint>
#include <cstring>

#include "core/host_device.hpp"

namespace gramian {

// 16-bit floats as they lie in memory; every value is a float exactly.
struct Half {
    std::uint16_t bits;
};
struct BFloat16 {
    std::uint16_t bits;
};

GRAMIAN_HD float bits_to_float(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

template <class T>
GRAMIAN_HD T widen(T x) {
    return x;
}
GRAMIAN_HD float widen(BFloat16 x) { return bits_to_float(static_cast<std::uint32_t>(x.bits) << 16); }
GRAMIAN_HD float widen(Half x) {
    const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000u) << 16;
    const std::uint32_t rest = static_cast<std::uint32_t>(x.bits & 0x7fffu) << 13;
    // 2^112 moves the exponent's bias from 15 to 127 and makes subnormals normal; infinities and NaN keep their kind
    const float scaled = bits_to_float(rest) * bits_to_float(0x77800000u);
    std::uint32_t bits;
    std::memcpy(&bits, &scaled, sizeof bits);
    if (rest >= 0x0f800000u) bits |= 0x7f800000u;
    return bits_to_float(bits | sign);
}

}  // namespace gramian

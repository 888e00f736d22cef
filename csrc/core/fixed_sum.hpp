#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/host_device.hpp"

namespace gramian {

/// A sum of doubles held as one wide two's-complement integer. Integer addition is associative, so the result does not
/// depend on the order of the terms: threads, shards and machines may add in any grouping and get the same bits.
/// The lowest bit is 2^-Fraction; smaller parts of a term are cut off, each term by itself.
template <int Limbs, int Fraction>
struct FixedSum {
    static constexpr int limbs = Limbs, fraction = Fraction;
    std::uint64_t limb[Limbs];  // little endian

    GRAMIAN_HD void add(double x) {
        std::uint64_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        const int biased = static_cast<int>(bits >> 52 & 0x7ff);
        if (biased == 0) return;  // zero and subnormals: far below the lowest bit
        std::uint64_t mantissa = (bits & ((std::uint64_t{1} << 52) - 1)) | std::uint64_t{1} << 52;
        int shift = biased - 1075 + Fraction;  // x = ± mantissa·2^(shift − Fraction)
        if (shift <= -53) return;
        if (shift < 0) {
            mantissa >>= -shift;
            shift = 0;
        }
        const int word = shift / 64, offset = shift % 64;
        const std::uint64_t low = mantissa << offset, high = mantissa >> 1 >> (63 - offset);
        // two's complement of a negative term: no branch on the sign, which no processor can foresee
        std::uint64_t carry = bits >> 63;
        const std::uint64_t flip = 0 - carry;
        for (int i = 0; i < Limbs; ++i) {
            const std::uint64_t part = (i == word ? low : i == word + 1 ? high : 0) ^ flip;
            const std::uint64_t sum = limb[i] + part, total = sum + carry;
            carry = (sum < part) | (total < sum);
            limb[i] = total;
        }
    }

    GRAMIAN_HD void add(const std::uint64_t (&other)[Limbs]) {
        std::uint64_t carry = 0;
        for (int i = 0; i < Limbs; ++i) {
            const std::uint64_t sum = limb[i] + other[i];
            const std::uint64_t total = sum + carry;
            carry = (sum < limb[i]) | (total < sum);
            limb[i] = total;
        }
    }

    GRAMIAN_HD double value() const {
        std::uint64_t part[Limbs];
        std::memcpy(part, limb, sizeof part);
        const bool negative = part[Limbs - 1] >> 63;
        if (negative) negate(part);
        double sum = 0;
        for (int i = Limbs - 1; i >= 0; --i) sum += std::ldexp(static_cast<double>(part[i]), 64 * i - Fraction);
        return negative ? -sum : sum;
    }

private:
    GRAMIAN_HD static void negate(std::uint64_t (&part)[Limbs]) {
        std::uint64_t carry = 1;
        for (int i = 0; i < Limbs; ++i) {
            part[i] = ~part[i] + carry;
            carry = carry && part[i] == 0;
        }
    }
};

// Tiles hold values of at most 4 in size, so rows reach 4n and pair sums 16n². Values below kResolved lose digits.
using RowSum = FixedSum<3, 148>;   // up to 2^43
using PairSum = FixedSum<6, 298>;  // up to 2^85
constexpr double kResolved = 0x1p-100;

}  // namespace gramian

#include "core/neighbors.hpp"

#include <cmath>
#include <limits>

namespace gramian {

RowSize row_size_of(Ranking ranking) {
    switch (ranking) {
        case Ranking::cosine: return RowSize::square;
        case Ranking::arc_cosine: return RowSize::inverse_norm;
        case Ranking::distance: return RowSize::norm;
        default: return RowSize::none;
    }
}

template <class T>
ExactRows exact_rows(const Representation& given, const Prepared<T>& tiles) {
    ExactRows exact;
    exact.rows = given.rows;
    exact.ranking = ranking_of(given.kernel.kind);
    exact.scale = static_cast<double>(tiles.operand.scale);
    switch (exact.ranking) {
        case Ranking::dot: {
            TwoParts square{0, 0};
            for (const T r : tiles.reference) {
                const TwoParts p = two_product(static_cast<double>(r), static_cast<double>(r)), t = two_sum(square.high, p.high);
                square = {t.high, square.low + (t.low + p.low)};
            }
            exact.constant[0] = square.high, exact.constant[1] = square.low;
            break;
        }
        case Ranking::polynomial: {
            const KernelFunction kernel = ranking_kernel(given.kernel);
            double constants[kConstants] = {};
            Polynomial::constants(kernel.parameter, exact.scale, constants);
            exact.constant[0] = constants[0], exact.constant[1] = constants[1];
            exact.power = static_cast<int>(kernel.parameter[0]);
            break;
        }
        case Ranking::arc_cosine: exact.constant[0] = given.kernel.parameter[0]; break;
        case Ranking::cosine: exact.scale = tiles.first_scale; break;
        default: break;
    }
    return exact;
}

// A tile's value is T arithmetic all the way: features are rounded when they are translated (and, if normalised, divided
// by a rounded norm), products are summed, and b_i and b_j are added last. With unit roundoff u, rows x' as the tiles see
// them, w = ‖x'‖² and inner products off by c·‖x'_i‖‖x'_j‖ ≤ c(w_i + w_j)/2, adding the two shifts s = b + e rounds sums of
// at most |φ| + |s_i| + |s_j| twice. That is a part for each of the two rows:
//
//     dot        c·w + 8u|b|                     b = μ·x' (w/2 negative for −‖x − y‖²/2)
//     cosine     the same + 16u‖x'‖ + 64u²       ‖x̂‖ = 1 is what was rounded before translation
//     L1         c‖x'‖₁
//     distance   4c‖x'‖ + 8u|b|                  d² above 1/32 of w_i + w_j, where the root's slope is bounded; what is below
//                                                comes from differences, to 2c of itself
//     polynomial p·c(c₀·w + c₁)                  its base is at most 1
//     arc-cosine 16c, times w for order 1        the chord of an angle at least 1/4, or from differences
//
// and float64's rounding of b itself, (d + 8)·2^-52 of the terms it is the difference of. Constants are rounded up by half
// of what they need and more; what never leaves is a term for subnormal products.
template <class T>
std::vector<T> bounding_shift(const ExactRows& exact, const Prepared<T>& tiles, const TileRounding& rounding) {
    const auto d = static_cast<double>(exact.rows.d), out = static_cast<double>(tiles.operand.out);
    const double u = 0.5 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const double c = rounding.products, wide = (d + 8) * std::numeric_limits<double>::epsilon();
    const double tiny = (d + 8) * static_cast<double>(std::numeric_limits<T>::min());
    double reference_square = 0;
    for (const T r : tiles.reference) reference_square += static_cast<double>(r) * static_cast<double>(r);
    const double reference = std::sqrt(reference_square);

    std::vector<T> shift(tiles.size.size());
    for (std::size_t i = 0; i < shift.size(); ++i) {
        const double size = tiles.size[i], w = size * size,
                     offset = tiles.offset[i];  // the offset in the tiles' units: times out
        const double lost = rounding.entries * std::sqrt(d) * size;
        double b = 0, e = 0;
        switch (exact.ranking) {
            case Ranking::dot:  // its offset is x·μ − ‖μ‖²/2
                b = offset - 0.5 * reference_square * out;
                e = (c * w + lost + wide * (size + reference) * reference) * out;
                break;
            case Ranking::squared_distance:
                b = -0.5 * w * out;
                e = (c * w + lost) * out;
                break;
            case Ranking::cosine:
                b = offset - 0.5 * out;
                e = (c * w + lost + 16 * u * size + 64 * u * u + wide) * out;
                break;
            case Ranking::l1_distance: e = c * size * out; break;
            case Ranking::polynomial:
                e = exact.power * (std::abs(exact.constant[0]) * (c * w + lost) + c * std::abs(exact.constant[1])) * out;
                break;
            case Ranking::distance:
                b = offset;
                e = 4 * c * size * out + wide * offset;
                break;
            case Ranking::arc_cosine:
                b = exact.constant[0] == 1 ? 0 : -0.5 * out;
                e = 16 * c * (exact.constant[0] == 1 ? w : 1) * out;
                break;
        }
        e += 8 * u * std::abs(b);
        shift[i] = static_cast<T>(-(b + 1.01 * e + tiny));
    }
    return shift;
}

#define GRAMIAN_INSTANTIATE(T)                                                   \
    template ExactRows exact_rows<T>(const Representation&, const Prepared<T>&); \
    template std::vector<T> bounding_shift<T>(const ExactRows&, const Prepared<T>&, const TileRounding& rounding);
GRAMIAN_INSTANTIATE(float)
GRAMIAN_INSTANTIATE(double)
#undef GRAMIAN_INSTANTIATE

}  // namespace gramian

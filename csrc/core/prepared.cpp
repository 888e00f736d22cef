#include "core/prepared.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gramian {
namespace {

constexpr int kFewFeatures = 8;

double total_of_landmarks(const std::vector<double>& sums, std::int64_t n) {
    const std::int64_t count = std::min<std::int64_t>(n, kLandmarks);
    double total = 0;
    for (std::int64_t l = 0; l < count; ++l) total += sums[static_cast<std::size_t>(landmark_row(l, count, n))];
    return total;
}

/// The factor of a row, if T can hold it. A row too short for float64 has no direction.
template <class T>
T finite(double factor) {
    if (factor <= static_cast<double>(std::numeric_limits<T>::max())) return static_cast<T>(factor);
    if (sizeof(T) < sizeof(double)) throw NeedsFloat64{};
    return T(0);
}

}  // namespace

double power_of_two_below_inverse(double x, double least, double most) {
    if (!(x > 0)) return 1.0;
    return std::clamp(std::exp2(-std::ceil(std::log2(x))), least, most);
}

template <class T>
void finish_preparation(const Representation& x, int base, double first_scale, const std::vector<double>& reference,
                        const std::vector<RowSizes>& sizes, Prepared<T>& out) {
    const Rows& rows = x.rows;
    const std::int64_t n = rows.n, d = rows.d;
    const auto rows_n = static_cast<std::size_t>(n);
    const double largest = std::exp2(std::numeric_limits<T>::max_exponent - 2), smallest = 1 / largest;
    Preparation how{};
    Geometry geometry{};
    Offset offset{};
    x.kernel.visit([&](auto k) {
        using K = decltype(k);
        how = K::preparation;
        geometry = K::geometry;
        offset = K::offset;
    });
    double reference_square = 0;
    for (const double r : reference) reference_square += r * r;

    // the unit: prepared norms at most 1, but for normalised rows, which have a size of their own
    const bool angle = geometry == Geometry::angle;
    double most = 0;
    for (const RowSizes& s : sizes) most = std::max(most, angle ? s.raw : s.prepared);
    const double scale =
        how.normalize && !angle ? 1.0 : power_of_two_below_inverse(most, smallest / first_scale, largest / first_scale);
    const double unit = how.normalize && !angle ? 1.0 : scale * first_scale;
    std::vector<double> norms(rows_n);
    Extent extent{0, 0, 0, 0, norms.data(), n};
    double directions = 0;
    for (std::size_t i = 0; i < rows_n; ++i) {
        const RowSizes& s = sizes[i];
        const double size = norms[i] = (angle ? s.raw : s.prepared) * scale;
        extent.max_norm = std::max(extent.max_norm, size);
        extent.max_l1 = std::max(extent.max_l1, s.l1 * scale);
        extent.mean_square += size * size / static_cast<double>(n);
        directions += s.raw > 0;
    }
    // x − μ of stored values is as good as exact, however far both are from 0; of quotients it keeps the rounding of both
    if (how.translate && how.normalize)
        extent.feature_rounding = std::sqrt(directions / static_cast<double>(n) / static_cast<double>(d));

    Operand<T>& o = out.operand;
    double constants[kConstants] = {}, value_exponent = 0, bound = 0;
    x.kernel.visit([&](auto k) {
        using K = decltype(k);
        K::constants(x.kernel.parameter, unit, constants);
        if (offset == Offset::half_base) constants[kBase] = base;
        value_exponent = K::value_exponent(x.kernel.parameter, unit);
        bound = K::bound(constants, extent);
    });
    const double scale_out = power_of_two_below_inverse(bound, smallest, largest);
    out.exponent = -static_cast<int>(std::lround(value_exponent + std::log2(scale_out)));

    o.rows = rows;
    o.kind = x.kernel.kind;
    constexpr double most_constant = std::numeric_limits<T>::max() / 8;  // infinity times distance 0 would be NaN
    for (int k = 0; k < kConstants; ++k) o.constant[k] = static_cast<T>(std::clamp(constants[k], -most_constant, most_constant));
    o.out = static_cast<T>(scale_out);
    o.scale = static_cast<T>(unit);
    o.direct = d <= kFewFeatures;

    out.first_scale = first_scale;
    out.diagonal.resize(rows_n);
    out.size.resize(rows_n);
    out.offset.assign(rows_n, 0.0);
    if (geometry == Geometry::squared_distance || angle) out.aux.resize(rows_n);
    if (how.normalize) out.factor.resize(rows_n);
    const bool weighted = angle && constants[0] == 1.0;
    x.kernel.visit([&](auto k) {
        using K = decltype(k);
        out.rounding = K::rounding(constants, extent) * scale_out;
        for (std::size_t i = 0; i < rows_n; ++i) {
            const RowSizes& s = sizes[i];
            const double size = (angle ? s.raw : s.prepared) * scale;
            out.size[i] = geometry == Geometry::l1_distance ? s.l1 * scale : size;
            out.diagonal[i] = K::diagonal(constants, size * size) * scale_out;
            if (offset == Offset::half_base) out.offset[i] = std::ldexp(0.5 * base, -out.exponent);
            if (offset == Offset::half_norm) out.offset[i] = 0.5 * s.raw * scale * scale_out;
            if (offset == Offset::reference)
                out.offset[i] = (s.along_reference - 0.5 * reference_square) * scale * scale * scale_out;
            if (how.normalize) out.factor[i] = s.raw > 0 ? finite<T>(first_scale / s.raw) : T(0);
            if (angle) {
                out.aux[i] = static_cast<T>(weighted ? size : s.raw > 0);
            } else if (!out.aux.empty()) {
                out.aux[i] = static_cast<T>(size * size);
            }
        }
    });
    for (const double r : reference) out.reference.push_back(static_cast<T>(r * scale));
    o.factor = out.factor.empty() ? nullptr : out.factor.data();
    o.reference = out.reference.empty() ? nullptr : out.reference.data();
    o.aux = out.aux.empty() ? nullptr : out.aux.data();
    o.shift = nullptr;
}

bool has_base(const KernelFunction& kernel) {
    return kernel.visit([](auto k) { return decltype(k)::offset == Offset::half_base; });
}

double mean_of_landmarks(const std::vector<double>& sums, std::int64_t n) {
    const auto c = static_cast<double>(std::min<std::int64_t>(n, kLandmarks));
    return c > 1 ? total_of_landmarks(sums, n) / (c * (c - 1)) : 0.0;
}

template <class T>
void set_shift(const std::vector<double>& sums, std::int64_t n, std::vector<T>& shift) {
    const std::int64_t count = std::min<std::int64_t>(n, kLandmarks);
    const auto c = static_cast<double>(count);
    const double half_mean = 0.5 * mean_of_landmarks(sums, n);
    shift.resize(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < shift.size(); ++i) shift[i] = static_cast<T>(sums[i] / c - half_mean);
    if (count < 3) return;
    const double offset = total_of_landmarks(sums, n) / (2 * (c - 1) * (c - 2));
    for (std::int64_t l = 0; l < count; ++l) {
        const auto i = static_cast<std::size_t>(landmark_row(l, count, n));
        shift[i] = static_cast<T>(sums[i] / (c - 2) - offset);
    }
}

template <class T>
double narrow_rounding(const std::vector<double>& sums, std::int64_t n) {
    constexpr double unresolved = kResolved / (16 * std::numeric_limits<T>::epsilon());
    return std::max(mean_of_landmarks(sums, n), unresolved);
}

template void finish_preparation<float>(const Representation&, int, double, const std::vector<double>&,
                                        const std::vector<RowSizes>&, Prepared<float>&);
template void finish_preparation<double>(const Representation&, int, double, const std::vector<double>&,
                                         const std::vector<RowSizes>&, Prepared<double>&);

template void set_shift<float>(const std::vector<double>&, std::int64_t, std::vector<float>&);
template void set_shift<double>(const std::vector<double>&, std::int64_t, std::vector<double>&);
template double narrow_rounding<float>(const std::vector<double>&, std::int64_t);
template double narrow_rounding<double>(const std::vector<double>&, std::int64_t);

}  // namespace gramian

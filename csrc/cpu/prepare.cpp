#include "cpu/prepare.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>

#include "core/element.hpp"
#include "cpu/thread_pool.hpp"

namespace gramian {
namespace {

constexpr int kLanes = 8;  // independent partial sums, which the compiler keeps in vectors

/// Σ_k f(k) in float64 with a fixed order.
template <class F>
double sum_features(std::int64_t d, F&& f) {
    double lane[kLanes] = {};
    std::int64_t k = 0;
    for (; k + kLanes <= d; k += kLanes)
        for (int l = 0; l < kLanes; ++l) lane[l] += f(k + l);
    for (; k < d; ++k) lane[k % kLanes] += f(k);
    for (int w = kLanes / 2; w; w /= 2)
        for (int l = 0; l < w; ++l) lane[l] += lane[l + w];
    return lane[0];
}

/// Row i as float64, into `out`.
template <class E>
void read_row(const Rows& x, std::int64_t i, double scale, double* out) {
    const RowPointer r = row_pointer(x, i);
    const E* p = reinterpret_cast<const E*>(r.data);
    if (r.stride == 1) {
        for (std::int64_t k = 0; k < x.d; ++k) out[k] = scale * static_cast<double>(widen(p[k]));
    } else {
        for (std::int64_t k = 0; k < x.d; ++k) out[k] = scale * static_cast<double>(widen(p[k * r.stride]));
    }
}

double norm(const double* x, std::int64_t d) {
    return std::sqrt(sum_features(d, [&](std::int64_t k) { return x[k] * x[k]; }));
}

/// Largest |x|, so that float64 rows can be squared without overflow.
template <class E>
double largest_entry(const Rows& x, int threads) {
    double largest = 0;
    std::mutex lock;
    over_runs(x.n, threads, [&](std::int64_t begin, std::int64_t end) {
        double most = 0;
        for (std::int64_t i = begin; i < end; ++i) {
            const RowPointer r = row_pointer(x, i);
            const E* p = reinterpret_cast<const E*>(r.data);
            for (std::int64_t k = 0; k < x.d; ++k) most = std::max(most, std::abs(static_cast<double>(widen(p[k * r.stride]))));
        }
        const std::lock_guard guard(lock);
        largest = std::max(largest, most);
    });
    return largest;
}

}  // namespace

template <class T>
void prepare(const Representation& x, int base, int threads, Prepared<T>& out) {
    out = {};
    const Rows& rows = x.rows;
    const std::int64_t n = rows.n, d = rows.d;
    const auto rows_n = static_cast<std::size_t>(n), cols = static_cast<std::size_t>(d);
    const double largest = std::exp2(std::numeric_limits<T>::max_exponent - 2), smallest = 1 / largest;

    Preparation how{};
    Geometry geometry{};
    x.kernel.visit([&](auto k) {
        how = decltype(k)::preparation;
        geometry = decltype(k)::geometry;
    });

    // float64 entries may square to infinity; all other types cannot in float64
    const double first_scale =
        rows.dtype() == DType::f64 ? power_of_two_below_inverse(largest_entry<double>(rows, threads), smallest, largest) : 1.0;

    // The reference is the median of the landmarks, coordinate by coordinate: a value of the data, near the bulk of it
    // whatever the outliers do. For normalised rows it is a median of rounded quotients, made as the tiles make them.
    std::vector<double> reference;
    if (how.translate) {
        // of the rows as they lie in memory: a permuted sweep must use the same units as the plain one
        Rows plain = rows;
        plain.index = nullptr;
        plain.n = rows.part[0].rows + rows.part[1].rows;
        const std::int64_t count = std::min<std::int64_t>(plain.n, kLandmarks);
        std::vector<T> factor(static_cast<std::size_t>(count), T(1));
        if (how.normalize) {
            parallel_for(count, threads, [&](int, std::int64_t l) {
                std::vector<double> row(cols);
                with_element(rows.dtype(), [&](auto e) {
                    read_row<decltype(e)>(plain, landmark_row(l, count, plain.n), first_scale, row.data());
                });
                const double size = norm(row.data(), d);
                factor[static_cast<std::size_t>(l)] = size > 0 ? static_cast<T>(first_scale / size) : T(0);
            });
        }
        reference.resize(cols);
        over_runs(d, threads, [&](std::int64_t begin, std::int64_t end) {
            std::vector<double> column(static_cast<std::size_t>(count));
            for (std::int64_t k = begin; k < end; ++k) {
                for (std::int64_t l = 0; l < count; ++l) {
                    const RowPointer r = row_pointer(plain, landmark_row(l, count, plain.n));
                    const double value = with_element(rows.dtype(), [&](auto e) {
                        return static_cast<double>(widen(reinterpret_cast<const decltype(e)*>(r.data)[k * r.stride]));
                    });
                    const auto i = static_cast<std::size_t>(l);
                    column[i] = how.normalize ? static_cast<double>(factor[i] * static_cast<T>(value)) : value * first_scale;
                }
                const auto middle = column.begin() + (count - 1) / 2;
                std::nth_element(column.begin(), middle, column.end());
                reference[static_cast<std::size_t>(k)] = *middle;
            }
        });
    }
    std::vector<RowSizes> sizes(rows_n);
    with_element(rows.dtype(), [&](auto e) {
        using E = decltype(e);
        over_runs(n, threads, [&](std::int64_t begin, std::int64_t end) {
            std::vector<double> row(cols);
            for (std::int64_t i = begin; i < end; ++i) {
                read_row<E>(rows, i, first_scale, row.data());
                RowSizes& s = sizes[static_cast<std::size_t>(i)];
                s.raw = s.prepared = norm(row.data(), d);
                if (how.normalize) {
                    const double inverse = s.raw > 0 ? 1 / s.raw : 0.0;
                    for (double& v : row) v *= inverse;
                    s.prepared = s.raw > 0 ? 1.0 : 0.0;
                }
                if (how.translate) {
                    s.along_reference = sum_features(d, [&](std::int64_t k) {
                        return row[static_cast<std::size_t>(k)] * reference[static_cast<std::size_t>(k)];
                    });
                    for (std::size_t k = 0; k < cols; ++k) row[k] -= reference[k];
                    s.prepared = norm(row.data(), d);
                }
                if (geometry == Geometry::l1_distance)
                    s.l1 = sum_features(d, [&](std::int64_t k) { return std::abs(row[static_cast<std::size_t>(k)]); });
            }
        });
    });

    finish_preparation(x, base, first_scale, reference, sizes, out);
}

template void prepare<float>(const Representation&, int, int, Prepared<float>&);
template void prepare<double>(const Representation&, int, int, Prepared<double>&);

std::vector<double> pair_distances(const Rows& x, const std::int64_t* i, const std::int64_t* j, std::int64_t count, bool l1) {
    std::vector<double> out(static_cast<std::size_t>(count));
    with_element(x.dtype(), [&](auto e) {
        using E = decltype(e);
        over_rows(count, 0, [&](std::int64_t p) {
            const RowPointer a = row_pointer(x, i[p]), b = row_pointer(x, j[p]);
            const E *u = reinterpret_cast<const E*>(a.data), *v = reinterpret_cast<const E*>(b.data);
            const auto difference = [&](std::int64_t k) {
                return static_cast<double>(widen(u[k * a.stride])) - static_cast<double>(widen(v[k * b.stride]));
            };
            double& distance = out[static_cast<std::size_t>(p)];
            if (l1) {
                distance = sum_features(x.d, [&](std::int64_t k) { return std::abs(difference(k)); });
                return;
            }
            distance = std::sqrt(sum_features(x.d, [&](std::int64_t k) {
                const double t = difference(k);
                return t * t;
            }));
            if (std::isfinite(distance) && distance > 1e-150) return;
            double most = 0;  // squares left the range of float64
            for (std::int64_t k = 0; k < x.d; ++k) most = std::max(most, std::abs(difference(k)));
            if (most == 0) return;
            distance = most * std::sqrt(sum_features(x.d, [&](std::int64_t k) {
                           const double t = difference(k) / most;
                           return t * t;
                       }));
        });
    });
    return out;
}

std::int64_t first_nonfinite(const MatrixView& x) {
    std::atomic<std::int64_t> first{x.rows};
    const Rows rows{{x, {}}, x.rows, x.cols, nullptr};
    with_element(x.dtype, [&](auto e) {
        using E = decltype(e);
        over_rows(x.rows, 0, [&](std::int64_t i) {
            const RowPointer r = row_pointer(rows, i);
            const E* p = reinterpret_cast<const E*>(r.data);
            // x − x is 0, or NaN where x is not finite
            const double bad = sum_features(x.cols, [&](std::int64_t k) {
                const auto v = widen(p[k * r.stride]);
                return static_cast<double>(v - v);
            });
            if (bad == 0) return;
            std::int64_t seen = first.load();
            while (i < seen && !first.compare_exchange_weak(seen, i)) {
            }
        });
    });
    return first == x.rows ? -1 : first.load();
}

}  // namespace gramian

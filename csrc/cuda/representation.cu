#include "cuda/representation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/neighbors.hpp"
#include "cuda/prepare.hpp"
#include "cuda/tile_simt.hpp"

namespace gramian::cuda {
namespace {

constexpr double kHalfGain = 0x1p14;    // float16 panels hold x'·2^14: ‖x'‖ ≤ 1, and the low parts stay normal numbers
constexpr double kHalfRange = 0x1p-12;  // median ‖x'‖ from which float16's low parts have their digits; below: bfloat16
constexpr double kFarFromOrigin = 64;   // max ‖x‖² beyond this multiple of the median distance²: translation is worth a copy
constexpr double kPlainUnit = 0x1p60;   // units beyond this or its inverse: squares of 16-bit values leave float32
constexpr double kSteepest = 2;         // exponents of a mean norm up to this stay accurate when made of norms and products

struct Traits {
    Preparation how{};
    Geometry geometry{};
};

Traits traits_of(const KernelFunction& kernel) {
    Traits t;
    kernel.visit([&](auto k) {
        t.how = decltype(k)::preparation;
        t.geometry = decltype(k)::geometry;
    });
    return t;
}

template <class V>
DeviceBuffer<V> uploaded(const std::vector<V>& values, cudaStream_t stream) {
    DeviceBuffer<V> buffer(static_cast<std::int64_t>(values.size()), stream);
    buffer.from_host(values.data(), static_cast<std::int64_t>(values.size()));
    return buffer;
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// The landmark rows (of the rows as they lie in memory, whatever the order of the sweep), float64 on the host.
struct Landmarks {
    std::int64_t count, d;
    std::vector<double> rows;

    Landmarks(const Rows& x, cudaStream_t stream) {
        Rows plain = x;
        plain.index = nullptr;
        plain.n = x.part[0].rows + x.part[1].rows;
        count = std::min<std::int64_t>(plain.n, kLandmarks);
        d = x.d;
        std::vector<std::int64_t> listed;
        for (std::int64_t l = 0; l < count; ++l) listed.push_back(landmark_row(l, count, plain.n));
        const DeviceBuffer<std::int64_t> index = uploaded(listed, stream);
        const DeviceBuffer<double> gathered(count * d, stream);
        launch_gather(plain, index.data(), count, gathered.data(), stream);
        rows.resize(static_cast<std::size_t>(count * d));
        gathered.to_host(rows.data(), count * d);
    }

    double at(std::int64_t l, std::int64_t k) const { return rows[static_cast<std::size_t>(l * d + k)]; }

    double norm(std::int64_t l, double scale) const {
        double sum = 0;
        for (std::int64_t k = 0; k < d; ++k) sum += scale * at(l, k) * (scale * at(l, k));
        return std::sqrt(sum);
    }

    /// Coordinate by coordinate the median, of rows made as the tiles make them.
    template <class T>
    std::vector<double> reference(double first_scale, bool normalize) const {
        std::vector<T> factor(static_cast<std::size_t>(count), T(1));
        if (normalize)
            for (std::int64_t l = 0; l < count; ++l) {
                const double size = norm(l, first_scale);
                factor[static_cast<std::size_t>(l)] = size > 0 ? static_cast<T>(first_scale / size) : T(0);
            }
        std::vector<double> found(static_cast<std::size_t>(d)), column(static_cast<std::size_t>(count));
        for (std::int64_t k = 0; k < d; ++k) {
            for (std::int64_t l = 0; l < count; ++l)
                column[static_cast<std::size_t>(l)] =
                    normalize ? static_cast<double>(factor[static_cast<std::size_t>(l)] * static_cast<T>(at(l, k)))
                              : at(l, k) * first_scale;
            found[static_cast<std::size_t>(k)] = median(column);
        }
        return found;
    }

    double median_squared_distance() const {
        std::vector<double> squares;
        for (std::int64_t l = 0; l < count; ++l)
            for (std::int64_t o = 0; o < l; ++o) {
                double sum = 0;
                for (std::int64_t k = 0; k < d; ++k) sum += (at(l, k) - at(o, k)) * (at(l, k) - at(o, k));
                squares.push_back(sum);
            }
        return squares.empty() ? 0 : median(squares);
    }
};

std::vector<RowSizes> row_sizes(const Rows& x, double first_scale, bool normalize, const std::vector<double>& reference,
                                cudaStream_t stream) {
    const DeviceBuffer<double> moved = uploaded(reference, stream);
    const DeviceBuffer<RowSizes> sizes(x.n, stream);
    launch_row_sizes(x, first_scale, normalize, reference.empty() ? nullptr : moved.data(), sizes.data(), stream);
    std::vector<RowSizes> found(static_cast<std::size_t>(x.n));
    sizes.to_host(found.data(), x.n);
    return found;
}

double largest_entry(const Rows& x, cudaStream_t stream) {
    DeviceBuffer<unsigned long long> bits(1, stream);
    bits.zero();
    launch_largest_entry(x, bits.data(), stream);
    double largest = 0;
    static_assert(sizeof largest == sizeof(unsigned long long));
    bits.to_host(reinterpret_cast<unsigned long long*>(&largest), 1);
    return largest;
}

bool is_16_bit(const Rows& x) { return x.dtype() == DType::f16 || x.dtype() == DType::bf16; }

/// 16-bit rows whose products are exact as they are: not normalised, and near enough to the origin.
bool untranslated(const Rows& x, const Traits& traits, const Landmarks& landmarks, cudaStream_t stream) {
    if (!is_16_bit(x) || traits.how.normalize) return false;
    double largest = 0;
    for (const RowSizes& s : row_sizes(x, 1.0, false, {}, stream)) largest = std::max(largest, s.raw);
    if (largest > kPlainUnit || (largest > 0 && largest < 1 / kPlainUnit)) return false;
    return !traits.how.translate || largest * largest <= kFarFromOrigin * landmarks.median_squared_distance();
}

/// Whether the tensor memory accelerator and 16-byte copies can read the rows where they lie.
bool readable_in_place(const Rows& x) {
    const MatrixView& v = x.part[0];
    return !x.index && x.part[1].rows == 0 && v.col_stride == 1 && v.row_stride >= v.cols && v.row_stride % 8 == 0 &&
           reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
}

/// Where the operand's rows and everything else that the kernels read lie on the device.
template <class T>
void upload(DeviceRepresentation<T>& out, cudaStream_t stream) {
    out.operand = out.host.operand;
    out.factor = uploaded(out.host.factor, stream);
    out.reference = uploaded(out.host.reference, stream);
    out.aux = uploaded(out.host.aux, stream);
    out.operand.factor = out.factor.data();
    out.operand.reference = out.reference.data();
    out.operand.aux = out.aux.data();
    out.operand.shift = nullptr;
}

template <class T>
std::vector<double> landmark_sums(const DeviceRepresentation<T>& x, std::int64_t n, cudaStream_t stream) {
    const DeviceBuffer<double> sums(padded(n), stream);
    launch_landmark_sums(x.operand, sums.data(), stream);
    std::vector<double> found(static_cast<std::size_t>(n));
    sums.to_host(found.data(), n);
    return found;
}

/// Panels of 16-bit features; returns the gain of their values over x'.
double make_panels(DeviceRepresentation<float>& out, const std::vector<RowSizes>& sizes, bool plain, Precision precision,
                   cudaStream_t stream) {
    const Operand<float>& o = out.host.operand;
    const Rows& rows = out.operand.rows;
    TileOperand& tile = out.tile;
    double gain = 1;
    const std::int64_t width = (rows.d + kSteps - 1) / kSteps * kSteps;
    tile.steps = static_cast<int>(width / kSteps);
    if (plain && readable_in_place(rows)) {
        out.bfloat = rows.dtype() == DType::bf16;
        gain = 1 / static_cast<double>(o.scale);
        tile.panel = static_cast<const std::uint16_t*>(rows.part[0].data);
        tile.pitch = rows.part[0].row_stride;
        tile.columns = static_cast<int>(rows.d);
        tile.low = 0;
        out.epsilon = std::numeric_limits<float>::epsilon();
    } else {
        bool low = false;
        if (plain) {
            out.bfloat = rows.dtype() == DType::bf16;
            out.epsilon = std::numeric_limits<float>::epsilon();
        } else if (precision == Precision::highest) {
            double most = 0;
            for (const RowSizes& s : sizes) most = std::max(most, s.prepared);
            std::size_t small = 0;
            for (const RowSizes& s : sizes) small += s.prepared < kHalfRange * most;
            low = true;
            out.bfloat = small > (sizes.size() - 1) / 2;  // the median is small
            out.epsilon = out.bfloat ? 0x1p-16 : 0x1p-22;
        } else {
            out.bfloat = precision == Precision::medium;
            out.epsilon = out.bfloat ? 0x1p-8 : 0x1p-11;
        }
        gain = out.bfloat ? 1.0 : kHalfGain;
        tile.low = low ? static_cast<int>(width) : 0;
        tile.pitch = low ? 2 * width : width;
        tile.columns = static_cast<int>(tile.pitch);
        out.panel = DeviceBuffer<std::uint16_t>(rows.n * tile.pitch, stream);
        launch_pack(out.operand, out.bfloat, static_cast<float>(gain), out.panel.data(), tile.pitch, tile.low, stream);
        tile.panel = out.panel.data();
    }
    return gain;
}

/// How a value follows from the panels' products. A root of a squared distance has half of its digits, which leaves few to
/// pairs much nearer than the data's spread: unless speed is asked for, such pairs are taken from differences.
void make_formula(DeviceRepresentation<float>& out, double gain, Precision precision, cudaStream_t stream) {
    const Operand<float>& o = out.host.operand;
    const Rows& rows = out.operand.rows;
    TileOperand& tile = out.tile;
    const double ungain = 1 / (gain * gain), scale_out = o.out;
    tile.kind = o.kind;
    tile.out = o.out;
    for (int k = 0; k < kConstants; ++k) tile.constant[k] = o.constant[k];
    tile.form = Form::general;
    tile.scale = static_cast<float>(ungain);
    const double exponent = o.constant[0];  // of an RBF, per squared distance
    double mean_norm = 0;
    for (const float norm : out.host.aux) mean_norm += static_cast<double>(norm) / static_cast<double>(rows.n);
    double term_per_norm = 1, shift_per_norm = 0, shift = 0;
    if (o.kind == KernelKind::Linear || o.kind == KernelKind::Cosine) {
        tile.form = Form::affine;
        tile.scale = static_cast<float>(ungain * scale_out);
    } else if (o.kind == KernelKind::SquaredDistance || o.kind == KernelKind::CosineDistance) {
        tile.form = Form::affine;
        tile.scale = static_cast<float>(ungain * scale_out);
        shift_per_norm = 0.5 * scale_out;
    } else if (o.kind == KernelKind::RBF && scale_out <= 2 && -exponent * mean_norm <= kSteepest) {
        tile.form = Form::exponential;
        tile.scale = static_cast<float>(-2 * exponent * ungain);
        term_per_norm = exponent;
        shift = 0.5 * scale_out * static_cast<double>(o.constant[kBase]);
    } else if (o.kind == KernelKind::Exponential || o.kind == KernelKind::Distance) {
        if (precision == Precision::highest) tile.form = Form::product;
    } else if (o.kind != KernelKind::Polynomial) {
        tile.form = Form::product;
    }
    std::vector<RowTerms> terms(static_cast<std::size_t>(padded(rows.n)), RowTerms{0, 0});
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows.n); ++i) {
        const double norm = out.host.aux.empty() ? 0.0 : static_cast<double>(out.host.aux[i]);
        terms[i].term = static_cast<float>(term_per_norm * norm);
        terms[i].shift = static_cast<float>(static_cast<double>(out.host.shift[i]) + shift_per_norm * norm + shift);
        if (tile.form == Form::product) terms[i] = {0, 0};
    }
    out.rows = uploaded(terms, stream);
    tile.rows = out.rows.data();
}

/// Of the tiles' inner products. Tensor cores cut off what 16 products and the sum so far have below about 2^-23 of the
/// largest, 17 times 2^-24 of the product of the norms; other sums are rounded at every feature. In float64 the exact value's
/// own sum has d/8 roundings more.
template <class T>
TileRounding tile_rounding(const DeviceRepresentation<T>& x, bool plain) {
    const auto d = static_cast<double>(x.operand.rows.d);
    const double u = 0.5 * static_cast<double>(std::numeric_limits<T>::epsilon());
    if (!x.tensor) return {(d + 18 + (sizeof(T) == sizeof(double) ? d / 8 : 0)) * u, 0};
    const double sums = all_steps(x.tile) * (kSteps / 16) * 0x1p-20 + 32 * u;
    return {sums + (plain ? 0 : 4 * x.epsilon), plain || x.bfloat ? 0 : 0x1p-24 / kHalfGain};
}

}  // namespace

Capability capability() {
    int device = 0, major = 0, minor = 0;
    Capability c{};
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&c.multiprocessors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    const int own = 10 * major + minor;
    c.version = std::min(own, setting("GRAMIAN_CUDA_CAPABILITY", own));
    if (c.version == 90 && own != 90) c.version = 89;  // what sm_90a has, newer devices do not
    c.multiprocessors = std::min(c.multiprocessors, setting("GRAMIAN_CUDA_BLOCKS", c.multiprocessors));
    return c;
}

template <class T>
DeviceRepresentation<T> prepare(const Representation& given, Precision precision, const Capability& device, cudaStream_t stream,
                                const Representation* ranked) {
    constexpr bool single = sizeof(T) == sizeof(float);
    DeviceRepresentation<T> out;
    Representation x = given;
    const std::int64_t n = x.rows.n;
    if (x.rows.index) {
        out.index = DeviceBuffer<std::int64_t>(n, stream);
        out.index.from_host(x.rows.index, n);
        x.rows.index = out.index.data();
    }
    const Traits traits = traits_of(x.kernel);
    out.tensor = single && device.version >= 80 && traits.geometry != Geometry::l1_distance;
    out.epsilon = std::numeric_limits<T>::epsilon();

    const Landmarks landmarks(x.rows, stream);
    const bool plain = out.tensor && untranslated(x.rows, traits, landmarks, stream);
    const double largest = std::exp2(std::numeric_limits<T>::max_exponent - 2);
    const double first_scale =
        x.rows.dtype() == DType::f64 ? power_of_two_below_inverse(largest_entry(x.rows, stream), 1 / largest, largest) : 1.0;
    std::vector<double> reference;
    if (traits.how.translate && !plain) reference = landmarks.reference<T>(first_scale, traits.how.normalize);
    const std::vector<RowSizes> sizes = row_sizes(x.rows, first_scale, traits.how.normalize, reference, stream);

    const auto prepare_with = [&](int base) {
        out.base = base;
        out.host = {};
        finish_preparation(x, base, first_scale, reference, sizes, out.host);
        upload(out, stream);
    };
    const bool chosen_here = given.base < 0 && has_base(x.kernel);
    prepare_with(given.base < 0 ? 1 : given.base);
    std::vector<double> sums;
    if ((!given.shift && !ranked) || has_base(x.kernel)) sums = landmark_sums(out, n, stream);
    if (chosen_here && mean_of_landmarks(sums, n) < -0.5 * static_cast<double>(out.host.operand.out)) {
        prepare_with(0);
        sums = landmark_sums(out, n, stream);
    }
    // values that are all small are rounded at their own scale
    if (out.base == 0 && has_base(x.kernel)) out.host.rounding = narrow_rounding<T>(sums, n);
    double gain = 1;
    if constexpr (single) {
        if (out.tensor) gain = make_panels(out, sizes, plain, precision, stream);
        if (out.tensor && device.version == 90)  // older devices and drivers know no TMA
            out.map = make_tensor_map(out.tile.panel, n, out.tile.columns, out.tile.pitch);
    }
    if (ranked) {
        out.host.shift = bounding_shift(exact_rows(*ranked, out.host), out.host, tile_rounding(out, plain));
    } else if (given.shift) {
        out.host.shift.resize(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < out.host.shift.size(); ++i)
            out.host.shift[i] = static_cast<T>(given.shift[i] - out.host.offset[i] + (given.rest ? given.rest[i] : 0.0));
    } else {
        set_shift(sums, n, out.host.shift);
    }
    out.shift = uploaded(out.host.shift, stream);
    out.operand.shift = out.shift.data();
    if constexpr (single) {
        if (out.tensor) make_formula(out, gain, precision, stream);
    }
    return out;
}

template DeviceRepresentation<float> prepare<float>(const Representation&, Precision, const Capability&, cudaStream_t,
                                                    const Representation*);
template DeviceRepresentation<double> prepare<double>(const Representation&, Precision, const Capability&, cudaStream_t,
                                                      const Representation*);

}  // namespace gramian::cuda

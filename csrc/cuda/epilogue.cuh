#pragma once
#include "cuda/device_math.cuh"
#include "cuda/tile.hpp"

// From accumulators of inner products to shifted kernel values, in registers. A thread's accumulators are those of
// tensor-core instructions: P pairs of rows 8 apart (and 16 from pair to pair), C groups of two neighbouring columns 8 apart.
// Element ((p·C + c)·2 + h)·2 + e is row r + 16p + 8h, column s + 8c + e.
namespace gramian::cuda {

template <int P, int C>
struct Fragment {
    static constexpr int size = 4 * P * C;
    float v[size];

    GRAMIAN_DEVICE static constexpr int at(int p, int c, int h, int e) { return ((p * C + c) * 2 + h) * 2 + e; }

    /// v ← f(v, terms of the row, terms of the column)
    template <class F>
    GRAMIAN_DEVICE void each(const RowTerms* rows, int row, int column, F f) {
        float2 own[P][2];
#pragma unroll
        for (int p = 0; p < P; ++p)
#pragma unroll
            for (int h = 0; h < 2; ++h) own[p][h] = __ldg(reinterpret_cast<const float2*>(rows + row + 16 * p + 8 * h));
#pragma unroll
        for (int c = 0; c < C; ++c) {
            const float4 other = __ldg(reinterpret_cast<const float4*>(rows + column + 8 * c));
#pragma unroll
            for (int p = 0; p < P; ++p)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    v[at(p, c, h, 0)] = f(v[at(p, c, h, 0)], own[p][h], make_float2(other.x, other.y));
                    v[at(p, c, h, 1)] = f(v[at(p, c, h, 1)], own[p][h], make_float2(other.z, other.w));
                }
        }
    }

    template <class K>
    GRAMIAN_DEVICE void general(const TileOperand& x, int row, int column) {
        const float scale = x.scale, out = x.out;
        float constant[kConstants];
#pragma unroll
        for (int k = 0; k < kConstants; ++k) constant[k] = x.constant[k];
        each(x.rows, row, column, [&](float g, float2 i, float2 j) {
            const float t = geometry_of<K, float>(g * scale, i.x, j.x);
            return K::template phi<Math<float>, float, float>(constant, t, i.x, j.x) * out - (i.y + j.y);
        });
    }

    /// A power of a polynomial kernel that is known here: the loop over it would be walked for every element.
    template <int Degree>
    GRAMIAN_DEVICE void power(const TileOperand& x, int row, int column) {
        const float scale = x.scale, out = x.out, slope = x.constant[0], offset = x.constant[1];
        each(x.rows, row, column, [=](float g, float2 i, float2 j) {
            const float base = g * scale * slope + offset;
            float v = base;
#pragma unroll
            for (int k = 1; k < Degree; ++k) v *= base;
            return v * out - (i.y + j.y);
        });
    }

    /// Inner products become shifted kernel values.
    GRAMIAN_DEVICE void finish(const TileOperand& x, int row, int column) {
        const float scale = x.scale, out = x.out;
        if (x.form == Form::affine || x.form == Form::product) {  // terms of products are zero
            each(x.rows, row, column, [=](float g, float2 i, float2 j) { return g * scale - (i.y + j.y); });
        } else if (x.form == Form::exponential) {
            each(x.rows, row, column,
                 [=](float g, float2 i, float2 j) { return ptx::exp2(g * scale + (i.x + j.x)) * out - (i.y + j.y); });
        } else {
            switch (x.kind) {  // the same for all threads
                case KernelKind::Polynomial:
                    if (x.constant[2] == 2.f) return power<2>(x, row, column);
                    if (x.constant[2] == 3.f) return power<3>(x, row, column);
                    return general<Polynomial>(x, row, column);
                case KernelKind::Exponential: return general<Exponential>(x, row, column);
                case KernelKind::Distance: return general<Distance>(x, row, column);
                default: return;  // of another form
            }
        }
    }

    /// Keeps the pairs i < j < n of a tile that meets the diagonal or the end.
    GRAMIAN_DEVICE void mask(int i, int j, int n) {
#pragma unroll
        for (int p = 0; p < P; ++p)
#pragma unroll
            for (int c = 0; c < C; ++c)
#pragma unroll
                for (int h = 0; h < 2; ++h)
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        const int row = i + 16 * p + 8 * h, column = j + 8 * c + e;
                        if (row >= column || column >= n) v[at(p, c, h, e)] = 0.f;
                    }
    }

    /// Row-major into a tile of `kTile` columns.
    GRAMIAN_DEVICE void store(float* tile, int row, int column) const {
#pragma unroll
        for (int p = 0; p < P; ++p)
#pragma unroll
            for (int h = 0; h < 2; ++h)
#pragma unroll
                for (int c = 0; c < C; ++c) {
                    float* to = tile + (row + 16 * p + 8 * h) * kTile + column + 8 * c;
                    *reinterpret_cast<float2*>(to) = make_float2(v[at(p, c, h, 0)], v[at(p, c, h, 1)]);
                }
    }
};

/// Tiles strictly above the diagonal and inside the matrix need no mask.
GRAMIAN_DEVICE bool needs_mask(int row_tile, int column_tile, int n) {
    return row_tile == column_tile || (column_tile + 1) * kTile > n;
}

GRAMIAN_DEVICE float warp_sum(float v, int from, int to) {  // over lanes that differ in bits from..to (masks)
#pragma unroll
    for (int bit = from; bit <= to; bit <<= 1) v += __shfl_xor_sync(0xffffffffu, v, bit);
    return v;
}

GRAMIAN_DEVICE double warp_sum(double v) {
#pragma unroll
    for (int bit = 16; bit; bit >>= 1) v += __shfl_xor_sync(0xffffffffu, v, bit);
    return v;
}

/// Adds to a fixed-point sum; integers add in any order to the same bits.
GRAMIAN_DEVICE void add_fixed(unsigned long long* sum, double value, double scale) {
    atomicAdd(sum, static_cast<unsigned long long>(__double2ll_rn(value * scale)));
}

/// Sums over the lanes that differ in bits 2 to 4, shared out: of N values a lane keeps the sums of N/8, those from
/// first_kept(lane) on.
template <int N>
struct SharedOut {
    static constexpr int kept = N / 8;

    GRAMIAN_DEVICE static int first_kept(int lane) { return (lane & 16) * N / 32 + (lane & 8) * N / 32 + (lane & 4) * N / 32; }

    GRAMIAN_DEVICE static void add(float (&v)[N], int lane, float (&sums)[kept]) {
        exchange<N / 2, 16>(v, lane);
        exchange<N / 4, 8>(v, lane);
        exchange<N / 8, 4>(v, lane);
#pragma unroll
        for (int k = 0; k < kept; ++k) sums[k] += v[k];
    }

private:
    /// Lanes without the bit keep the first Half values, lanes with it the next.
    template <int Half, int Bit>
    GRAMIAN_DEVICE static void exchange(float (&v)[N], int lane) {
        const bool upper = lane & Bit;
#pragma unroll
        for (int k = 0; k < Half; ++k) {
            const float other = __shfl_xor_sync(0xffffffffu, upper ? v[k] : v[k + Half], Bit);
            v[k] = (upper ? v[k + Half] : v[k]) + other;
        }
    }
};

/// Sums over the warp, shared out: a on lanes 0 to 7, b on 8 to 15, c on 16 to 23.
GRAMIAN_DEVICE float warp_sums(float a, float b, float c, int lane) {
    const bool third = lane & 16, second = lane & 8;
    const float first = (third ? c : a) + __shfl_xor_sync(0xffffffffu, third ? a : c, 16);
    const float other = (third ? 0.f : b) + __shfl_xor_sync(0xffffffffu, third ? b : 0.f, 16);
    return warp_sum((second ? other : first) + __shfl_xor_sync(0xffffffffu, second ? first : other, 8), 1, 4);
}

/// The sums of two representations over the tiles of a unit. Lanes 0 to 23 keep those over pairs, as warp_sums shares them.
template <int P, int C>
struct JointSums {
    using Columns = SharedOut<2 * C>;
    float columns[2][Columns::kept];
    double pairs;

    GRAMIAN_DEVICE void clear() {
#pragma unroll
        for (int q = 0; q < 2; ++q)
#pragma unroll
            for (int k = 0; k < Columns::kept; ++k) columns[q][k] = 0.f;
        pairs = 0.0;
    }

    /// One tile's values; row: this thread's first row in the matrix.
    GRAMIAN_DEVICE void add(const Fragment<P, C>& x, const Fragment<P, C>& y, const TileArgs& args, int row, int lane) {
        float xx = 0.f, xy = 0.f, yy = 0.f;
#pragma unroll
        for (int k = 0; k < Fragment<P, C>::size; ++k) {
            xx += x.v[k] * x.v[k];
            xy += x.v[k] * y.v[k];
            yy += y.v[k] * y.v[k];
        }
        pairs += static_cast<double>(warp_sums(xx, xy, yy, lane));
        rows_and_columns(x, args.rows[0], args.row_scale, columns[0], row, lane);
        rows_and_columns(y, args.rows[1], args.row_scale, columns[1], row, lane);
    }

    /// The warp's sums over pairs.
    GRAMIAN_DEVICE void flush_pairs(double* to, int lane) const {
        if (lane % 8 == 0 && lane < 24) to[lane / 8] = pairs;
    }

    /// Column sums of the unit; column: this thread's first one in the matrix.
    GRAMIAN_DEVICE void flush_columns(const TileArgs& args, int column, int lane) const {
        const int first = Columns::first_kept(lane);
#pragma unroll
        for (int q = 0; q < 2; ++q)
#pragma unroll
            for (int k = 0; k < Columns::kept; ++k) {
                const int at = column + 8 * ((first + k) / 2) + k % 2;
                add_fixed(args.rows[q] + at, static_cast<double>(columns[q][k]), args.row_scale);
            }
    }

private:
    GRAMIAN_DEVICE static void rows_and_columns(const Fragment<P, C>& x, unsigned long long* sums, double scale,
                                                float (&columns)[Columns::kept], int row, int lane) {
        using F = Fragment<P, C>;
#pragma unroll
        for (int p = 0; p < P; ++p)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float sum = 0.f;
#pragma unroll
                for (int c = 0; c < C; ++c) sum += x.v[F::at(p, c, h, 0)] + x.v[F::at(p, c, h, 1)];
                sum = warp_sum(sum, 1, 2);
                if ((lane & 3) == 0) add_fixed(sums + row + 16 * p + 8 * h, static_cast<double>(sum), scale);
            }
        float v[2 * C];
#pragma unroll
        for (int c = 0; c < C; ++c)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                v[2 * c + e] = 0.f;
#pragma unroll
                for (int p = 0; p < P; ++p) v[2 * c + e] += x.v[F::at(p, c, 0, e)] + x.v[F::at(p, c, 1, e)];
            }
        Columns::add(v, lane, columns);
    }
};

}  // namespace gramian::cuda

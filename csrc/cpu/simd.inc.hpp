// Vectors of the instruction set that this translation unit is compiled for. Everything here is in an unnamed
// namespace: no function of one instruction set can be linked in place of another's.
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __clang__
#define GRAMIAN_UNROLL(n) _Pragma("unroll")
#define GRAMIAN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define GRAMIAN_PRAGMA(text) _Pragma(#text)
#define GRAMIAN_UNROLL(n) GRAMIAN_PRAGMA(GCC unroll n)
#define GRAMIAN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, ivec{__VA_ARGS__})
#endif

namespace gramian {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kBlockRows = 12, kBlockVectors = 2;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kBlockRows = 6, kBlockVectors = 2;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kBlockRows = 8, kBlockVectors = 3;
#else
constexpr int kVectorBytes = 16, kBlockRows = 4, kBlockVectors = 3;
#endif

template <class T>
struct Simd;

template <>
struct Simd<float> {
    static constexpr int width = kVectorBytes / 4, mantissa = 23, bias = 127, log1p_terms = 6, atan_terms = 10, exp_terms = 7;
    static constexpr float round_magic = 12582912.f, exponent_floor = -126.f;
    typedef float vec __attribute__((vector_size(kVectorBytes)));
    typedef std::int32_t ivec __attribute__((vector_size(kVectorBytes)));
    typedef std::int32_t integer;
};

template <>
struct Simd<double> {
    static constexpr int width = kVectorBytes / 8, mantissa = 52, bias = 1023, log1p_terms = 12, atan_terms = 22, exp_terms = 14;
    static constexpr double round_magic = 6755399441055744.0, exponent_floor = -1022.0;
    typedef double vec __attribute__((vector_size(kVectorBytes)));
    typedef std::int64_t ivec __attribute__((vector_size(kVectorBytes)));
    typedef std::int64_t integer;
};

#define GRAMIAN_LOCAL static inline __attribute__((always_inline))

template <class T>
struct Vector {
    using S = Simd<T>;
    using vec = typename S::vec;
    using ivec = typename S::ivec;
    using integer = typename S::integer;

    GRAMIAN_LOCAL vec all(T x) { return x - vec{}; }
    GRAMIAN_LOCAL vec load(const T* p) {
        vec v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }
    GRAMIAN_LOCAL void store(T* p, vec v) { std::memcpy(p, &v, sizeof v); }
    /// Blocks of `Part` lanes: the even ones of a and of b by turns, or the odd ones.
    template <int Part, int... Lane>
    GRAMIAN_LOCAL vec even_blocks(vec a, vec b, std::integer_sequence<int, Lane...>) {
        return GRAMIAN_SHUFFLE(a, b, (Lane & Part ? (Lane ^ Part) + S::width : Lane)...);
    }
    template <int Part, int... Lane>
    GRAMIAN_LOCAL vec odd_blocks(vec a, vec b, std::integer_sequence<int, Lane...>) {
        return GRAMIAN_SHUFFLE(a, b, (Lane & Part ? Lane + S::width : Lane ^ Part)...);
    }
    /// v[i] lane k becomes v[k] lane i: halves are swapped, then quarters, ...
    template <int Part = S::width / 2>
    GRAMIAN_LOCAL void transpose(vec (&v)[S::width]) {
        using Lanes = std::make_integer_sequence<int, S::width>;
        GRAMIAN_UNROLL(16)
        for (int i = 0; i < S::width; ++i) {
            if (i & Part) continue;
            const vec a = v[i], b = v[i + Part];
            v[i] = even_blocks<Part>(a, b, Lanes{});
            v[i + Part] = odd_blocks<Part>(a, b, Lanes{});
        }
        if constexpr (Part > 1) transpose<Part / 2>(v);
    }
    GRAMIAN_LOCAL vec max(vec a, vec b) { return a > b ? a : b; }
    GRAMIAN_LOCAL vec abs(vec a) {
        constexpr integer sign = integer(1) << (8 * sizeof(T) - 2);
        return (vec)((ivec)a & (sign - 1 + sign));
    }
    GRAMIAN_LOCAL vec select_negative(vec sign, vec negative, vec positive) { return (ivec)sign < 0 ? negative : positive; }
    GRAMIAN_LOCAL vec negate_where(ivec mask, vec a) { return mask ? -a : a; }

    /// One bit for each lane of a comparison's outcome.
    GRAMIAN_LOCAL unsigned bits(ivec mask) {
#if defined(__AVX512DQ__)
        if constexpr (sizeof(T) == 4) return _mm512_movepi32_mask((__m512i)mask);
        if constexpr (sizeof(T) == 8) return _mm512_movepi64_mask((__m512i)mask);
#elif defined(__AVX2__)
        if constexpr (sizeof(T) == 4) return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask));
        if constexpr (sizeof(T) == 8) return static_cast<unsigned>(_mm256_movemask_pd((__m256d)mask));
#elif defined(__x86_64__)
        if constexpr (sizeof(T) == 4) return static_cast<unsigned>(_mm_movemask_ps((__m128)mask));
        if constexpr (sizeof(T) == 8) return static_cast<unsigned>(_mm_movemask_pd((__m128d)mask));
#else
        unsigned found = 0;
        for (int l = 0; l < S::width; ++l) found |= static_cast<unsigned>(mask[l] != 0) << l;
        return found;
#endif
    }

    GRAMIAN_LOCAL vec sqrt(vec a) {
        T t[S::width];
        std::memcpy(t, &a, sizeof t);
        for (int i = 0; i < S::width; ++i) t[i] = std::sqrt(t[i]);
        return load(t);
    }

    /// Lanes in float64, added in a fixed order.
    GRAMIAN_LOCAL double sum(vec a) {
        double t[S::width];
        for (int i = 0; i < S::width; ++i) t[i] = static_cast<double>(a[i]);
        for (int w = S::width / 2; w; w /= 2)
            for (int i = 0; i < w; ++i) t[i] += t[i + w];
        return t[0];
    }

    /// 2^y − base for y ≤ 0 and base 0 or 1; relative error of about one ulp, also near 0.
    GRAMIAN_LOCAL vec exp2_minus(vec y, T base) {
        static constexpr double c[] = {0.69314718055994530942,    0.24022650695910071233,    0.055504108664821579953,
                                       0.0096181291076284771619,  0.0013333558146428443423,  0.00015403530393381609954,
                                       1.5252733804059840280e-05, 1.3215486790144309488e-06, 1.0178086009239699728e-07,
                                       7.0549116208011233299e-09, 4.4455382718708114976e-10, 2.5678435993488205141e-11,
                                       1.3691488853904128881e-12, 6.7787263548225456334e-14};
        y = max(y, all(S::exponent_floor));
        const vec t = y + S::round_magic;
        const vec f = y - (t - S::round_magic);
        vec p = all(static_cast<T>(c[S::exp_terms - 1]));
        for (int k = S::exp_terms - 2; k >= 0; --k) p = p * f + static_cast<T>(c[k]);
        const vec power = (vec)(((ivec)t << S::mantissa) + (integer(S::bias) << S::mantissa));
        return power * (f * p) + (power - base);
    }

    /// log(1 + t) for t ≥ 0, accurate near 0.
    GRAMIAN_LOCAL vec log1p(vec t) {
        constexpr T sqrt_half = T(0.70710678118654752440);
        integer half_bits;
        std::memcpy(&half_bits, &sqrt_half, sizeof half_bits);
        const integer one_bits = integer(S::bias) << S::mantissa;
        const vec u = t + T(1);
        const ivec e = (((ivec)u + (one_bits - half_bits)) >> S::mantissa) - integer(S::bias);
        const vec power = (vec)((e + integer(S::bias)) << S::mantissa);
        const vec inverse = (vec)((integer(S::bias) - e) << S::mantissa);
        const vec f = (t - (power - T(1))) * inverse;  // u = 2^e·(1 + f)
        const vec s = f / (f + T(2)), z = s * s;
        vec p = all(T(1) / T(2 * S::log1p_terms - 1));
        for (int k = S::log1p_terms - 2; k >= 0; --k) p = p * z + T(1) / T(2 * k + 1);
        return __builtin_convertvector(e, vec) * T(0.69314718055994530942) + (s + s) * p;
    }

    /// atan(q) for 0 ≤ q ≤ 1.
    GRAMIAN_LOCAL vec atan(vec q) {
        constexpr T cut = T(0.41421356237309504880);  // tan(π/8)
        const vec r = q > all(cut) ? (q - T(1)) / (q + T(1)) : q;
        const vec z = r * r;
        vec p = all(T(1) / T(2 * S::atan_terms - 1));
        T sign = S::atan_terms % 2 ? T(1) : T(-1);
        p = p * sign;
        for (int k = S::atan_terms - 2; k >= 0; --k) p = p * z + (k % 2 ? T(-1) : T(1)) / T(2 * k + 1);
        const vec a = r * p;
        return q > all(cut) ? a + T(0.78539816339744830962) : a;
    }
};

}  // namespace
}  // namespace gramian

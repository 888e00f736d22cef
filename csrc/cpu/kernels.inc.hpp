// The tile kernels, compiled once per instruction set (kernels_<isa>.cpp). No container, no mutex, no inline function of
// other headers that could be shared with another translation unit: see simd.inc.hpp.
#include "core/element.hpp"
#include "cpu/kernels.hpp"
#include "cpu/simd.inc.hpp"

namespace gramian {
namespace {

enum class Op { product, squared_difference, absolute_difference, squared_sum };

template <class T>
struct Shape {
    using V = Vector<T>;
    static constexpr int width = Simd<T>::width;
    static constexpr int rows = kBlockRows;  // register block
    static constexpr int vectors = kBlockVectors;
    static constexpr int cols = width * vectors;
    static constexpr int block = rows * cols;            // elements
    static constexpr int row_blocks = kTileEdge / rows;  // in a tile
    static constexpr int strips = kTileEdge / cols;      // a strip: all row blocks over `cols` columns
    static constexpr int strip = kTileEdge * cols;       // elements
    static_assert(kTileEdge % rows == 0 && kTileEdge % cols == 0);
};

constexpr std::int64_t kPartial = 256;      // features summed before the partial sum is put aside
constexpr double kCancellation = 1.0 / 32;  // ‖x−y‖² below this part of ‖x‖²+‖y‖² is taken from differences

// ---- the inner loop ---------------------------------------------------------------------------------------------------

/// g[i][j] (+)= Σ_k op(a_i, b_j); a, b: panels [k][rows], [k][cols].
template <class T, Op op>
__attribute__((noinline)) void multiply(const T* a, const T* b, std::int64_t features, bool accumulate, T* g) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    for (std::int64_t begin = 0; begin < features; begin += kPartial) {
        const std::int64_t count = features - begin < kPartial ? features - begin : kPartial;
        vec sum[S::rows][S::vectors];
        for (int i = 0; i < S::rows; ++i)
            for (int v = 0; v < S::vectors; ++v) sum[i][v] = vec{};
        for (std::int64_t k = 0; k < count; ++k, a += S::rows, b += S::cols) {
            vec y[S::vectors];
            GRAMIAN_UNROLL(4)
            for (int v = 0; v < S::vectors; ++v) y[v] = V::load(b + v * S::width);
            GRAMIAN_UNROLL(16)
            for (int i = 0; i < S::rows; ++i) {
                const vec x = V::all(a[i]);
                GRAMIAN_UNROLL(4)
                for (int v = 0; v < S::vectors; ++v) {
                    if constexpr (op == Op::product) {
                        sum[i][v] += x * y[v];
                    } else if constexpr (op == Op::absolute_difference) {
                        sum[i][v] += V::abs(x - y[v]);
                    } else {
                        const vec t = op == Op::squared_sum ? x + y[v] : x - y[v];
                        sum[i][v] += t * t;
                    }
                }
            }
        }
        if (begin == 0 && !accumulate) {
            GRAMIAN_UNROLL(16)
            for (int i = 0; i < S::rows; ++i) GRAMIAN_UNROLL(4)
            for (int v = 0; v < S::vectors; ++v) V::store(g + i * S::cols + v * S::width, sum[i][v]);
        } else {
            GRAMIAN_UNROLL(16)
            for (int i = 0; i < S::rows; ++i) GRAMIAN_UNROLL(4)
            for (int v = 0; v < S::vectors; ++v) {
                T* p = g + i * S::cols + v * S::width;
                V::store(p, V::load(p) + sum[i][v]);
            }
        }
    }
}

// ---- packing ----------------------------------------------------------------------------------------------------------

/// Panels [k][edge] of rows first, first+1, ... (through `map` if given; rows at or past `last` are zero). Writes up to
/// one vector past the last panel.
template <class T, class E, int edge>
void pack_elements(const Operand<T>& x, const std::int64_t* map, std::int64_t first, std::int64_t last, int rows, std::int64_t k0,
                   std::int64_t k1, T* out) {
    using V = Vector<T>;
    constexpr int run = Simd<T>::width, groups = (edge + run - 1) / run;
    T buffer[groups * run][run] = {};
    const E* source[edge];
    std::int64_t stride[edge];
    T factor[edge];
    for (int r = 0; r < rows; r += edge) {
        const std::int64_t left = last - first - r;
        const int present = left < 0 ? 0 : left < edge ? static_cast<int>(left) : edge;
        for (int i = 0; i < present; ++i) {
            const std::int64_t position = first + r + i, row = map ? map[position] : position;
            const RowPointer p = row_pointer(x.rows, row);
            source[i] = reinterpret_cast<const E*>(p.data);
            factor[i] = x.factor ? x.factor[row] : x.scale;
            stride[i] = p.stride;
        }
        for (int i = present; i < edge; ++i)
            for (int t = 0; t < run; ++t) buffer[i][t] = T(0);
        for (std::int64_t k = k0; k < k1; k += run) {
            const int count = static_cast<int>(k1 - k < run ? k1 - k : run);
            for (int i = 0; i < present; ++i) {
                const E* p = source[i] + k * stride[i];
                if (stride[i] == 1 && count == run) {
                    for (int t = 0; t < run; ++t) buffer[i][t] = factor[i] * static_cast<T>(widen(p[t]));
                } else {
                    for (int t = 0; t < count; ++t) buffer[i][t] = factor[i] * static_cast<T>(widen(p[t * stride[i]]));
                }
            }
            if (x.reference) {
                // a product and a difference, each rounded: equal rows and a reference made alike give exact zeros
                asm volatile("" : : "r"(&buffer[0][0]) : "memory");  // no fused multiply-add
                T reference[run] = {};
                for (int t = 0; t < count; ++t) reference[t] = x.reference[k + t];
                for (int i = 0; i < present; ++i)
                    for (int t = 0; t < run; ++t) buffer[i][t] -= reference[t];
            }
            // the last group first: what it writes beyond `edge` belongs to the next feature and is written again
            for (int g = groups - 1; g >= 0; --g) {
                typename V::vec v[run];
                GRAMIAN_UNROLL(16)
                for (int i = 0; i < run; ++i) v[i] = V::load(buffer[g * run + i]);
                V::transpose(v);
                T* p = out + (k - k0) * edge + g * run;
                if (count == run) {
                    GRAMIAN_UNROLL(16)
                    for (int t = 0; t < run; ++t) V::store(p + t * edge, v[t]);
                } else {
                    alignas(64) T columns[run][run];
                    for (int t = 0; t < run; ++t) V::store(columns[t], v[t]);
                    for (int t = 0; t < count; ++t) V::store(p + t * edge, V::load(columns[t]));
                }
            }
        }
        out += (k1 - k0) * edge;
    }
}

template <class T, int edge>
void pack(const Operand<T>& x, const std::int64_t* map, std::int64_t first, std::int64_t last, int rows, std::int64_t k0,
          std::int64_t k1, T* out) {
    switch (x.rows.dtype()) {
        case DType::f64: return pack_elements<T, double, edge>(x, map, first, last, rows, k0, k1, out);
        case DType::f32: return pack_elements<T, float, edge>(x, map, first, last, rows, k0, k1, out);
        case DType::f16: return pack_elements<T, Half, edge>(x, map, first, last, rows, k0, k1, out);
        case DType::bf16: return pack_elements<T, BFloat16, edge>(x, map, first, last, rows, k0, k1, out);
    }
}

// ---- from inner products to shifted kernel values -----------------------------------------------------------------------

/// aux and shift of a tile's rows or columns; padding is harmless (aux 0).
template <class T>
struct Side {
    T aux[kTileEdge], shift[kTileEdge];
};

template <class T>
void fill_side(const Operand<T>& x, const std::int64_t* map, std::int64_t first, std::int64_t last, Side<T>& side) {
    for (int i = 0; i < kTileEdge; ++i) {
        const std::int64_t position = first + i;
        const std::int64_t row = position < last ? (map ? map[position] : position) : -1;
        side.aux[i] = row >= 0 && x.aux ? x.aux[row] : T(0);
        side.shift[i] = row >= 0 && x.shift && !map ? x.shift[row] : T(0);
    }
}

/// v = out·φ(g) − a_i − a_j over one register block, in place. Without `Direct`, g holds x·y; the answer says whether
/// a distance in it cancelled too much to be trusted. With it, g holds the distances themselves.
template <class T, class K, bool Direct>
bool finish_block(const Operand<T>& x, const T* aux_i, const T* shift_i, const T* aux_j, const T* shift_j, T* g) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    using ivec = typename V::ivec;
    T c[kConstants];
    for (int k = 0; k < kConstants; ++k) c[k] = x.constant[k];
    const T out = x.out;
    ivec cancelled = {};
    vec wj[S::vectors], aj[S::vectors];
    GRAMIAN_UNROLL(4)
    for (int v = 0; v < S::vectors; ++v) {
        wj[v] = V::load(aux_j + v * S::width);
        aj[v] = V::load(shift_j + v * S::width);
    }
    for (int i = 0; i < S::rows; ++i) {
        const vec wi = V::all(aux_i[i]), ai = V::all(shift_i[i]);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v) {
            T* p = g + i * S::cols + v * S::width;
            vec t = V::load(p);
            if constexpr (!Direct && K::geometry == Geometry::squared_distance) {
                const vec norms = wi + wj[v];
                t = norms - (t + t);
                cancelled |= t < norms * T(kCancellation);
                t = V::max(t, vec{});
            }
            if constexpr (!Direct && K::geometry == Geometry::angle) {
                const vec chord = T(2) - V::abs(t + t);
                cancelled |= chord < V::all(T(2 * kCancellation));
                t = V::negate_where(t < vec{}, V::max(chord, vec{}));
            }
            const vec phi = K::template phi<V, vec, T>(c, t, wi, wj[v]);
            V::store(p, (phi * out - ai) - aj[v]);
        }
    }
    if constexpr (Direct || (K::geometry != Geometry::squared_distance && K::geometry != Geometry::angle)) return false;
    bool any = false;
    for (int l = 0; l < S::width; ++l) any |= cancelled[l] != 0;
    return any;
}

/// One representation's part in one tile: panels and what the epilogue needs of rows and columns.
template <class T>
struct TileOperand {
    const Operand<T>* x;
    const Side<T>* row;
    const Side<T>* col;
};

template <class T, class K>
struct Epilogue {
    using S = Shape<T>;

    static bool from_products(const TileOperand<T>& t, int row, int col, T* g) {
        return finish_block<T, K, false>(*t.x, t.row->aux + row, t.row->shift + row, t.col->aux + col, t.col->shift + col, g);
    }
    static void from_distances(const TileOperand<T>& t, int row, int col, T* g) {
        finish_block<T, K, true>(*t.x, t.row->aux + row, t.row->shift + row, t.col->aux + col, t.col->shift + col, g);
    }
    /// g (+)= the distances themselves; an angle needs both chords: the far one lies one block behind the near one.
    static void differences(const T* a, const T* b, std::int64_t features, bool accumulate, T* g, T* far) {
        if constexpr (K::geometry == Geometry::l1_distance) {
            multiply<T, Op::absolute_difference>(a, b, features, accumulate, g);
        } else {
            multiply<T, Op::squared_difference>(a, b, features, accumulate, g);
            if constexpr (K::geometry == Geometry::angle) multiply<T, Op::squared_sum>(a, b, features, accumulate, far);
        }
    }
    static void nearer_chord(T* g, const T* far) {
        if constexpr (K::geometry == Geometry::angle)
            for (int e = 0; e < S::block; ++e) g[e] = g[e] <= far[e] ? g[e] : -far[e];
    }
    static constexpr bool has_distance = K::geometry != Geometry::dot;
    static constexpr bool only_distance = K::geometry == Geometry::l1_distance;
};

/// Which part of a tile counts: rows below row_end, columns below col_end, and i < j if on the diagonal.
struct Extent2 {
    int row_end, col_end;
    bool diagonal;
};

template <class T>
void mask_block(const Extent2& e, int row, int col, T* g) {
    using S = Shape<T>;
    for (int i = 0; i < S::rows; ++i)
        for (int j = 0; j < S::cols; ++j)
            if (row + i >= e.row_end || col + j >= e.col_end || (e.diagonal && row + i >= col + j)) g[i * S::cols + j] = T(0);
}

template <class T>
bool below_diagonal(const Extent2& e, int row, int col) {
    return e.diagonal && row >= col + Shape<T>::cols;
}

template <class T>
void mask_if_needed(const Extent2& e, int row, int col, T* g) {
    using S = Shape<T>;
    if (row + S::rows > e.row_end || col + S::cols > e.col_end || (e.diagonal && row + S::rows > col)) mask_block(e, row, col, g);
}

/// A strip of shifted kernel values of one representation from panels that hold all features.
template <class T, class K>
void strip_from_panels(const TileOperand<T>& t, const Extent2& e, const T* a, const T* b, int strip, T* values) {
    using S = Shape<T>;
    using E = Epilogue<T, K>;
    const std::int64_t d = t.x->rows.d;
    const bool direct = E::only_distance || (E::has_distance && t.x->direct);
    alignas(64) T far[S::block];
    const int col = strip * S::cols;
    for (int row = 0; row < e.row_end; row += S::rows, a += d * S::rows, values += S::block) {
        if (below_diagonal<T>(e, row, col)) {
            for (int k = 0; k < S::block; ++k) values[k] = T(0);
            continue;
        }
        bool differences = direct;
        if (!direct) {
            multiply<T, Op::product>(a, b, d, false, values);
            differences = E::from_products(t, row, col, values);
        }
        if (E::has_distance && differences) {
            E::differences(a, b, d, false, values, far);
            E::nearer_chord(values, far);
            E::from_distances(t, row, col, values);
        }
        mask_if_needed(e, row, col, values);
    }
}

using StripFloat = void (*)(const TileOperand<float>&, const Extent2&, const float*, const float*, int, float*);
using StripDouble = void (*)(const TileOperand<double>&, const Extent2&, const double*, const double*, int, double*);

/// Scratch of one thread, laid out in the workspace.
template <class T>
struct Layout {
    T* panel_a;  // block·edge·Σd, or edge·chunk
    T* panel_b;
    T* values;         // (m, strip), or (strips at a time, m, strip) when chunked
    T* far;            // (strips at a time, strip) second chords when chunked
    T* lane_sums;      // (sums, edge, width)
    T* col_sums;       // (sums, edge)
    double* out_rows;  // matmul: (edge, columns)
    double* out_cols;
    Side<T>* row;  // (m)
    Side<T>* col;  // (m)
    double* pair;  // (pairs)
    double* square;
    T* row_threshold;        // topk: (edge)
    T* col_threshold;        // (edge)
    Candidate* candidates;   // (kCandidates)
    int* held;               // how many of them
    unsigned char* flagged;  // (strips, row blocks)
    std::size_t bytes;
};

constexpr int sums_of(Statistic s, int m) { return s == Statistic::moments ? m : s == Statistic::products ? m * (m + 1) / 2 : 0; }
constexpr int pairs_of(Statistic s, int m) {
    return s == Statistic::star ? m - 1 : s == Statistic::matmul || s == Statistic::topk ? 0 : m * (m + 1) / 2;
}

template <class T>
Layout<T> layout(const Plan<T>& plan, char* memory) {
    using S = Shape<T>;
    std::size_t at = 0;
    const auto take = [&](std::size_t bytes) {
        char* p = memory + at;
        at += (bytes + 63) / 64 * 64;
        return p;
    };
    std::size_t features = 0;
    for (int q = 0; q < plan.m; ++q) features += static_cast<std::size_t>(plan.x[q].rows.d);
    const bool chunked = plan.block == 0;
    const auto edge = static_cast<std::size_t>(kTileEdge), m = static_cast<std::size_t>(plan.m);
    const auto strips = static_cast<std::size_t>(chunked ? plan.strips : 1);
    const std::size_t panel =
        chunked ? edge * static_cast<std::size_t>(plan.chunk) : static_cast<std::size_t>(plan.block) * edge * features;
    const auto sums = static_cast<std::size_t>(sums_of(plan.statistic, plan.m));
    const auto pairs = static_cast<std::size_t>(pairs_of(plan.statistic, plan.m));
    const auto columns = static_cast<std::size_t>(plan.columns);
    Layout<T> l;
    const std::size_t panel_bytes = panel * sizeof(T) + kVectorBytes;  // packing writes past the end
    l.panel_a = reinterpret_cast<T*>(take(panel_bytes));
    l.panel_b = reinterpret_cast<T*>(take(panel_bytes));
    l.values = reinterpret_cast<T*>(take(m * S::strip * strips * sizeof(T)));
    l.far = reinterpret_cast<T*>(take(chunked ? S::strip * strips * sizeof(T) : 0));
    l.lane_sums = reinterpret_cast<T*>(take(sums * edge * S::width * sizeof(T)));
    l.col_sums = reinterpret_cast<T*>(take(sums * edge * sizeof(T)));
    l.out_rows = reinterpret_cast<double*>(take(edge * columns * sizeof(double)));
    l.out_cols = reinterpret_cast<double*>(take(edge * columns * sizeof(double)));
    l.row = reinterpret_cast<Side<T>*>(take(m * sizeof(Side<T>)));
    l.col = reinterpret_cast<Side<T>*>(take(m * sizeof(Side<T>)));
    l.pair = reinterpret_cast<double*>(take((pairs + 1) * sizeof(double)));  // the last: the weighted difference
    l.square = reinterpret_cast<double*>(take(pairs * sizeof(double)));
    const std::size_t compared = plan.statistic == Statistic::topk ? edge : 0;
    l.row_threshold = reinterpret_cast<T*>(take(compared * sizeof(T)));
    l.col_threshold = reinterpret_cast<T*>(take(compared * sizeof(T)));
    l.candidates = reinterpret_cast<Candidate*>(take(compared ? kCandidates * sizeof(Candidate) : 0));
    l.held = reinterpret_cast<int*>(take(sizeof(int)));
    l.flagged = reinterpret_cast<unsigned char*>(take(static_cast<std::size_t>(S::strips * S::row_blocks)));
    l.bytes = at;
    return l;
}

// ---- a tile too wide to be packed at once -------------------------------------------------------------------------------

template <class T, class K>
void tile_by_chunks(const TileOperand<T>& t, const Extent2& e, const std::int64_t* col_map, std::int64_t row0,
                    std::int64_t row_last, std::int64_t col0, std::int64_t col_last, const Plan<T>& plan, const Layout<T>& l,
                    int q, int strip0, int strips) {
    using S = Shape<T>;
    using E = Epilogue<T, K>;
    const std::int64_t d = t.x->rows.d, chunk = plan.chunk;
    const int first = strip0 * S::cols;  // column
    const auto values = [&](int strip, int row) {
        return l.values + (static_cast<std::int64_t>(strip) * plan.m + q) * S::strip + row * S::cols;
    };
    const auto far = [&](int strip, int row) { return l.far + static_cast<std::int64_t>(strip) * S::strip + row * S::cols; };
    const auto each = [&](auto&& f) {
        for (int s = 0; s < strips; ++s)
            for (int row = 0; row < e.row_end; row += S::rows)
                if (!below_diagonal<T>(e, row, first + s * S::cols)) f(s, row, l.flagged[s * S::row_blocks + row / S::rows]);
    };
    const auto over_features = [&](auto&& f) {
        for (std::int64_t k = 0; k < d; k += chunk) {
            const std::int64_t end = k + chunk < d ? k + chunk : d;
            pack<T, S::rows>(*t.x, nullptr, row0, row_last, kTileEdge, k, end, l.panel_a);
            pack<T, S::cols>(*t.x, col_map, col0 + first, col_last, strips * S::cols, k, end, l.panel_b);
            f(k > 0, end - k);
        }
    };
    const bool direct = E::only_distance || (E::has_distance && t.x->direct);
    for (int f = 0; f < S::strips * S::row_blocks; ++f) l.flagged[f] = direct;
    bool any = direct;
    if (!direct) {
        over_features([&](bool more, std::int64_t count) {
            each([&](int s, int row, unsigned char&) {
                multiply<T, Op::product>(l.panel_a + row * count, l.panel_b + s * S::cols * count, count, more, values(s, row));
            });
        });
        each([&](int s, int row, unsigned char& flag) {
            flag = E::from_products(t, row, first + s * S::cols, values(s, row));
            any |= flag != 0;
        });
    }
    if (E::has_distance && any) {
        over_features([&](bool more, std::int64_t count) {
            each([&](int s, int row, unsigned char& flag) {
                if (flag)
                    E::differences(l.panel_a + row * count, l.panel_b + s * S::cols * count, count, more, values(s, row),
                                   far(s, row));
            });
        });
        each([&](int s, int row, unsigned char& flag) {
            if (!flag) return;
            E::nearer_chord(values(s, row), far(s, row));
            E::from_distances(t, row, first + s * S::cols, values(s, row));
        });
    }
    for (int s = 0; s < strips; ++s)
        for (int row = 0; row < e.row_end; row += S::rows) {
            if (below_diagonal<T>(e, row, first + s * S::cols)) {
                for (int k = 0; k < S::block; ++k) values(s, row)[k] = T(0);
            } else {
                mask_if_needed(e, row, first + s * S::cols, values(s, row));
            }
        }
}

// ---- reductions over a strip --------------------------------------------------------------------------------------------

/// Adds f(k) of a strip's vectors k to lane sums per row and sums per column.
template <class T, class F>
void sum_rows_and_columns(int row_end, int strip, T* lanes, T* cols, F&& value) {
    using S = Shape<T>;
    using V = Vector<T>;
    typename V::vec col[S::vectors] = {};
    for (int row = 0; row < row_end; ++row) {
        typename V::vec sum = V::load(lanes + row * S::width);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v) {
            const auto k = value(row * S::cols + v * S::width);
            col[v] += k;
            sum += k;
        }
        V::store(lanes + row * S::width, sum);
    }
    for (int v = 0; v < S::vectors; ++v) V::store(cols + strip * S::cols + v * S::width, col[v]);
}

/// Σ over a strip of x_a·y_b for A×B strips at once.
template <class T, int A, int B>
void multiply_strips(const T* x, const T* y, int elements, double* sums, int stride) {
    using S = Shape<T>;
    using V = Vector<T>;
    typename V::vec sum[A][B] = {};
    for (int e = 0; e < elements; e += S::width) {
        typename V::vec b[B];
        for (int j = 0; j < B; ++j) b[j] = V::load(y + j * S::strip + e);
        for (int i = 0; i < A; ++i) {
            const auto a = V::load(x + i * S::strip + e);
            for (int j = 0; j < B; ++j) sum[i][j] += a * b[j];
        }
    }
    for (int i = 0; i < A; ++i)
        for (int j = 0; j < B; ++j) sums[i * stride + j] = V::sum(sum[i][j]);
}

constexpr int kGroup = 4;  // strips multiplied with each other at once

template <class T>
void multiply_groups(const T* x, int a, const T* y, int b, int elements, double (&sums)[kGroup * kGroup]) {
    using F = void (*)(const T*, const T*, int, double*, int);
    static constexpr F table[kGroup][kGroup] = {
        {multiply_strips<T, 1, 1>, multiply_strips<T, 1, 2>, multiply_strips<T, 1, 3>, multiply_strips<T, 1, 4>},
        {multiply_strips<T, 2, 1>, multiply_strips<T, 2, 2>, multiply_strips<T, 2, 3>, multiply_strips<T, 2, 4>},
        {multiply_strips<T, 3, 1>, multiply_strips<T, 3, 2>, multiply_strips<T, 3, 3>, multiply_strips<T, 3, 4>},
        {multiply_strips<T, 4, 1>, multiply_strips<T, 4, 2>, multiply_strips<T, 4, 3>, multiply_strips<T, 4, 4>}};
    table[a - 1][b - 1](x, y, elements, sums, kGroup);
}

/// The usual case in one pass: two representations, three pair sums, row and column sums of both.
template <class T>
void moments_of_two(const Layout<T>& l, const T* values, int row_end, int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    const T *x = values, *y = values + S::strip;
    T *lanes_x = l.lane_sums, *lanes_y = l.lane_sums + kTileEdge * S::width;
    vec col_x[S::vectors] = {}, col_y[S::vectors] = {}, xx[S::vectors] = {}, xy[S::vectors] = {}, yy[S::vectors] = {};
    for (int row = 0; row < row_end; ++row) {
        vec sum_x = V::load(lanes_x + row * S::width), sum_y = V::load(lanes_y + row * S::width);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v) {
            const vec a = V::load(x + row * S::cols + v * S::width), b = V::load(y + row * S::cols + v * S::width);
            sum_x += a, sum_y += b;
            col_x[v] += a, col_y[v] += b;
            xx[v] += a * a, xy[v] += a * b, yy[v] += b * b;
        }
        V::store(lanes_x + row * S::width, sum_x);
        V::store(lanes_y + row * S::width, sum_y);
    }
    for (int v = 0; v < S::vectors; ++v) {
        V::store(l.col_sums + strip * S::cols + v * S::width, col_x[v]);
        V::store(l.col_sums + kTileEdge + strip * S::cols + v * S::width, col_y[v]);
        l.pair[0] += V::sum(xx[v]), l.pair[1] += V::sum(xy[v]), l.pair[2] += V::sum(yy[v]);
    }
}

template <class T>
void moments_of_many(const Layout<T>& l, const T* values, int m, int row_end, int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    for (int q = 0; q < m; ++q) {
        const T* x = values + q * S::strip;
        sum_rows_and_columns(row_end, strip, l.lane_sums + q * kTileEdge * S::width, l.col_sums + q * kTileEdge,
                             [&](int e) { return V::load(x + e); });
    }
    double sums[kGroup * kGroup];
    for (int p = 0; p < m; p += kGroup)
        for (int q = p; q < m; q += kGroup) {
            const int a = m - p < kGroup ? m - p : kGroup, b = m - q < kGroup ? m - q : kGroup;
            multiply_groups(values + p * S::strip, a, values + q * S::strip, b, row_end * S::cols, sums);
            for (int i = 0; i < a; ++i)
                for (int j = p == q ? i : 0; j < b; ++j) {
                    const int r = p + i, c = q + j;
                    l.pair[r * m - r * (r - 1) / 2 + (c - r)] += sums[i * kGroup + j];
                }
        }
}

template <class T>
void star_of_many(const Layout<T>& l, const T* values, int m, int row_end) {
    using S = Shape<T>;
    double sums[kGroup * kGroup];
    for (int q = 1; q < m; q += kGroup) {
        const int b = m - q < kGroup ? m - q : kGroup;
        multiply_groups(values, 1, values + q * S::strip, b, row_end * S::cols, sums);
        for (int j = 0; j < b; ++j) l.pair[q - 1 + j] += sums[j];
    }
}

template <class T>
void products_of_many(const Plan<T>& plan, const Layout<T>& l, const T* values, int row_end, int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    const int m = plan.m;
    for (int p = 0, pair = 0; p < m; ++p)
        for (int q = p; q < m; ++q, ++pair) {
            const T *x = values + p * S::strip, *y = values + q * S::strip;
            vec sum = {}, square = {};
            sum_rows_and_columns(row_end, strip, l.lane_sums + pair * kTileEdge * S::width, l.col_sums + pair * kTileEdge,
                                 [&](int e) {
                                     const vec k = V::load(x + e) * V::load(y + e);
                                     sum += k, square += k * k;
                                     return k;
                                 });
            l.pair[pair] += V::sum(sum), l.square[pair] += V::sum(square);
        }
    if (m < 2) return;
    vec difference = {};
    for (int e = 0; e < row_end * S::cols; e += S::width) {
        const vec k = V::load(values + e) * plan.weight[0] - V::load(values + S::strip + e) * plan.weight[1];
        difference += k * k;
    }
    l.pair[pairs_of(Statistic::products, m)] += V::sum(difference);
}

/// out[r][c] += Σ_k a[r·row_step + k·term_step]·z[k][c] in float64 for R rows and C vectors of columns, in registers.
template <class T, int R, int C>
GRAMIAN_LOCAL void multiply_vector_block(const T* a, int row_step, int term_step, int terms, const double* z, double* out,
                                         int columns) {
    using V = Vector<double>;
    constexpr int width = Simd<double>::width;
    typename V::vec sum[R][C];
    GRAMIAN_UNROLL(8)
    for (int r = 0; r < R; ++r) GRAMIAN_UNROLL(2)
    for (int c = 0; c < C; ++c) sum[r][c] = V::load(out + r * columns + c * width);
    for (int k = 0; k < terms; ++k, a += term_step, z += columns) {
        typename V::vec y[C];
        GRAMIAN_UNROLL(2)
        for (int c = 0; c < C; ++c) y[c] = V::load(z + c * width);
        GRAMIAN_UNROLL(8)
        for (int r = 0; r < R; ++r) {
            const auto x = V::all(static_cast<double>(a[r * row_step]));
            GRAMIAN_UNROLL(2)
            for (int c = 0; c < C; ++c) sum[r][c] += x * y[c];
        }
    }
    GRAMIAN_UNROLL(8)
    for (int r = 0; r < R; ++r) GRAMIAN_UNROLL(2)
    for (int c = 0; c < C; ++c) V::store(out + r * columns + c * width, sum[r][c]);
}

template <class T, int R>
GRAMIAN_LOCAL void multiply_vector_rows(const T* a, int row_step, int term_step, int terms, const double* z, double* out,
                                        int columns) {
    constexpr int width = Simd<double>::width;
    int c = 0;
    for (; c + 2 * width <= columns; c += 2 * width)
        multiply_vector_block<T, R, 2>(a, row_step, term_step, terms, z + c, out + c, columns);
    if (c < columns) multiply_vector_block<T, R, 1>(a, row_step, term_step, terms, z + c, out + c, columns);
}

/// out (rows, columns) += a (rows, terms) · z (terms, columns).
template <class T>
__attribute__((noinline)) void multiply_vectors(const T* a, int rows, int row_step, int terms, int term_step, const double* z,
                                                double* out, int columns) {
    constexpr int block = kBlockRows < 8 ? 4 : 8;
    int r = 0;
    for (; r + block <= rows; r += block)
        multiply_vector_rows<T, block>(a + r * row_step, row_step, term_step, terms, z, out + r * columns, columns);
    for (; r < rows; ++r) multiply_vector_rows<T, 1>(a + r * row_step, row_step, term_step, terms, z, out + r * columns, columns);
}

/// A strip of values times the columns' vectors, and its transpose times the rows'.
template <class T>
void matmul_strip(const Plan<T>& plan, const Layout<T>& l, const T* values, std::int64_t row0, std::int64_t col0,
                  const Extent2& e, int strip) {
    using S = Shape<T>;
    const int columns = plan.columns, first = strip * S::cols, cols = e.col_end - first < S::cols ? e.col_end - first : S::cols;
    const double *of_rows = plan.vectors + row0 * columns, *of_cols = plan.vectors + (col0 + first) * columns;
    multiply_vectors(values, e.row_end, S::cols, cols, 1, of_cols, l.out_rows, columns);
    multiply_vectors(values, cols, 1, e.row_end, S::cols, of_rows, l.out_cols + first * columns, columns);
}

template <class T>
void read_thresholds(const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0, const Extent2& e) {
    sink.thresholds(sink.neighbors, row0, e.row_end, l.row_threshold);
    sink.thresholds(sink.neighbors, col0, e.col_end, l.col_threshold);
}

template <class T>
void offer_candidates(const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0) {
    sink.offer(sink.neighbors, row0, col0, l.candidates, *l.held);
    *l.held = 0;
}

/// Whether a register block has a value that is not below the threshold of its row or of its column.
template <class T>
bool reaches_threshold(const T* values, const T* row_threshold, const T* col_threshold) {
    using S = Shape<T>;
    using V = Vector<T>;
    using vec = typename V::vec;
    vec most = V::all(T(-1)), tc[S::vectors];
    for (int v = 0; v < S::vectors; ++v) tc[v] = V::load(col_threshold + v * S::width);
    GRAMIAN_UNROLL(16)
    for (int i = 0; i < S::rows; ++i) {
        const vec tr = V::all(row_threshold[i]);
        GRAMIAN_UNROLL(4)
        for (int v = 0; v < S::vectors; ++v)
            most = V::max(most, V::load(values + i * S::cols + v * S::width) - (tr < tc[v] ? tr : tc[v]));
    }
    return V::bits(most >= vec{}) != 0;
}

/// Offers what may be among the nearest of its row or column: few pairs, once the thresholds have grown.
template <class T>
void find_neighbors(const Layout<T>& l, const Sink& sink, const T* values, std::int64_t row0, std::int64_t col0, const Extent2& e,
                    int strip) {
    using S = Shape<T>;
    using V = Vector<T>;
    const int first_col = strip * S::cols;
    const T* col_threshold = l.col_threshold + first_col;
    for (int block = 0; block < e.row_end; block += S::rows) {
        const T* of_block = values + block * S::cols;
        if (below_diagonal<T>(e, block, first_col) || !reaches_threshold(of_block, l.row_threshold + block, col_threshold))
            continue;
        for (int row = block; row < block + S::rows && row < e.row_end; ++row)
            for (int v = 0; v < S::vectors; ++v) {
                const T* p = of_block + (row - block) * S::cols + v * S::width;
                const auto x = V::load(p);
                unsigned found = V::bits((x >= V::all(l.row_threshold[row])) | (x >= V::load(col_threshold + v * S::width)));
                for (; found; found &= found - 1) {
                    const int lane = __builtin_ctz(found), col = first_col + v * S::width + lane;
                    if (col >= e.col_end || (e.diagonal && col <= row)) continue;
                    l.candidates[(*l.held)++] = {row, col, static_cast<double>(p[lane])};
                    if (*l.held < kCandidates) continue;
                    offer_candidates(l, sink, row0, col0);
                    read_thresholds(l, sink, row0, col0, e);
                }
            }
    }
}

template <class T>
void reduce_strip(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, const T* values, std::int64_t row0,
                  std::int64_t col0, const Extent2& e, int strip) {
    switch (plan.statistic) {
        case Statistic::moments:
            if (plan.m == 2) return moments_of_two(l, values, e.row_end, strip);
            return moments_of_many(l, values, plan.m, e.row_end, strip);
        case Statistic::star: return star_of_many(l, values, plan.m, e.row_end);
        case Statistic::products: return products_of_many(plan, l, values, e.row_end, strip);
        case Statistic::matmul: return matmul_strip(plan, l, values, row0, col0, e, strip);
        case Statistic::topk: return find_neighbors(l, sink, values, row0, col0, e, strip);
    }
}

// ---- a tile, a block of tiles -------------------------------------------------------------------------------------------

template <class T>
void begin_tile(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0,
                const Extent2& e) {
    using S = Shape<T>;
    const std::size_t sums = static_cast<std::size_t>(sums_of(plan.statistic, plan.m));
    const std::size_t pairs = static_cast<std::size_t>(pairs_of(plan.statistic, plan.m));
    std::memset(l.lane_sums, 0, sums * kTileEdge * S::width * sizeof(T));
    std::memset(l.col_sums, 0, sums * kTileEdge * sizeof(T));
    std::memset(l.pair, 0, (pairs + 1) * sizeof(double));
    std::memset(l.square, 0, pairs * sizeof(double));
    std::memset(l.out_rows, 0, static_cast<std::size_t>(kTileEdge * plan.columns) * sizeof(double));
    std::memset(l.out_cols, 0, static_cast<std::size_t>(kTileEdge * plan.columns) * sizeof(double));
    if (plan.statistic == Statistic::topk) {
        *l.held = 0;
        for (int i = 0; i < kTileEdge; ++i) l.row_threshold[i] = l.col_threshold[i] = T(__builtin_inf());
        read_thresholds(l, sink, row0, col0, e);
    }
}

template <class T>
void end_tile(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row0, std::int64_t col0, const Extent2& e) {
    using S = Shape<T>;
    using V = Vector<T>;
    double sums[kTileEdge];
    for (int q = 0; q < sums_of(plan.statistic, plan.m); ++q) {
        for (int i = 0; i < e.row_end; ++i) sums[i] = V::sum(V::load(l.lane_sums + (q * kTileEdge + i) * S::width));
        sink.add_rows(sink.owner, q, row0, e.row_end, sums);
        for (int j = 0; j < e.col_end; ++j) sums[j] = static_cast<double>(l.col_sums[q * kTileEdge + j]);
        sink.add_rows(sink.owner, q, col0, e.col_end, sums);
    }
    const int pairs = pairs_of(plan.statistic, plan.m);
    for (int p = 0; p < pairs; ++p) sink.pairs[p].add(2 * l.pair[p]);
    if (plan.statistic == Statistic::products) {
        for (int p = 0; p < pairs; ++p) sink.squares[p].add(2 * l.square[p]);
        sink.difference->add(2 * l.pair[pairs]);
    }
    if (plan.statistic == Statistic::topk) offer_candidates(l, sink, row0, col0);
    if (plan.statistic == Statistic::matmul) {
        sink.add_vectors(sink.owner, row0, e.row_end, l.out_rows);
        sink.add_vectors(sink.owner, col0, e.col_end, l.out_cols);
    }
}

template <class T>
using StripFunction = void (*)(const TileOperand<T>&, const Extent2&, const T*, const T*, int, T*);
template <class T>
using ChunkFunction = void (*)(const TileOperand<T>&, const Extent2&, const std::int64_t*, std::int64_t, std::int64_t,
                               std::int64_t, std::int64_t, const Plan<T>&, const Layout<T>&, int, int, int);

template <class T>
StripFunction<T> strip_function(KernelKind kind) {
    switch (kind) {
#define GRAMIAN_CASE(K) \
    case KernelKind::K: return strip_from_panels<T, K>;
        GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_CASE)
#undef GRAMIAN_CASE
    }
    return nullptr;
}

template <class T>
ChunkFunction<T> chunk_function(KernelKind kind) {
    switch (kind) {
#define GRAMIAN_CASE(K) \
    case KernelKind::K: return tile_by_chunks<T, K>;
        GRAMIAN_KERNEL_FUNCTIONS(GRAMIAN_CASE)
#undef GRAMIAN_CASE
    }
    return nullptr;
}

GRAMIAN_LOCAL Extent2 extent(std::int64_t n, std::int64_t row, std::int64_t col) {
    const auto end = [&](std::int64_t tile) {
        const std::int64_t left = n - tile * kTileEdge;
        return static_cast<int>(left < kTileEdge ? left : kTileEdge);
    };
    return {end(row), end(col), row == col};
}

template <class T>
void tile_of_panels(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row, std::int64_t col,
                    std::int64_t row_in_block, std::int64_t col_in_block) {
    using S = Shape<T>;
    const Extent2 e = extent(plan.n, row, col);
    const std::int64_t row0 = row * kTileEdge, col0 = col * kTileEdge;
    begin_tile(plan, l, sink, row0, col0, e);
    for (int q = 0; q < plan.m; ++q) {
        fill_side(plan.x[q], nullptr, row0, plan.n, l.row[q]);
        fill_side(plan.x[q], nullptr, col0, plan.n, l.col[q]);
    }
    for (int strip = 0; strip * S::cols < e.col_end; ++strip) {
        std::int64_t features = 0;
        for (int q = 0; q < plan.m; ++q) {
            const std::int64_t d = plan.x[q].rows.d, base = features * plan.block * kTileEdge;
            const T* a = l.panel_a + base + row_in_block * kTileEdge * d;
            const T* b = l.panel_b + base + (col_in_block * kTileEdge + strip * S::cols) * d;
            strip_function<T>(plan.x[q].kind)({&plan.x[q], &l.row[q], &l.col[q]}, e, a, b, strip, l.values + q * S::strip);
            features += d;
        }
        reduce_strip(plan, l, sink, l.values, row0, col0, e, strip);
    }
    end_tile(plan, l, sink, row0, col0, e);
}

template <class T>
void tile_of_chunks(const Plan<T>& plan, const Layout<T>& l, const Sink& sink, std::int64_t row, std::int64_t col) {
    using S = Shape<T>;
    const Extent2 e = extent(plan.n, row, col);
    const std::int64_t row0 = row * kTileEdge, col0 = col * kTileEdge;
    begin_tile(plan, l, sink, row0, col0, e);
    const int all = (e.col_end + S::cols - 1) / S::cols;
    for (int strip0 = 0; strip0 < all; strip0 += plan.strips) {
        const int strips = all - strip0 < plan.strips ? all - strip0 : plan.strips;
        for (int q = 0; q < plan.m; ++q) {
            fill_side(plan.x[q], nullptr, row0, plan.n, l.row[0]);
            fill_side(plan.x[q], nullptr, col0, plan.n, l.col[0]);
            chunk_function<T>(plan.x[q].kind)({&plan.x[q], &l.row[0], &l.col[0]}, e, nullptr, row0, plan.n, col0, plan.n, plan, l,
                                              q, strip0, strips);
        }
        for (int strip = 0; strip < strips; ++strip)
            reduce_strip(plan, l, sink, l.values + static_cast<std::int64_t>(strip) * plan.m * S::strip, row0, col0, e,
                         strip0 + strip);
    }
    end_tile(plan, l, sink, row0, col0, e);
}

template <class T>
void pack_block(const Plan<T>& plan, std::int64_t block, T* a_or_b, bool as_rows) {
    using S = Shape<T>;
    const std::int64_t first = block * plan.block * kTileEdge;
    std::int64_t left = plan.n - first;
    const std::int64_t whole = plan.block * kTileEdge;
    left = left < whole ? (left + kTileEdge - 1) / kTileEdge * kTileEdge : whole;
    for (int q = 0; q < plan.m; ++q) {
        const std::int64_t d = plan.x[q].rows.d;
        if (as_rows) {
            pack<T, S::rows>(plan.x[q], nullptr, first, plan.n, static_cast<int>(left), 0, d, a_or_b);
        } else {
            pack<T, S::cols>(plan.x[q], nullptr, first, plan.n, static_cast<int>(left), 0, d, a_or_b);
        }
        a_or_b += whole * d;
    }
}

template <class T>
void run_block(const Plan<T>& plan, const TileSchedule& schedule, Workspace& workspace, const Sink& sink, std::int64_t block_row,
               std::int64_t block_col) {
    const Layout<T> l = layout(plan, workspace.memory);
    const std::int64_t edge = plan.block ? plan.block : 1;
    const auto end = [&](std::int64_t block) {
        return (block + 1) * edge < schedule.side() ? (block + 1) * edge : schedule.side();
    };
    bool packed = false;
    for (std::int64_t row = block_row * edge; row < end(block_row); ++row)
        for (std::int64_t col = block_col * edge > row ? block_col * edge : row; col < end(block_col); ++col) {
            if (!schedule.owns(row, col)) continue;
            if (sink.stop(sink.owner)) return;
            if (plan.block == 0) {
                tile_of_chunks(plan, l, sink, row, col);
                continue;
            }
            if (!packed) {
                if (workspace.packed_row != block_row) pack_block(plan, block_row, l.panel_a, true);
                workspace.packed_row = block_row;
                pack_block(plan, block_col, l.panel_b, false);
                packed = true;
            }
            tile_of_panels(plan, l, sink, row, col, row - block_row * edge, col - block_col * edge);
        }
}

template <class T>
void landmark_sums(const Plan<T>& plan, Workspace& workspace, int q, std::int64_t tile, double* sums) {
    using S = Shape<T>;
    using V = Vector<T>;
    const Layout<T> l = layout(plan, workspace.memory);
    std::int64_t map[kLandmarks];
    const std::int64_t count = plan.n < kLandmarks ? plan.n : kLandmarks;
    for (std::int64_t i = 0; i < count; ++i) map[i] = landmark_row(i, count, plan.n);
    const std::int64_t row0 = tile * kTileEdge;
    const Extent2 e{extent(plan.n, tile, tile).row_end, static_cast<int>(count), false};
    fill_side(plan.x[q], nullptr, row0, plan.n, l.row[0]);
    for (int i = 0; i < kTileEdge; ++i) l.row[0].shift[i] = T(0);
    fill_side(plan.x[q], map, 0, count, l.col[0]);
    chunk_function<T>(plan.x[q].kind)({&plan.x[q], &l.row[0], &l.col[0]}, e, map, row0, plan.n, 0, count, plan, l, 0, 0,
                                      (e.col_end + S::cols - 1) / S::cols);
    for (int i = 0; i < e.row_end; ++i) sums[i] = 0;
    for (int strip = 0; strip * S::cols < e.col_end; ++strip) {
        T* values = l.values + static_cast<std::int64_t>(strip) * S::strip;
        for (int j = 0; j < S::cols && strip * S::cols + j < e.col_end; ++j) {
            const std::int64_t own = map[strip * S::cols + j] - row0;
            if (0 <= own && own < e.row_end) values[own * S::cols + j] = T(0);
        }
        for (int i = 0; i < e.row_end; ++i)
            for (int v = 0; v < S::vectors; ++v) sums[i] += V::sum(V::load(values + i * S::cols + v * S::width));
    }
}

template <class T>
std::size_t workspace_bytes(const Plan<T>& plan) {
    return layout(plan, nullptr).bytes;
}

template <class T>
constexpr TileKernels<T> kKernels = {workspace_bytes<T>, run_block<T>, landmark_sums<T>, Shape<T>::strips};

}  // namespace

#define GRAMIAN_JOIN2(a, b) a##b
#define GRAMIAN_JOIN(a, b) GRAMIAN_JOIN2(a, b)
const TileKernels<float>& GRAMIAN_JOIN(float_kernels_, GRAMIAN_ISA)() { return kKernels<float>; }
const TileKernels<double>& GRAMIAN_JOIN(double_kernels_, GRAMIAN_ISA)() { return kKernels<double>; }

}  // namespace gramian

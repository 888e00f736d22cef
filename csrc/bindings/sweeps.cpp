#include "bindings/sweeps.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "bindings/view.hpp"
#include "cpu/thread_pool.hpp"

namespace py = pybind11;
using namespace pybind11::literals;

namespace gramian {
namespace {

constexpr int kPlain = py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
using Doubles = py::array_t<double, kPlain>;
using Indices = py::array_t<std::int64_t, kPlain>;
using Words = py::array_t<std::uint64_t, kPlain>;

constexpr std::int64_t kMostColumns = 64;  // vectors of one sweep

/// An array that takes over the vector's memory.
template <class T, class V>
py::array_t<T> hand_over(std::vector<V>&& values, std::vector<py::ssize_t> shape) {
    auto owner = std::make_unique<std::vector<V>>(std::move(values));
    const auto* data = reinterpret_cast<const T*>(owner->data());
    const py::capsule capsule(owner.release(), [](void* p) { delete static_cast<std::vector<V>*>(p); });
    return py::array_t<T>(std::move(shape), data, capsule);
}

template <class Sum>
py::array_t<std::uint64_t> limbs(std::vector<Sum>&& sums, std::vector<py::ssize_t> shape) {
    shape.push_back(sizeof(Sum) / 8);
    return hand_over<std::uint64_t>(std::move(sums), std::move(shape));
}

/// Ctrl-C, while native code works.
void check_signals() {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

Statistic statistic_of(const std::string& name) {
    if (name == "moments") return Statistic::moments;
    if (name == "star") return Statistic::star;
    if (name == "products") return Statistic::products;
    if (name == "matmul") return Statistic::matmul;
    if (name == "topk") return Statistic::topk;
    throw py::value_error("unknown statistic '" + name + "'");
}

Precision precision_of(const std::string& name) {
    if (name == "highest") return Precision::highest;
    if (name == "high") return Precision::high;
    if (name == "medium") return Precision::medium;
    throw py::value_error("unknown precision '" + name + "'");
}

void require(bool holds, const char* what) {
    if (!holds) throw py::value_error(what);
}

/// Where all of these lie; a kernel that reads another device's memory would take the whole process down.
int device_of(const std::vector<View*>& views) {
    require(!views.empty(), "a call needs at least one view");
    for (const View* v : views) require(v->device == views[0]->device, "views of one call lie on one device");
    return views[0]->device;
}

Rows rows_of(const std::vector<View*>& views) {
    require(views.size() == 1 || views.size() == 2, "rows lie in one view or two");
    Rows rows;
    for (std::size_t p = 0; p < views.size(); ++p) {
        require(views[p], "None is no view");
        rows.part[p] = views[p]->matrix;
        require(rows.part[p].rows > 0 && rows.part[p].cols > 0, "a view of no elements has no rows");
        require(rows.part[p].cols == rows.part[0].cols && rows.part[p].dtype == rows.part[0].dtype,
                "two views of rows are of one width and dtype");
        rows.n += rows.part[p].rows;
    }
    rows.d = rows.part[0].cols;
    return rows;
}

/// Which rows are asked for: all of them are there.
const std::int64_t* listed_rows(const Indices& listed, std::int64_t n) {
    require(listed.ndim() == 1, "rows are listed in one dimension");
    const std::int64_t* rows = listed.data();
    for (py::ssize_t k = 0; k < listed.size(); ++k)
        if (rows[k] < 0 || rows[k] >= n) throw py::index_error("row " + std::to_string(rows[k]) + " of " + std::to_string(n));
    return rows;
}

/// Representations as Python describes them: (views of one or two parts, kernel, index or None, shift of one or two rows or
/// None, base or -1).
using PyRepresentation = std::tuple<std::vector<View*>, KernelFunction, std::optional<Indices>, std::optional<Doubles>, int>;

py::dict sweep(const std::vector<PyRepresentation>& xs, const std::string& statistic, const std::string& precision,
               std::pair<std::int64_t, std::int64_t> shard, int split, std::pair<double, double> weights,
               const std::optional<Doubles>& vectors, std::int64_t neighbors, bool wide, std::int64_t memory,
               const py::object& progress) {
    SweepArgs args;
    std::vector<View*> all;
    require(!xs.empty(), "a sweep needs at least one representation");
    for (const auto& [views, kernel, index, shift, base] : xs) {
        Representation r;
        r.kernel = kernel;
        r.base = base;
        r.rows = rows_of(views);
        all.insert(all.end(), views.begin(), views.end());
        if (index) r.rows.index = listed_rows(*index, r.rows.n), r.rows.n = index->size();
        if (shift) {
            const bool halves = shift->ndim() == 2 && shift->shape(0) == 2;
            require((shift->ndim() == 1 || halves) && shift->shape(shift->ndim() - 1) == r.rows.n,
                    "a shift has a value for each row, in one part or two");
            r.shift = shift->data();
            if (halves) r.rest = shift->data() + r.rows.n;
        }
        require(base >= -1 && base <= 1, "a base is 0, 1 or, chosen by the sweep, -1");
        args.x.push_back(r);
        require(r.rows.n > 0 && r.rows.n == args.x[0].rows.n, "representations have the same number of rows, 1 or more");
    }
    const int device = device_of(all);
    require(shard.second > 0 && 0 <= shard.first && shard.first < shard.second, "a shard is (rank, size) with 0 <= rank < size");
    require(memory >= 0, "memory is a number of bytes, or 0");
    args.statistic = statistic_of(statistic);
    args.precision = precision_of(precision);
    args.shard = {shard.first, shard.second};
    require(split == 0 || (args.statistic == Statistic::moments && 0 < split && split < static_cast<int>(xs.size())),
            "a split of moments leaves representations on both sides");
    args.split = split;
    args.weight[0] = weights.first;
    args.weight[1] = weights.second;
    const bool alone = args.statistic == Statistic::matmul || args.statistic == Statistic::topk;
    require(!alone || xs.size() == 1, "products with vectors and neighbours are of one representation");
    require((args.statistic == Statistic::matmul) == vectors.has_value(), "vectors are for products with them");
    if (vectors) {
        require(vectors->ndim() == 2 && vectors->shape(0) == args.x[0].rows.n, "vectors have a value for each row");
        require(vectors->shape(1) >= 1 && vectors->shape(1) <= kMostColumns, "a sweep multiplies 1 to 64 vectors");
        args.vectors = vectors->data(), args.columns = vectors->shape(1);
    }
    require(args.statistic != Statistic::topk || (neighbors >= 1 && neighbors < args.x[0].rows.n),
            "a row has from 1 to n - 1 neighbours");
    args.neighbors = neighbors;
    args.wide = wide;
    args.memory = memory;
    args.progress = [&](std::int64_t done, std::int64_t total) {
        const py::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress.is_none()) progress(done, total);
    };
    SweepResult r;
    {
        const py::gil_scoped_release nogil;
        const ScopedTick heard(check_signals);
        r = sweep_on(device, args);
    }
    const auto m = static_cast<py::ssize_t>(args.x.size()), n = static_cast<py::ssize_t>(args.x[0].rows.n);
    const auto pairs = static_cast<py::ssize_t>(r.pairs.size());
    py::list shifts, offsets, rests, diagonals;
    for (auto& s : r.shift) shifts.append(hand_over<double>(std::move(s), {n}));
    for (auto& s : r.offset) offsets.append(hand_over<double>(std::move(s), {n}));
    for (auto& s : r.rest) rests.append(hand_over<double>(std::move(s), {n}));
    for (auto& d : r.diagonal) diagonals.append(hand_over<double>(std::move(d), {n}));
    const std::vector<py::ssize_t> rows = args.statistic == Statistic::matmul
                                              ? std::vector<py::ssize_t>{n, static_cast<py::ssize_t>(args.columns)}
                                              : std::vector<py::ssize_t>{args.statistic == Statistic::products  ? pairs
                                                                         : args.statistic == Statistic::moments ? m
                                                                                                                : 0,
                                                                         n};
    py::dict out;
    out["tiles"] = py::make_tuple(r.tiles.begin, r.tiles.end);
    out["all_tiles"] = r.all_tiles;
    out["exponent"] = hand_over<int>(std::move(r.exponent), {m});
    out["base"] = hand_over<int>(std::move(r.base), {m});
    out["rounding"] = hand_over<double>(std::move(r.rounding), {m});
    out["single"] = r.single;
    out["epsilon"] = r.epsilon;
    out["device_seconds"] = r.device_seconds;
    out["shift"] = shifts;
    out["offset"] = offsets;
    out["rest"] = rests;
    out["diagonal"] = diagonals;
    out["pairs"] = limbs(std::move(r.pairs), {pairs});
    const auto squares = static_cast<py::ssize_t>(r.squares.size());
    out["squares"] = limbs(std::move(r.squares), {squares});
    out["difference"] = limbs(std::vector<PairSum>{r.difference}, {1});
    out["rows"] = limbs(std::move(r.rows), rows);
    const auto listed = static_cast<py::ssize_t>(r.index.size()) / n;
    out["index"] = hand_over<std::int64_t>(std::move(r.index), {n, listed});
    out["similarity"] = hand_over<double>(std::move(r.similarity), {n, listed});
    return out;
}

template <class Sum>
Doubles values_of(const Words& words) {
    const auto count = static_cast<std::size_t>(words.size()) * 8 / sizeof(Sum);
    std::vector<py::ssize_t> shape(words.shape(), words.shape() + words.ndim() - 1);
    Doubles out(shape);
    const auto* sums = reinterpret_cast<const Sum*>(words.data());
    for (std::size_t i = 0; i < count; ++i) out.mutable_data()[i] = sums[i].value();
    return out;
}

template <class Sum>
Words add_words(const Words& a, const Words& b) {
    require(a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape()),
            "fixed-point sums add one by one: both arrays have the same shape");
    std::vector<py::ssize_t> shape(a.shape(), a.shape() + a.ndim());
    Words out(shape);
    const auto* x = reinterpret_cast<const Sum*>(a.data());
    const auto* y = reinterpret_cast<const Sum*>(b.data());
    auto* z = reinterpret_cast<Sum*>(out.mutable_data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(a.size()) * 8 / sizeof(Sum); ++i) {
        z[i] = x[i];
        z[i].add(y[i].limb);
    }
    return out;
}

/// The words of sums in the order that they are added in; what is no 64-bit integer is not rounded to one.
Words words_of(const py::array& given) {
    if (given.dtype().kind() != 'u' || given.itemsize() != sizeof(std::uint64_t))
        throw py::type_error("fixed-point sums are words of uint64");
    return Words::ensure(given);
}

bool is_pair_sum(const Words& words) {
    const auto last = words.ndim() ? words.shape(words.ndim() - 1) : 0;
    require(last == sizeof(PairSum) / 8 || last == sizeof(RowSum) / 8, "not the words of fixed-point sums");
    return last == sizeof(PairSum) / 8;
}

Doubles distances(const std::vector<View*>& views, const Indices& i, const Indices& j, bool l1) {
    const Rows rows = rows_of(views);
    const int device = device_of(views);
    require(i.size() == j.size(), "pairs have two rows each");
    const std::int64_t *from = listed_rows(i, rows.n), *to = listed_rows(j, rows.n);
    std::vector<double> d;
    {
        const py::gil_scoped_release nogil;
        const ScopedTick heard(check_signals);
        d = pair_distances_on(device, rows, from, to, i.size(), l1);
    }
    const auto count = static_cast<py::ssize_t>(d.size());
    return hand_over<double>(std::move(d), {count});
}

Doubles rows_to_host(const std::vector<View*>& views, const Indices& listed) {
    const Rows rows = rows_of(views);
    const int device = device_of(views);
    require(device != kHost, "these rows are on the host already");
    const std::int64_t* from = listed_rows(listed, rows.n);
    const auto count = static_cast<std::int64_t>(listed.size());
    Doubles out({listed.size(), static_cast<py::ssize_t>(rows.d)});
    double* to = out.mutable_data();
    {
        const py::gil_scoped_release nogil;
        cuda::rows_to_host(rows, from, count, to, device);
    }
    return out;
}

}  // namespace

void bind_sweeps(py::module_& m) {
    m.attr("TILE_EDGE") = kTileEdge;
    m.def("sweep", &sweep, "representations"_a, py::kw_only(), "statistic"_a = "moments", "precision"_a = "highest",
          "shard"_a = std::make_pair(0, 1), "split"_a = 0, "weights"_a = std::make_pair(1.0, 1.0), "vectors"_a = py::none(),
          "neighbors"_a = 0, "wide"_a = false, "memory"_a = 0, "progress"_a = py::none(),
          "One sweep over the pairs of rows; see csrc/core/sweep.hpp.");
    m.def(
        "fixed_values",
        [](const py::array& given) {
            const Words words = words_of(given);
            return is_pair_sum(words) ? values_of<PairSum>(words) : values_of<RowSum>(words);
        },
        "words"_a, "Fixed-point sums as float64.");
    m.def(
        "fixed_add",
        [](const py::array& x, const py::array& y) {
            const Words a = words_of(x), b = words_of(y);
            return is_pair_sum(a) ? add_words<PairSum>(a, b) : add_words<RowSum>(a, b);
        },
        "a"_a, "b"_a, "Fixed-point sums added exactly.");
    m.def("pair_distances", &distances, "parts"_a, "i"_a, "j"_a, py::kw_only(), "l1"_a,
          "Distances of listed pairs of rows, in float64.");
    m.def("rows_to_host", &rows_to_host, "parts"_a, "rows"_a, "Listed rows of a device's memory, as float64.");
}

}  // namespace gramian

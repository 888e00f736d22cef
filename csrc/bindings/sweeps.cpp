#include "bindings/sweeps.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>

#include "bindings/view.hpp"
#include "cpu/thread_pool.hpp"

namespace py = pybind11;
using namespace pybind11::literals;

namespace gramian {
namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using Words = py::array_t<std::uint64_t, py::array::c_style | py::array::forcecast>;

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

/// Where all of these lie; a kernel that reads another device's memory would take the whole process down.
int device_of(const std::vector<View*>& views) {
    for (const View* v : views)
        if (v->device != views[0]->device) throw py::value_error("views of one call lie on one device");
    return views.at(0)->device;
}

Rows rows_of(const std::vector<View*>& views) {
    Rows rows;
    for (std::size_t p = 0; p < views.size() && p < 2; ++p) {
        rows.part[p] = views[p]->matrix;
        rows.n += views[p]->matrix.rows;
    }
    rows.d = rows.part[0].cols;
    return rows;
}

/// Representations as Python describes them: (views of one or two parts, kernel, index or None, shift of one or two rows or
/// None, base or -1).
using PyRepresentation = std::tuple<std::vector<View*>, KernelFunction, std::optional<Indices>, std::optional<Doubles>, int>;

py::dict sweep(const std::vector<PyRepresentation>& xs, const std::string& statistic, const std::string& precision,
               std::pair<std::int64_t, std::int64_t> shard, std::pair<double, double> weights,
               const std::optional<Doubles>& vectors, std::int64_t neighbors, bool wide, std::int64_t memory,
               const py::object& progress) {
    SweepArgs args;
    std::vector<View*> all;
    for (const auto& [views, kernel, index, shift, base] : xs) {
        Representation r;
        r.kernel = kernel;
        r.base = base;
        r.rows = rows_of(views);
        all.insert(all.end(), views.begin(), views.end());
        if (index) r.rows.index = index->data(), r.rows.n = index->shape(0);
        if (shift) r.shift = shift->data();
        if (shift && shift->ndim() == 2) r.rest = shift->data() + shift->shape(1);
        args.x.push_back(r);
    }
    const int device = device_of(all);
    args.statistic = statistic_of(statistic);
    args.precision = precision_of(precision);
    args.shard = {shard.first, shard.second};
    args.weight[0] = weights.first;
    args.weight[1] = weights.second;
    if (vectors) args.vectors = vectors->data(), args.columns = vectors->shape(1);
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

bool is_pair_sum(const Words& words) {
    const auto last = words.ndim() ? words.shape(words.ndim() - 1) : 0;
    if (last != sizeof(PairSum) / 8 && last != sizeof(RowSum) / 8) throw py::value_error("not the words of fixed-point sums");
    return last == sizeof(PairSum) / 8;
}

Doubles distances(const std::vector<View*>& views, const Indices& i, const Indices& j, bool l1) {
    const Rows rows = rows_of(views);
    const int device = device_of(views);
    std::vector<double> d;
    {
        const py::gil_scoped_release nogil;
        const ScopedTick heard(check_signals);
        d = pair_distances_on(device, rows, i.data(), j.data(), i.size(), l1);
    }
    const auto count = static_cast<py::ssize_t>(d.size());
    return hand_over<double>(std::move(d), {count});
}

Doubles rows_to_host(const std::vector<View*>& views, const Indices& listed) {
    const Rows rows = rows_of(views);
    const int device = device_of(views);
    if (device == kHost) throw py::value_error("these rows are on the host already");
    Doubles out({listed.size(), static_cast<py::ssize_t>(rows.d)});
    const std::int64_t *from = listed.data(), count = listed.size();
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
          "shard"_a = std::make_pair(0, 1), "weights"_a = std::make_pair(1.0, 1.0), "vectors"_a = py::none(), "neighbors"_a = 0,
          "wide"_a = false, "memory"_a = 0, "progress"_a = py::none(),
          "One sweep over the pairs of rows; see csrc/core/sweep.hpp.");
    m.def(
        "fixed_values",
        [](const Words& words) { return is_pair_sum(words) ? values_of<PairSum>(words) : values_of<RowSum>(words); }, "words"_a,
        "Fixed-point sums as float64.");
    m.def(
        "fixed_add",
        [](const Words& a, const Words& b) { return is_pair_sum(a) ? add_words<PairSum>(a, b) : add_words<RowSum>(a, b); }, "a"_a,
        "b"_a, "Fixed-point sums added exactly.");
    m.def("pair_distances", &distances, "parts"_a, "i"_a, "j"_a, py::kw_only(), "l1"_a,
          "Distances of listed pairs of rows, in float64.");
    m.def("rows_to_host", &rows_to_host, "parts"_a, "rows"_a, "Listed rows of a device's memory, as float64.");
}

}  // namespace gramian

"""Layers of a model, however they are given: by name, by number, in one array, in files; and which are meant."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from gramian.rows.arrays import Matrix
from gramian.rows.objects import kind_of, of_torch_arrays
from gramian.rows.sources import chosen, keys_of_another, matrix, named_layers, open_layers
from gramian.sums import is_statistics

Keys: TypeAlias = str | int | Sequence[str | int]

_LAYER_DIMENSIONS = ("layer", "layers", "block", "blocks", "depth")  # what people call it in xarray


def layers(Xs: object, name: str, keys: Keys | None = None, *, own_keys: str | None = None) -> dict[str, Matrix]:
    """Every layer that is given, or those that are chosen, by name and through the gate.

    Parameters
    ----------
    Xs : dict, sequence, array, table or path
        A dict of name to layer, where a layer is anything that `sources.matrix` takes; a sequence, named by position;
        an array of shape (n, layers, features), named layer0, layer1, ...; a DataArray of xarray of three dimensions,
        named by the coordinate of its layers; a Dataset of xarray; a DataFrame whose columns have two levels, (layer,
        unit); a file or directory that `sources.open_layers` takes. One array (n, features) is one layer, layer0.
    name : str
        What the caller calls it; every message starts with it.
    keys : str, int, or sequence of them, optional
        Which layers, in this order: each a name, a number that is a name, or a pattern of names as ``blocks.*.mlp``.
        Others are not read.
    own_keys : str, optional
        The argument that chooses of these alone, where `keys` are those of another model.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError, ImportError
        Naming the layer, what came and what is needed; a key that is not there lists what there is.
    """
    with keys_of_another(own_keys):
        found = given_layers(Xs, name, keys)
    return {key: _through_gate(layer, key, name, found) for key, layer in found.items()}


def given_layers(Xs: object, name: str, keys: Keys | None = None) -> dict[str, object]:
    """`layers` before the gate: what is given by layer, by its name."""
    wanted = names_of(keys)
    if issubclass(type(Xs), str | os.PathLike):
        return dict(open_layers(cast("str | os.PathLike[str]", Xs), wanted, name))
    found = _by_name(Xs, name)
    if not found:
        raise ValueError(f"{name} has no layers")
    return chosen(found, wanted, name)


def names_of(keys: Keys | None) -> str | Sequence[str] | None:
    """Layers that have a number for a name are asked by it too; what is no key is left to `chosen`, which says so."""
    listed = list(keys) if isinstance(keys, Sequence) and not isinstance(keys, str) else [keys]
    if keys is None or isinstance(keys, str) or not all(isinstance(key, str) or _is_number(key) for key in listed):
        return cast("str | Sequence[str] | None", keys)
    return [str(key) for key in listed]


def _is_number(key: object) -> bool:
    return hasattr(key, "__index__") and not isinstance(key, bool) and not hasattr(key, "__len__")


def _by_name(Xs: Any, name: str) -> dict[str, object]:
    kind = type(Xs)
    if issubclass(kind, Mapping):
        if getattr(Xs, "hidden_states", None) is not None:
            raise TypeError(
                f"{name} is {kind_of(Xs)}; give its layers with tokens pooled to a row a sample: "
                f"{{f'layer{{i}}': h.mean(1) for i, h in enumerate({name}.hidden_states)}}"
            )
        return named_layers(Xs, name)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return dict(zip(kind._fields, Xs, strict=True))
    if issubclass(kind, list | tuple):
        return named_layers(Xs, name)
    if is_statistics(Xs):
        raise TypeError(f"{name} is {kind.__name__}, the sums of two arrays, where arrays of several layers are needed")
    library = kind.__module__.partition(".")[0]
    if library == "pandas" and kind.__name__ == "DataFrame":
        if Xs.columns.nlevels == 1:
            return {"layer0": Xs}
        return {str(layer): Xs[layer] for layer in dict.fromkeys(Xs.columns.get_level_values(0))}
    if library == "xarray" and kind.__name__ == "Dataset":
        return {str(layer): array for layer, array in Xs.data_vars.items()}
    if library == "xarray" and kind.__name__ == "DataArray":
        return _of_data_array(Xs, name)
    return _of_array(Xs, name)


def _of_data_array(x: Any, name: str) -> dict[str, object]:
    if x.ndim != 3:
        return {str(x.name or "layer0"): x}
    dimension = next((d for d in x.dims if str(d).lower() in _LAYER_DIMENSIONS), x.dims[1])
    if dimension == x.dims[0]:
        raise ValueError(f"{name} has layers in its first dimension, {dimension!r}; samples must be there")
    labels = x.indexes[dimension] if dimension in x.indexes else [f"layer{i}" for i in range(x.sizes[dimension])]
    found: dict[str, object] = {str(label): x.isel({dimension: i}) for i, label in enumerate(labels)}
    if len(found) < x.sizes[dimension]:
        raise ValueError(f"{name} has two layers of one name: {', '.join(map(str, labels))}")
    return found


def _of_array(x: Any, name: str) -> dict[str, object]:
    shape = getattr(x, "shape", None)
    if not isinstance(shape, tuple):
        if torch_way := of_torch_arrays(x, name):
            raise TypeError(f"{name} is {kind_of(x)}; give its arrays as layers, {torch_way}")
        raise TypeError(
            f"{name} must be a dict of layers, a sequence of them, an array (n, layers, features) or a path, got "
            f"{kind_of(x)}"
        )
    if len(shape) == 2:
        return {"layer0": x}
    if len(shape) != 3:
        raise ValueError(
            f"{name} must be (n, layers, features), got shape {tuple(shape)}"
            + (f"; pool its positions first, {name}.mean((-2, -1))" if len(shape) > 3 else "")
        )
    if 0 in shape:
        raise ValueError(f"{name} is empty, with shape {shape}")
    return {f"layer{i}": x[:, i] for i in range(shape[1])}


def _through_gate(layer: object, key: str, name: str, found: Mapping[str, object]) -> Matrix:
    if is_statistics(layer):
        raise TypeError(
            f"{name}[{key!r}] is {type(layer).__name__}, the sums of two arrays, where the array of a layer is needed, "
            "which is compared with those of all others; of the two alone gramian.cka gives the value"
        )
    try:
        return matrix(layer, f"{name}[{key!r}]")
    except ValueError as error:
        dimensions = {k: len(getattr(v, "shape", ())) for k, v in found.items()}
        if dimensions[key] != 2 and 2 in dimensions.values():
            raise ValueError(f"{error}; if it is no layer, keys= says which are") from None
        raise

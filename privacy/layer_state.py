# SPDX-License-Identifier: Apache-2.0
"""What the layers of a module keep outside their parameters, and whether that changes as they run.

A layer that remembers (a counter, the last batch, a running mean in a plain attribute) lets rows
meet from call to call, and what it computes is no fixed function of a row.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from dao.errors import TaskError

Memory = dict[tuple[str, str], object]

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_DEEPEST = 4


def where(name: str, layer: nn.Module) -> str:
    """A layer's name and class, for a person; the module itself has no name."""
    return f"layer {name or 'module'} ({type(layer).__name__})"


def copied(module: nn.Module) -> nn.Module:
    """A deep copy.

    Raises:
        TaskError: a layer holds what cannot be copied, such as the weight that the hook of
            `torch.nn.utils.weight_norm` makes from other parameters.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:
        # Whatever the attributes' own code raises.
        for name, layer, attribute, value in _attributes(module):
            try:
                copy.deepcopy(value)
            except Exception:  # noqa: BLE001 - as above
                made = isinstance(value, torch.Tensor)
                raise TaskError(
                    f"{where(name, layer)} cannot be copied: its {attribute} is"
                    + (" made from parameters" if made else f" a {type(value).__name__}"),
                    hint="use torch.nn.utils.parametrizations, such as its weight_norm"
                    if made
                    else "keep only parameters and plain values in a layer",
                ) from error
        raise TaskError(
            f"{where('', module)} cannot be copied: {error}",
            hint="build it from torch.nn layers",
        ) from error


def memory_of(module: nn.Module) -> Memory:
    """What the layers' own attributes hold now, by layer and attribute; to be compared by ==."""
    return {(name, key): _image(value, 0) for name, _, key, value in _attributes(module)}


def refuse_memory(module: nn.Module, before: Memory) -> None:
    """TaskError naming the first layer whose attributes are no longer as in `before`."""
    after = memory_of(module)
    for place in dict.fromkeys((*before, *after)):
        if place not in before or place not in after or before[place] != after[place]:
            name, attribute = place
            raise TaskError(
                f"{where(name, module.get_submodule(name))} changes its attribute {attribute}"
                " as it runs, which could carry data from row to row",
                hint="a layer must give the same for a row every time, and keep nothing of it",
            )


def _attributes(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Any]]:
    for name, layer in module.named_modules():
        for key, value in vars(layer).items():
            if key not in _OF_EVERY_MODULE:
                yield name, layer, key, value


class _Same:
    """Equal to another that holds the very same object, which it keeps alive."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value


def _image(value: Any, depth: int) -> object:
    """Something that no longer changes, and is equal to a later image if nothing has changed."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value)
    if isinstance(value, torch.Tensor):
        return _Same(value), None if value.is_inference() else value._version
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, nn.Module | type) or callable(value) or depth == _DEEPEST:
        return _Same(value)
    if isinstance(value, dict):
        return _Same(value), [(_image(k, depth), _image(v, depth + 1)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [_image(each, depth + 1) for each in value]
    if hasattr(value, "__dict__"):
        return _Same(value), [(key, _image(each, depth + 1)) for key, each in vars(value).items()]
    return _Same(value), repr(value)  # sets, deques, itertools.count

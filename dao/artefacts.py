# SPDX-License-Identifier: Apache-2.0
"""ABI and bytecode of the contracts, and the codec between Python values and call data.

Python values: uintN is int, bytesN and bytes are bytes, address is 0x and 40 lower-case hex
digits, a tuple (struct) is a `dict` by field name when decoded, and a dict or a sequence when
encoded. Source: Solidity ABI specification, contract ABI JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from eth_abi import abi as codec
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from dao.errors import ChainError

CONTRACT_NAMES = (
    "CovalueToken",
    "CovalueGovernor",
    "TimelockController",
    "ContributorRegistry",
    "TaskLedger",
    "RewardDistributor",
    "ModelRegistry",
    "RevenueShare",
)
"""The contracts of a deployment. DevStablecoin exists beside them, for devnets only."""

ALL_NAMES = (*CONTRACT_NAMES, "DevStablecoin")


@dataclass(frozen=True)
class Parameter:
    """One input, output or field: its name, its canonical type, the fields of a tuple."""

    name: str
    type: str
    fields: tuple[Parameter, ...] = ()
    indexed: bool = False


@dataclass(frozen=True)
class Entry:
    """A function, event, error or constructor of an ABI; `changes_state` where a function is
    neither view nor pure."""

    kind: str
    name: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...] = ()
    changes_state: bool = False

    @property
    def signature(self) -> str:
        """Canonical signature such as ``join(uint256,bytes32[])``."""
        return f"{self.name}({','.join(item.type for item in self.inputs)})"

    @property
    def selector(self) -> bytes:
        """First 4 bytes of the signature's keccak256 (functions and errors)."""
        return keccak(text=self.signature)[:4]

    @property
    def topic(self) -> bytes:
        """Keccak256 of the signature, 32 bytes (events)."""
        return keccak(text=self.signature)


@dataclass(frozen=True)
class Artefact:
    """One compiled contract: entries by name, creation bytecode, digest of its ABI."""

    name: str
    constructor: Entry
    functions: Mapping[str, tuple[Entry, ...]]
    events: Mapping[str, Entry]
    errors: Mapping[str, Entry]
    bytecode: bytes
    abi_sha256: str

    def function(self, name: str, arguments: int | None = None) -> Entry:
        """The function of that name (and number of arguments, where it is overloaded)."""
        found = [
            entry
            for entry in self.functions.get(name, ())
            if arguments is None or len(entry.inputs) == arguments
        ]
        if len(found) != 1:
            raise ChainError(f"{self.name} has {len(found)} functions {name}/{arguments}")
        return found[0]

    def creation(self, **arguments: Any) -> bytes:
        """Creation code with the constructor's arguments, which are given by name."""
        return self.bytecode + encode_named(self.constructor.inputs, arguments, where=self.name)


def _parameter(item: Mapping[str, Any]) -> Parameter:
    fields = tuple(_parameter(field) for field in item.get("components", ()))
    kind = item["type"]
    if kind.startswith("tuple"):
        kind = f"({','.join(field.type for field in fields)}){kind.removeprefix('tuple')}"
    return Parameter(item.get("name", ""), kind, fields, bool(item.get("indexed", False)))


def _entry(item: Mapping[str, Any]) -> Entry:
    return Entry(
        kind=item["type"],
        name=item.get("name", ""),
        inputs=tuple(_parameter(part) for part in item.get("inputs", ())),
        outputs=tuple(_parameter(part) for part in item.get("outputs", ())),
        changes_state=item.get("stateMutability") in ("nonpayable", "payable"),
    )


def parse_artefact(document: Mapping[str, Any]) -> Artefact:
    """Read an artefact document ``{"contractName", "abi", "bytecode"}``."""
    abi = document["abi"]
    entries = [_entry(item) for item in abi if item["type"] not in ("receive", "fallback")]
    functions: dict[str, tuple[Entry, ...]] = {}
    for entry in entries:
        if entry.kind == "function":
            functions[entry.name] = (*functions.get(entry.name, ()), entry)
    constructors = [entry for entry in entries if entry.kind == "constructor"]
    canonical = json.dumps(abi, sort_keys=True, separators=(",", ":")).encode()
    return Artefact(
        name=document["contractName"],
        constructor=constructors[0] if constructors else Entry("constructor", "", ()),
        functions=functions,
        events={entry.name: entry for entry in entries if entry.kind == "event"},
        errors={entry.name: entry for entry in entries if entry.kind == "error"},
        bytecode=bytes.fromhex(document["bytecode"].removeprefix("0x")),
        abi_sha256=hashlib.sha256(canonical).hexdigest(),
    )


@cache
def load_artefact(name: str) -> Artefact:
    """The committed artefact of a contract, from the installed package."""
    file = resources.files("dao").joinpath("abi", f"{name}.json")
    if not file.is_file():
        raise ChainError(
            f"the package has no artefact of the contract {name}",
            hint='In a checkout, "make contracts" builds dao/abi; a wheel holds it.',
        )
    return parse_artefact(json.loads(file.read_text("utf-8")))


@cache
def errors_by_selector() -> Mapping[bytes, Entry]:
    """Every custom error of every contract. Where two contracts share a selector but name an
    argument differently, its name is "one or other": revert data do not say who refused."""
    found: dict[bytes, Entry] = {}
    for name in ALL_NAMES:
        for entry in load_artefact(name).errors.values():
            same = found.setdefault(entry.selector, entry)
            found[entry.selector] = replace(same, inputs=_merged(same.inputs, entry.inputs))
    return found


def _merged(first: tuple[Parameter, ...], second: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    return tuple(
        one
        if other.name in one.name.split(" or ")
        else replace(one, name=f"{one.name} or {other.name}")
        for one, other in zip(first, second, strict=True)
    )


# --- values ---------------------------------------------------------------------------------


def _array_item(parameter: Parameter) -> Parameter | None:
    if not parameter.type.endswith("]"):
        return None
    inner = parameter.type[: parameter.type.rindex("[")]
    return Parameter(parameter.name, inner, parameter.fields)


def _to_codec(parameter: Parameter, value: Any) -> Any:
    """Python value -> what eth_abi wants (structs as tuples)."""
    item = _array_item(parameter)
    if item is not None:
        return [_to_codec(item, part) for part in value]
    if parameter.fields:
        if isinstance(value, Mapping):
            names = {field.name for field in parameter.fields}
            if set(value) != names:
                wrong = sorted(names.symmetric_difference(value))
                raise ChainError(f"{parameter.name}: fields {', '.join(wrong)} do not fit")
            value = [value[field.name] for field in parameter.fields]
        if len(value) != len(parameter.fields):
            raise ChainError(f"{parameter.name}: expected {len(parameter.fields)} fields")
        return tuple(
            _to_codec(field, part) for field, part in zip(parameter.fields, value, strict=True)
        )
    return value


def _from_codec(parameter: Parameter, value: Any) -> Any:
    """What eth_abi gives -> Python value (structs as dicts by field name)."""
    item = _array_item(parameter)
    if item is not None:
        return tuple(_from_codec(item, part) for part in value)
    if parameter.fields:
        return {
            field.name: _from_codec(field, part)
            for field, part in zip(parameter.fields, value, strict=True)
        }
    return value


def encode(parameters: Sequence[Parameter], values: Sequence[Any], *, where: str) -> bytes:
    """ABI encoding of values in order; a value that does not fit its type is a ChainError."""
    if len(parameters) != len(values):
        raise ChainError(f"{where}: expected {len(parameters)} arguments, got {len(values)}")
    try:
        return codec.encode(
            [item.type for item in parameters],
            [_to_codec(item, value) for item, value in zip(parameters, values, strict=True)],
        )
    except (EncodingError, TypeError) as error:
        names = ", ".join(f"{item.name}: {item.type}" for item in parameters)
        raise ChainError(f"{where}: the arguments do not fit ({names}): {error}") from error


def encode_named(
    parameters: Sequence[Parameter], values: Mapping[str, Any], *, where: str
) -> bytes:
    """ABI encoding of values by name; leading and trailing underscores do not matter."""
    names = [item.name.strip("_") for item in parameters]
    if sorted(names) != sorted(values):
        raise ChainError(f"{where}: takes ({', '.join(names)}), got ({', '.join(values)})")
    return encode(parameters, [values[name] for name in names], where=where)


def decode(parameters: Sequence[Parameter], data: bytes, *, where: str) -> tuple[Any, ...]:
    """ABI decoding; bytes of another shape are a ChainError."""
    try:
        values = codec.decode([item.type for item in parameters], data)
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise ChainError(f"{where}: {len(data)} bytes that do not decode: {error}") from error
    return tuple(_from_codec(item, value) for item, value in zip(parameters, values, strict=True))


def decode_named(parameters: Sequence[Parameter], data: bytes, *, where: str) -> dict[str, Any]:
    """ABI decoding by name; an unnamed parameter is called by its place."""
    values = decode(parameters, data, where=where)
    names = [item.name or str(place) for place, item in enumerate(parameters)]
    return dict(zip(names, values, strict=True))


def decode_log(entry: Entry, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
    """Arguments of an event by name. Indexed arguments of dynamic type stay their 32-byte hash."""
    plain = decode_named(
        [item for item in entry.inputs if not item.indexed], data, where=entry.name
    )
    indexed = [item for item in entry.inputs if item.indexed]
    if len(topics) != len(indexed) + 1:
        raise ChainError(f"{entry.name}: {len(topics)} topics, expected {len(indexed) + 1}")
    for item, topic in zip(indexed, topics[1:], strict=True):
        dynamic = item.type in ("string", "bytes") or item.type.endswith("]") or item.fields
        plain[item.name] = topic if dynamic else decode([item], topic, where=entry.name)[0]
    return plain

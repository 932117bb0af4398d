# SPDX-License-Identifier: Apache-2.0
"""The ABI codec against web3's own, on every function of every contract."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from eth_utils.abi import event_signature_to_log_topic
from web3 import Web3

from dao.artefacts import (
    ALL_NAMES,
    CONTRACT_NAMES,
    Parameter,
    decode,
    decode_log,
    decode_named,
    encode,
    load_artefact,
    parse_artefact,
)
from dao.errors import ChainError


def document(name: str) -> dict[str, Any]:
    text = resources.files("dao").joinpath("abi", f"{name}.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def sample(parameter: Parameter, seed: int) -> Any:
    """Some value of a type; structs as dicts."""
    kind = parameter.type
    if kind.endswith("]"):
        inner = Parameter(parameter.name, kind.rpartition("[")[0], parameter.fields)
        return tuple(sample(inner, seed + place) for place in range(3))
    if parameter.fields:
        return {f.name: sample(f, seed + i) for i, f in enumerate(parameter.fields)}
    if kind == "address":
        return "0x" + f"{seed + 0xABC:040x}"
    if kind == "bool":
        return seed % 2 == 1
    if kind == "string":
        return f"text {seed} é"
    if kind == "bytes":
        return bytes([seed % 256]) * (seed % 70)
    if kind.startswith("bytes"):
        return bytes([seed % 256]) * int(kind[5:])
    bits = int(kind.removeprefix("uint").removeprefix("int"))
    return (seed * 7919 + 1) % (1 << (bits - 1))


def positional(value: Any) -> Any:
    """Structs as tuples, as web3 takes and gives them."""
    if isinstance(value, dict):
        return tuple(positional(part) for part in value.values())
    if isinstance(value, tuple):
        return [positional(part) for part in value]
    return Web3.to_checksum_address(value) if str(value).startswith("0x") else value


@pytest.mark.parametrize("name", ALL_NAMES)
def test_calls_are_encoded_as_web3_encodes_them(name: str) -> None:
    artefact = load_artefact(name)
    contract = Web3().eth.contract(abi=document(name)["abi"])
    for overloads in artefact.functions.values():
        for entry in overloads:
            values = [sample(item, place + 3) for place, item in enumerate(entry.inputs)]
            ours = entry.selector + encode(entry.inputs, values, where=entry.name)
            theirs = contract.encode_abi(entry.signature, [positional(value) for value in values])
            assert ours.hex() == theirs[2:], entry.signature
            assert list(decode(entry.inputs, ours[4:], where=entry.name)) == values


@pytest.mark.parametrize("name", CONTRACT_NAMES)
def test_topics_and_logs(name: str) -> None:
    for entry in load_artefact(name).events.values():
        assert entry.topic == event_signature_to_log_topic(entry.signature)
        values = {item.name: sample(item, place) for place, item in enumerate(entry.inputs)}
        plain = [item for item in entry.inputs if not item.indexed]
        data = encode(plain, [values[item.name] for item in plain], where=entry.name)
        indexed = [item for item in entry.inputs if item.indexed]
        topics = [entry.topic]
        topics += [encode([item], [values[item.name]], where=entry.name)[:32] for item in indexed]
        if any(item.type in ("string", "bytes") for item in indexed):
            continue  # only their hash stands in a log
        assert decode_log(entry, topics, data) == values


def test_a_struct_may_be_given_by_name_or_in_order() -> None:
    pair = Parameter(
        "pair", "(uint256,address)", (Parameter("a", "uint256"), Parameter("b", "address"))
    )
    by_name = encode([pair], [{"b": "0x" + "11" * 20, "a": 5}], where="x")
    assert by_name == encode([pair], [(5, "0x" + "11" * 20)], where="x")
    with pytest.raises(ChainError, match="fields b, c do not fit"):
        encode([pair], [{"a": 5, "c": 1}], where="x")
    with pytest.raises(ChainError, match="expected 2 fields"):
        encode([pair], [(5,)], where="x")


def test_values_that_do_not_fit_are_refused() -> None:
    number = [Parameter("n", "uint8")]
    for wrong in (256, -1, "5", 1.5):
        with pytest.raises(ChainError, match="n: uint8"):
            encode(number, [wrong], where="f")
    with pytest.raises(ChainError, match="expected 1 arguments, got 2"):
        encode(number, [1, 2], where="f")
    with pytest.raises(ChainError, match="do not decode"):
        decode(number, b"\x01", where="f")
    with pytest.raises(ChainError, match="do not decode"):
        decode([Parameter("t", "string")], b"\xff" * 64, where="f")


def test_creation_takes_arguments_by_name() -> None:
    artefact = load_artefact("RewardDistributor")
    token, deployer = "0x" + "aa" * 20, "0x" + "bb" * 20
    code = artefact.creation(token=token, deployer=deployer)
    assert code == artefact.bytecode + bytes.fromhex("00" * 12 + "aa" * 20 + "00" * 12 + "bb" * 20)
    with pytest.raises(ChainError, match=r"takes \(token, deployer\), got \(token\)"):
        artefact.creation(token=token)


def test_the_abi_digest_depends_on_the_abi_alone() -> None:
    one = document("ModelRegistry")
    two = {**one, "bytecode": "0x00", "abi": json.loads(json.dumps(one["abi"]))}
    assert parse_artefact(one).abi_sha256 == parse_artefact(two).abi_sha256
    two["abi"] = two["abi"][1:]
    assert parse_artefact(one).abi_sha256 != parse_artefact(two).abi_sha256


def test_unnamed_values_are_called_by_their_place() -> None:
    items = [Parameter("", "uint256"), Parameter("b", "bool")]
    assert decode_named(items, encode(items, [7, True], where="x"), where="x") == {
        "0": 7,
        "b": True,
    }


def test_unknown_contracts_are_refused() -> None:
    with pytest.raises(ChainError, match="no artefact of the contract Nothing"):
        load_artefact("Nothing")
    with pytest.raises(ChainError, match="0 functions nothing"):
        load_artefact("TaskLedger").function("nothing")

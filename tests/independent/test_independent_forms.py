# SPDX-License-Identifier: Apache-2.0
"""The verifier's own ground: what it may import, and bytes, CIDs and messages that it shares with
the product by specification alone."""

from __future__ import annotations

import ast
import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from dao.store import LocalStore
from tests.independent import signatures
from tests.independent.canonical import Blocks, canonical, cid_of, read, sha256
from tests.independent.facts import Differs
from tests.independent.forging import Forger
from tests.independent.liar_town import Federation

HERE = Path(__file__).parent
# what plays a town for the verifier, forges one, or asks the product
WITH_PRODUCT = {"conftest", "forging", "liar_town", "verdicts"}
LIBRARIES = {"eth_utils", "numpy", "py_ecc", "scipy"}


def test_the_verifier_shares_no_code_with_the_product() -> None:
    modules = [
        path
        for path in HERE.glob("*.py")
        if path.stem not in WITH_PRODUCT and not path.stem.startswith("test_")
    ]
    ours = {path.stem for path in modules}
    assert "verifier" in ours
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                inner = node.module or ""
                if inner == "tests.independent":
                    inner = f"{inner}.{node.names[0].name}"
                names = [inner]
            for name in names:
                if name.startswith("tests.independent."):
                    assert name.split(".")[2] in ours, f"{path.name} imports {name}"
                else:
                    known = LIBRARIES | set(sys.stdlib_module_names)
                    assert name.split(".")[0] in known, f"{path.name} imports {name}"


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 3 * 2**20 + 77])
def test_cids_of_files_are_those_of_the_store(tmp_path: Path, size: int) -> None:
    store, data = LocalStore(tmp_path), random.Random(size).randbytes(size)
    reference = store.put(data)
    assert cid_of(data) == reference.cid
    blocks = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    where = {"cid": reference.cid, "sha256": reference.sha256, "size": size}
    assert Blocks(blocks).referred(where, "file") == data
    leaf = next(cid for cid, block in sorted(blocks.items()) if block or not size)
    spoilt = {**blocks, leaf: blocks[leaf] + b"\0"}
    with pytest.raises(Differs, match="of other bytes"):
        Blocks(spoilt).referred(where, "file")


def test_a_file_of_the_same_bytes_in_other_chunks_is_refused() -> None:
    """The profile fixes one DAG for a file; a root of one small leaf has other bytes."""
    leaf = b"abc"
    binary = bytes((1, 0x55, 0x12, 32)) + hashlib.sha256(leaf).digest()
    link = b"\x0a\x24" + binary + b"\x12\x00\x18\x03"
    root = b"\x12" + bytes((len(link),)) + link + b"\x0a\x06\x08\x02\x18\x03\x20\x03"
    name = cid_of(root).replace("bafkrei", "bafybei", 1)
    with pytest.raises(Differs, match="not a DAG of the profile"):
        Blocks({name: root, cid_of(leaf): leaf}).file(name, "file")


@pytest.mark.parametrize(
    "value",
    [
        {"b": 1, "a": [True, None, -7], "": "x"},
        {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7},
        {"text": '\\"\n\t\x01\x7f\u2028/é'},
        2**53 - 1,
    ],
)
def test_canonical_bytes_are_those_of_another_library(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)
    assert read(canonical(value), "value") == value


@pytest.mark.parametrize(
    "data",
    [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"1.0", b'"\\u0041"', b"9007199254740992"],
)
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    json.loads(data)
    with pytest.raises(Differs):
        read(data, "value")


def test_a_receipts_signature_is_good_for_one_purpose(newton: Federation) -> None:
    """Without its purpose, under another one, for another round or by another key it is nothing."""
    receipt = Forger(newton).document("record 1")["receipts"][0]
    key, signature = newton.chain.roster[0].key, bytes.fromhex(receipt["signature"][2:])
    body = canonical(receipt["body"])
    moved = {**receipt["body"], "position": {**receipt["body"]["position"], "round": 2}}
    right = hashlib.sha256(b"covalue.receipt.v1\0" + body).digest()
    assert signatures.verify((key, right, signature))
    for message in (
        bytes.fromhex(sha256(body)),
        hashlib.sha256(b"covalue.checkpoint.v1\0" + body).digest(),
        signatures.receipt_message(moved),
    ):
        assert not signatures.verify((key, message, signature))
    other = newton.chain.roster[2].key
    assert not signatures.verify((other, signatures.receipt_message(receipt["body"]), signature))


def test_signatures_together_hold_only_where_each_does(newton: Federation) -> None:
    """Two that are swapped cancel in a plain sum, and not under factors."""
    receipts = Forger(newton).document("record 2")["receipts"][:2]
    keys = {member.account: member.key for member in newton.chain.roster}
    key = keys[receipts[0]["body"]["contributor"]]
    own = [signatures.receipt_message(each["body"]) for each in receipts]
    points = [bytes.fromhex(each["signature"][2:]) for each in receipts]
    other = keys[receipts[1]["body"]["contributor"]]
    right = [(key, own[0], points[0]), (other, own[1], points[1])]
    swapped = [(key, own[0], points[1]), (other, own[1], points[0])]
    signatures.forget()
    assert not signatures.verify_all(swapped)
    assert signatures.verify_all(right)

# SPDX-License-Identifier: Apache-2.0
"""Each refusal of a contract that a person can run into says what to do next."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode

from dao.artefacts import errors_by_selector
from dao.reverts import _HINTS, decode_revert

ACCOUNT = "0x" + "ab" * 20
ERRORS = {(entry.name, len(entry.inputs)): entry for entry in errors_by_selector().values()}


def revert_data(name: str, *values: object) -> bytes:
    """Revert data of a custom error, encoded by eth_abi alone."""
    entry = ERRORS[name, len(values)]
    return entry.selector + encode([item.type for item in entry.inputs], values)


def test_every_hint_belongs_to_an_error_of_the_contracts() -> None:
    assert set(_HINTS) <= {name for name, _ in ERRORS}


@pytest.mark.parametrize(
    ("name", "values", "said", "next_step"),
    [
        ("QuorumNotReached", (2, 4, 6667), "signed 2, roster size 4", "must co-sign"),
        ("TaskNotFinalised", (3,), "task id 3", "final"),
        ("AlreadyClaimed", (3, ACCOUNT, 5), f"task id 3, account {ACCOUNT}", "paid once"),
        ("InvalidProof", (3, ACCOUNT, 5, 2), "amount 5, place 2", "contributor claim"),
        ("FundsExceeded", (3, 9, 5), "due 9, left 5", "disagree"),
        ("NotFunded", (3,), "task id 3", "finalised"),
        ("WrongState", (3, 2), "state running", "covalue coordinator status"),
        ("TooEarly", (5, 9), "limit 9", "chain time"),
    ],
)
def test_a_refusal_says_what_and_what_next(
    name: str, values: tuple[object, ...], said: str, next_step: str
) -> None:
    found = decode_revert(revert_data(name, *values), action="try it")
    assert found.name == name
    assert found.message.startswith(f"try it: the contract refused: {name} (")
    assert said in found.message
    assert next_step in str(found.hint)

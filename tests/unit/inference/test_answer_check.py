# SPDX-License-Identifier: Apache-2.0
"""Answers that were changed, signed by somebody else, or named another release."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from eth_account import Account
from eth_account.messages import encode_typed_data
from released_world import REGISTRY, ROW, World, released_world  # noqa: F401 - a fixture

from cli.commands import root
from dao.contracts.model_registry import Release, ReleaseStatus
from dao.errors import InputError
from dao.records import Valuation
from inference.answers import unsigned
from inference.provider import ChainProvider
from inference.signing import AccountSigner
from inference.verify import check_input, check_release, check_signature, parse_answers

KEY = Account.from_key("0x" + "4d" * 32)
OTHER = Account.from_key("0x" + "4e" * 32)


@dataclass
class FakeRegistry:
    """A ModelRegistry that knows one release."""

    release: Release
    address: str = REGISTRY

    def release_of(self, number: int) -> Release:
        if number == self.release.number:
            return self.release
        return replace(self.release, number=0, status=ReleaseStatus.NONE)


@pytest.fixture
def answer(world: World) -> Valuation:
    servable = ChainProvider(world.chain, world.store).current()
    [appraisal] = servable.model.appraise([ROW])
    return AccountSigner(KEY).sign(unsigned(servable, appraisal, issued_at=1_800_000_000))


def changed(answer: Valuation, **fields: Any) -> Valuation:
    return answer.model_copy(update={"body": answer.body.model_copy(update=fields)})


def test_a_genuine_answer_holds(answer: Valuation, world: World) -> None:
    registry: Any = FakeRegistry(world.chain.release)
    assert check_signature(answer, expected_signer=None).ok
    assert check_signature(answer, expected_signer=KEY.address).ok
    assert check_input(answer, ROW).ok
    assert check_release(answer, registry, chain_id=31337).ok


def test_the_signature_is_that_of_the_specification(answer: Valuation) -> None:
    """EIP-712 as docs/SPEC.md has it, recovered by eth_account alone."""
    body = answer.body
    names = ("value", "lower", "upper", "level", "confidence", "fsd", "issuedAt")
    message = encode_typed_data(
        domain_data={
            "name": "Covalue", "version": "1", "chainId": 31337, "verifyingContract": REGISTRY,
        },
        message_types={
            "Valuation": [
                {"name": "inputHash", "type": "bytes32"},
                {"name": "release", "type": "uint256"},
                {"name": "modelDigest", "type": "bytes32"},
                *({"name": name, "type": "uint256"} for name in names),
            ]
        },
        message_data={
            "inputHash": bytes.fromhex(body.input_sha256),
            "modelDigest": bytes.fromhex(body.model_sha256),
            "release": body.release,
            "value": body.value_micro,
            "lower": body.lower_micro,
            "upper": body.upper_micro,
            "level": body.interval_level_micro,
            "confidence": 2**256 - 1,  # not known without a calibration
            "fsd": 2**256 - 1,
            "issuedAt": body.issued_at,
        },
    )  # fmt: skip
    assert Account.recover_message(message, signature=answer.signature) == KEY.address


@pytest.mark.parametrize(
    "fields",
    [
        {"value_micro": 1}, {"lower_micro": 0}, {"upper_micro": 10**15}, {"release": 2},
        {"input_sha256": "00" * 32}, {"model_sha256": "00" * 32}, {"issued_at": 1},
        {"chain_id": 1}, {"registry": "0x" + "33" * 20},
    ],
)  # fmt: skip
def test_promise_12_a_changed_answer_does_not_hold(
    answer: Valuation, fields: dict[str, Any]
) -> None:
    """One chain, one contract, one release, one input, one value, one time."""
    assert not check_signature(changed(answer, **fields), expected_signer=None).ok


def test_another_signer_is_named(answer: Valuation) -> None:
    check = check_signature(answer, expected_signer=OTHER.address)
    assert not check.ok
    assert OTHER.address.lower() in check.detail
    claimed = answer.model_copy(update={"signer": OTHER.address.lower()})
    assert not check_signature(claimed, expected_signer=OTHER.address).ok


def test_another_row_is_named(answer: Valuation) -> None:
    assert not check_input(answer, ROW | {"rooms": 5}).ok


@pytest.mark.parametrize(
    ("release", "chain_id", "detail"),
    [
        ({"number": 9}, 31337, "no release 1"),
        ({"model_digest": "11" * 32}, 31337, "is model 1111"),
        ({"status": ReleaseStatus.REVOKED}, 31337, "is revoked now"),
        ({"status": ReleaseStatus.SUSPENDED}, 31337, "is suspended now"),
        ({"released_at": 1_900_000_000}, 31337, "older than the release"),
        ({}, 1, "this is chain 1"),
    ],
)
def test_another_release_on_chain_is_named(
    answer: Valuation, world: World, release: dict[str, Any], chain_id: int, detail: str
) -> None:
    registry: Any = FakeRegistry(replace(world.chain.release, **release))
    check = check_release(answer, registry, chain_id=chain_id)
    assert not check.ok
    assert detail in check.detail


def test_files_hold_one_answer_or_a_batch(answer: Valuation) -> None:
    one = answer.model_dump(mode="json")
    assert parse_answers(json.dumps(one).encode(), name="a") == (answer,)
    batch = json.dumps({"valuations": [one, one]}, indent=1).encode()
    assert parse_answers(batch, name="a") == (answer, answer)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"valuations": []}', '{"valuations": [{}]}', "[" * 200_000, "7"]
)
def test_other_files_are_refused_in_words(text: str) -> None:
    with pytest.raises(InputError, match=r"answer\.json"):
        parse_answers(text.encode(), name="answer.json")


def test_the_command_checks_offline(answer: Valuation, tmp_path: Path) -> None:
    (tmp_path / "row.json").write_text(json.dumps(ROW))
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"valuations": [answer.model_dump(mode="json")]}))
    bad.write_text(json.dumps(changed(answer, value_micro=5).model_dump(mode="json")))
    words = ["model", "verify", "--offline", "--json", "--row", str(tmp_path / "row.json")]
    result = CliRunner().invoke(root, [*words, str(good)])
    assert result.exit_code == 0, result.output
    assert [check["name"] for check in json.loads(result.stdout)["checks"]] == [
        "signature", "input",
    ]  # fmt: skip
    result = CliRunner().invoke(root, [*words, str(bad)])
    assert result.exit_code == 3
    assert json.loads(result.stdout)["ok"] is False
    result = CliRunner().invoke(root, ["model", "verify", "--offline", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "cannot read" in result.output

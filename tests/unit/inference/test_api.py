# SPDX-License-Identifier: Apache-2.0
"""The HTTP face: statuses, bodies, and that no fault shows its inside."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from fastapi.testclient import TestClient
from released_world import ROW, World, released_world  # noqa: F401 - a fixture

from dao.errors import NotServable, StoreError
from dao.records import Valuation, ValuationBody
from inference.app import create_app
from inference.limits import Limits
from inference.provider import ChainProvider
from inference.released import FixedProvider, input_sha256

KEY = Account.from_key("0x" + "4d" * 32)
NOW = 1_800_000_000
TYPE = [
    {"name": "inputHash", "type": "bytes32"},
    {"name": "release", "type": "uint256"},
    {"name": "modelDigest", "type": "bytes32"},
    {"name": "value", "type": "uint256"},
    {"name": "lower", "type": "uint256"},
    {"name": "upper", "type": "uint256"},
    {"name": "issuedAt", "type": "uint256"},
]


def typed(body: dict[str, Any]) -> Any:
    """The EIP-712 message of docs/SPEC.md, built by eth_account alone."""
    return encode_typed_data(
        domain_data={
            "name": "Covalue",
            "version": "1",
            "chainId": body["chain_id"],
            "verifyingContract": body["registry"],
        },
        message_types={"Valuation": TYPE},
        message_data={
            "inputHash": bytes.fromhex(body["input_sha256"]),
            "release": body["release"],
            "modelDigest": bytes.fromhex(body["model_sha256"]),
            "value": int(body["value_micro"]),
            "lower": int(body["lower_micro"]),
            "upper": int(body["upper_micro"]),
            "issuedAt": body["issued_at"],
        },
    )


class PlainSigner:
    """A signer made of eth_account alone: the fake beside the seam."""

    address = KEY.address.lower()

    def sign(self, body: ValuationBody) -> Valuation:
        signature = KEY.sign_message(typed(body.model_dump(mode="json"))).signature
        return Valuation(body=body, signer=self.address, signature="0x" + signature.hex())


@pytest.fixture
def provider(world: World) -> FixedProvider:
    return FixedProvider(ChainProvider(world.chain, world.store).current())


@pytest.fixture
def client(provider: FixedProvider) -> Iterator[TestClient]:
    app = create_app(
        provider, PlainSigner(), Limits(max_body_bytes=20_000, max_rows=8), clock=lambda: NOW
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, body: object) -> Any:
    return client.post("/v1/valuations", content=json.dumps(body))


def test_one_row_gives_one_signed_answer(client: TestClient, provider: FixedProvider) -> None:
    response = post(client, ROW)
    assert response.status_code == 200
    [answer] = response.json()["valuations"]
    body = answer["body"]
    assert Account.recover_message(typed(body), signature=answer["signature"]) == KEY.address
    assert answer["signer"] == KEY.address.lower()
    assert body["input_sha256"] == input_sha256(ROW)
    assert body["issued_at"] == NOW
    assert body["currency"] == "EUR"
    assert body["model_sha256"] == provider.current().provenance.model_sha256
    assert int(body["lower_micro"]) < int(body["value_micro"]) < int(body["upper_micro"])


def test_an_answer_is_not_older_than_the_chain_s_time(world: World) -> None:
    """On a chain that runs ahead of the wall clock, the chain's time is stated."""
    provider = ChainProvider(world.chain, world.store)
    app = create_app(provider, PlainSigner(), clock=lambda: 5.0)
    [answer] = TestClient(app).post("/v1/valuations", json=ROW).json()["valuations"]
    assert answer["body"]["issued_at"] == provider.current().provenance.seen_at > 5


def test_many_rows_are_answered_in_order(client: TestClient) -> None:
    rows = [ROW | {"living_area_m2": 50 + 20 * index} for index in range(8)]
    answers = post(client, {"rows": rows}).json()["valuations"]
    assert [answer["body"]["input_sha256"] for answer in answers] == list(map(input_sha256, rows))
    values = [int(answer["body"]["value_micro"]) for answer in answers]
    assert values == sorted(values)
    assert len(set(values)) == 8


def test_a_body_of_50_mb_is_refused_without_being_read(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(500):
            yield b" " * 100_000

    began = time.perf_counter()
    response = client.post("/v1/valuations", content=b" " * 50_000_000)
    assert response.status_code == 413
    assert "50000000 bytes, allowed are 20000" in response.json()["error"]
    chunked = client.post("/v1/valuations", content=chunks())
    assert chunked.status_code == 413
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "text",
    ["{", "", '{"rooms": NaN}', '{"rooms": Infinity}', '{"rows": [{"rooms": -Infinity}]}',
     "[" * 19_000, '{"a": "\\ud800"}', "living_area_m2=3", '{"rooms": 1, "rooms": 2}'],
)  # fmt: skip
def test_wrong_json_is_400(client: TestClient, text: str) -> None:
    response = client.post("/v1/valuations", content=text)
    assert response.status_code == 400
    assert response.json()["error"].startswith("the body is not JSON: ")


@pytest.mark.parametrize(
    "body", [[], 7, None, "x", {"rows": []}, {"rows": [ROW] * 9}, {"rows": [1]}, {"rows": ROW}]
)
def test_another_shape_is_422(client: TestClient, body: object) -> None:
    response = post(client, body)
    assert response.status_code == 422
    assert "expected" in response.json()["error"]


@pytest.mark.parametrize(
    ("field", "value", "got", "expected"),
    [
        ("rooms", 99, "99", "15"),
        ("rooms", "many", "many", "number"),
        ("rooms", False, "False", "number"),
        ("rooms", [4], "[4]", "number"),
        ("living_area_m2", None, "nothing", "1000"),
        ("property_type", "castle", "castle", "apartment"),
        ("property_type", 3, "3", "text"),
        ("longitude", 12, "12", "11"),
        ("sale_date", "2031-01-01", "2031-01-01", "2024-12-31"),
        ("pool", 1, "unknown", "living_area_m2"),
    ],
)
def test_a_row_outside_the_schema_is_422_and_named(
    client: TestClient, field: str, value: object, got: str, expected: str
) -> None:
    response = post(client, {"rows": [ROW, ROW | {field: value}]})
    assert response.status_code == 422
    problem = response.json()
    assert problem["row"] == 1
    assert problem["field"] == field
    assert got in problem["got"]
    assert expected in problem["expected"]


def test_an_infinite_number_by_overflow_is_422(client: TestClient) -> None:
    text = json.dumps(ROW).replace("120.5", "1e999")
    response = client.post("/v1/valuations", content=text)
    assert response.status_code == 422
    assert response.json()["field"] == "living_area_m2"
    assert "inf" in response.json()["got"]


def test_a_missing_field_is_422(client: TestClient) -> None:
    row = {name: value for name, value in ROW.items() if name != "latitude"}
    problem = post(client, row)
    assert problem.status_code == 422
    assert problem.json()["field"] == "latitude"
    assert problem.json()["got"] == "nothing"


@pytest.mark.parametrize("path", ["/v1/valuations", "/v1/models/current"])
def test_without_a_release_both_say_503_and_why(
    client: TestClient, provider: FixedProvider, path: str
) -> None:
    provider.answer = NotServable("release 4 was revoked", hint="wait for the vote")
    response = client.post(path, json=ROW) if path.endswith("valuations") else client.get(path)
    assert response.status_code == 503
    assert response.json() == {"error": "release 4 was revoked", "hint": "wait for the vote"}


def test_health_tells_alive_from_serving(client: TestClient, provider: FixedProvider) -> None:
    assert client.get("/healthz").json() == {
        "status": "ok", "serving": True, "release": 1, "reason": None,
    }  # fmt: skip
    provider.answer = NotServable("no model has been released yet")
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json()["serving"] is False
    assert response.json()["reason"] == "no model has been released yet"


def test_the_current_model_shows_provenance_and_fields(client: TestClient, world: World) -> None:
    shown = client.get("/v1/models/current").json()
    assert shown["release"] == 1
    assert shown["model_sha256"] == world.chain.release.model_digest
    assert shown["task_digest"] == world.task.digest()
    assert shown["epsilon_micro"] == 8_000_000
    assert len(shown["contributors"]) == 3
    assert shown["block"] == 100
    assert shown["signer"] == KEY.address.lower()
    fields = {rule["field"]: rule for rule in shown["fields"]}
    assert list(fields) == list(ROW)
    assert (fields["latitude"]["lower"], fields["latitude"]["upper"]) == (47.0, 49.0)
    assert fields["property_type"]["values"] == ["apartment", "detached"]
    assert fields["rooms"]["required"] is False
    assert fields["sale_date"]["upper"] == "2024-12-31"


@pytest.mark.parametrize("fault", [ValueError("secret inside"), StoreError("secret inside")])
def test_a_fault_of_ours_shows_no_inside(
    client: TestClient, provider: FixedProvider, fault: Exception, monkeypatch: Any
) -> None:
    def broken() -> Any:
        raise fault

    monkeypatch.setattr(provider, "current", broken)
    response = post(client, ROW)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert set(response.json()) == {"error"}


def test_openapi_documents_bodies_statuses_and_examples(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    operation = described["paths"]["/v1/valuations"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert set(content["examples"]) == {"one row", "many rows"}
    assert {"200", "400", "413", "422", "503"} <= set(operation["responses"])
    assert set(described["paths"]) == {"/v1/valuations", "/v1/models/current", "/healthz"}
    assert client.get("/docs").status_code == 200

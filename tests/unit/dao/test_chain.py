# SPDX-License-Identifier: Apache-2.0
"""The chain gateway against a scripted node: refusals, receipts, ranges, threads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from dao import chain as chain_module
from dao.artefacts import encode, load_artefact
from dao.chain import GAS_MARGIN, Call, Chain
from dao.errors import ChainError
from dao.reverts import Reverted, decode_revert
from dao.rpc import RpcRefusal

KEY = Account.from_key("0x" + "11" * 32)
TARGET = "0x" + "22" * 20
CALL = Call(TARGET, b"\x01\x02\x03\x04", 0, "do the thing")
G2_MAP_BYTES = 256


class Node:
    """Answers JSON-RPC from a table of functions, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Any]]] = []
        self.nonce, self.lock = 0, threading.Lock()
        self.in_flight = self.most_in_flight = 0
        self.dropped: list[str] = []
        """Methods of which the answer is lost, once each."""
        self.answers: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: "0x7a69",
            "eth_call": self._precompiles,
            "eth_getBlockByNumber": lambda tag, full: {
                "number": "0x64",
                "timestamp": hex(1_700_000_000),
                "baseFeePerGas": hex(10**9),
                "gasLimit": hex(30_000_000),
            },
            "eth_estimateGas": lambda request: hex(100_000),
            "eth_maxPriorityFeePerGas": lambda: hex(10**8),
            "eth_getTransactionCount": lambda address, tag: hex(self.nonce),
            "eth_sendRawTransaction": self._take,
            "eth_getTransactionReceipt": self._receipt,
        }

    def _precompiles(self, request: dict[str, str], tag: str) -> str:
        place = int(request["to"], 16)
        sizes = {0x0B: 128, 0x11: G2_MAP_BYTES}
        return "0x" + ("00" * 31 + "01" if place == 0x0F else "00" * sizes[place])

    def _take(self, raw: str) -> str:
        with self.lock:
            parsed = TypedTransaction.from_bytes(HexBytes(raw))
            assert parsed.as_dict()["nonce"] == self.nonce, "two transactions with one nonce"
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return "0x" + parsed.hash().hex()

    def _receipt(self, transaction: str) -> dict[str, Any]:
        with self.lock:
            self.in_flight -= 1
            self.nonce += 1
        return {
            "blockNumber": "0x65",
            "status": "0x1",
            "gasUsed": "0x5208",
            "logs": [],
            "contractAddress": None,
        }

    def answer(self, method: str, parameters: list[Any]) -> dict[str, Any]:
        self.asked.append((method, parameters))
        answer = self.answers.get(method)
        if answer is None:
            return {"error": {"code": -32601, "message": f"the method {method} does not exist"}}
        found = answer(*parameters)
        return found if isinstance(found, dict) and "error" in found else {"result": found}


@pytest.fixture
def node() -> Iterator[tuple[Node, Chain]]:
    served = Node()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = served.answer(body["method"], body["params"])
            if body["method"] in served.dropped:
                served.dropped.remove(body["method"])
                self.close_connection = True
                return
            data = json.dumps({"jsonrpc": "2.0", "id": body["id"], **answer}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield served, Chain(f"http://127.0.0.1:{server.server_port}", receipt_timeout_seconds=0.3)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reverting(data: bytes) -> dict[str, Any]:
    error = {"code": 3, "message": "execution reverted", "data": "0x" + data.hex()}
    return {"error": error}


def refusal_data(contract: str, error: str, *values: Any) -> bytes:
    entry = load_artefact(contract).errors[error]
    return entry.selector + encode(entry.inputs, values, where=error)


def test_connect_checks_chain_and_precompiles(node: tuple[Node, Chain]) -> None:
    served, chain = node
    assert chain.connect(chain_id=31337) is chain
    with pytest.raises(ChainError, match="is chain 31337, expected chain 1"):
        chain.connect(chain_id=1)
    served.answers["eth_call"] = lambda request, tag: "0x"
    with pytest.raises(ChainError, match="lacks the EIP-2537 precompile G1ADD") as refused:
        chain.connect()
    assert "Prague" in str(refused.value.hint)


def test_nobody_there() -> None:
    with pytest.raises(ChainError, match="no answer from the chain at http://127.0.0.1:1 ") as no:
        Chain("http://user:secret@127.0.0.1:1/key-in-the-path").now()
    assert "secret" not in str(no.value)
    assert "key-in-the-path" not in str(no.value)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8545", "ftp://host", "http://"])
def test_addresses_of_no_endpoint(url: str) -> None:
    with pytest.raises(ChainError, match=r"chain\.rpc_url"):
        Chain(url)


def test_time_is_the_latest_blocks(node: tuple[Node, Chain]) -> None:
    assert node[1].now() == 1_700_000_000


def test_a_transaction_is_eip_1559_with_room_for_gas(node: tuple[Node, Chain]) -> None:
    served, chain = node
    outcome = chain.send(CALL, KEY)
    raw = next(parameters[0] for method, parameters in served.asked if "Raw" in method)
    sent = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    assert sent["gas"] == 130_000 + GAS_MARGIN
    assert sent["maxFeePerGas"] == 2 * 10**9 + 10**8
    assert (sent["chainId"], sent["maxPriorityFeePerGas"]) == (31337, 10**8)
    assert Account.recover_transaction(raw) == KEY.address
    assert (outcome.block, outcome.gas) == (0x65, 21_000)
    assert outcome.transaction == "0x" + keccak(HexBytes(raw)).hex()


def test_a_dry_run_signs_and_sends_nothing(node: tuple[Node, Chain]) -> None:
    served, chain = node
    outcome = chain.send(CALL, KEY, dry_run=True)
    assert (outcome.transaction, outcome.gas) == (None, 100_000)
    assert {method for method, _ in served.asked} == {"eth_chainId", "eth_estimateGas"}


def test_nodes_without_a_tip_oracle(node: tuple[Node, Chain]) -> None:
    served, chain = node
    del served.answers["eth_maxPriorityFeePerGas"]
    assert chain.send(CALL, KEY).block == 0x65


def test_refusals_name_the_error_and_its_arguments(node: tuple[Node, Chain]) -> None:
    served, chain = node
    data = refusal_data("TaskLedger", "QuorumNotReached", 2, 10, 6667)
    served.answers["eth_estimateGas"] = lambda request: reverting(data)
    with pytest.raises(Reverted) as refused:
        chain.send(CALL, KEY)
    assert refused.value.message == (
        "do the thing: the contract refused: QuorumNotReached "
        "(signed 2, roster size 10, quorum bps 6667)"
    )
    assert refused.value.name == "QuorumNotReached"
    assert refused.value.arguments == {"signed": 2, "rosterSize": 10, "quorumBps": 6667}
    assert refused.value.hint is not None


def test_a_failed_receipt_is_explained_at_its_block(node: tuple[Node, Chain]) -> None:
    served, chain = node
    good = served.answers["eth_getTransactionReceipt"]
    served.answers["eth_getTransactionReceipt"] = lambda tx: {**good(tx), "status": "0x0"}
    data = refusal_data("TaskLedger", "AlreadyJoined", 3, TARGET)
    served.answers["eth_call"] = lambda request, tag: reverting(data) if tag == hex(0x64) else "0x"
    with pytest.raises(Reverted, match="AlreadyJoined"):
        chain.send(CALL, KEY)
    served.answers["eth_call"] = lambda request, tag: "0x"
    with pytest.raises(ChainError, match="failed in block 101"):
        chain.send(CALL, KEY)


def test_no_receipt_in_time(node: tuple[Node, Chain]) -> None:
    served, chain = node
    served.answers["eth_getTransactionReceipt"] = lambda tx: None
    with pytest.raises(ChainError, match="not in a block after"):
        chain.send(CALL, KEY)


def test_a_lost_answer_does_not_send_twice(node: tuple[Node, Chain]) -> None:
    """The node took the transaction and the connection broke: the receipt is looked for."""
    served, chain = node
    served.dropped = ["eth_sendRawTransaction", "eth_getTransactionCount"]
    assert chain.send(CALL, KEY).block == 0x65
    assert [method for method, _ in served.asked].count("eth_sendRawTransaction") == 1
    known = {"error": {"code": -32000, "message": "already known"}}
    served.answers["eth_sendRawTransaction"] = lambda raw: known
    assert chain.send(CALL, KEY).block == 0x65


def test_no_ether(node: tuple[Node, Chain]) -> None:
    served, chain = node
    error = {"code": -32003, "message": "Insufficient funds for gas * price + value"}
    served.answers["eth_sendRawTransaction"] = lambda raw: {"error": error}
    with pytest.raises(RpcRefusal, match="do the thing") as refused:
        chain.send(CALL, KEY)
    assert "needs ether" in str(refused.value.hint)


def test_one_writer_per_account(node: tuple[Node, Chain]) -> None:
    """Threads, and several gateways to one chain, never use a nonce twice."""
    served, chain = node
    chains = [chain, Chain(chain.rpc_url)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: chains[place % 2].send(CALL, KEY), range(20)))
    assert (served.nonce, served.most_in_flight) == (20, 1)


def test_logs_are_read_in_ranges(node: tuple[Node, Chain], monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that takes ten blocks at a time gets no more, and no block is asked for twice."""
    served, chain = node
    ledger, entry = load_artefact("TaskLedger"), load_artefact("TaskLedger").events["Left"]
    asked: list[int] = []

    def logs(query: dict[str, Any]) -> Any:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last - first >= 10:
            return {"error": {"code": -32005, "message": "block range too large"}}
        asked.extend(range(first, last + 1))
        number = (7).to_bytes(32, "big").hex()
        assert query["topics"] == [["0x" + entry.topic.hex()], "0x" + number]
        topics = ["0x" + entry.topic.hex(), "0x" + number, "0x" + "00" * 12 + TARGET[2:]]
        found = {"address": TARGET, "topics": topics, "data": "0x", "blockNumber": hex(first)}
        return [{**found, "logIndex": "0x0", "transactionHash": "0x"}]

    served.answers["eth_getLogs"] = logs
    monkeypatch.setattr(chain_module, "LOG_RANGE_BLOCKS", 64)
    events = chain.events(ledger, TARGET, ["Left"], from_block=3, where={"taskId": 7})
    assert asked == list(range(3, 101))
    assert events[0].arguments == {"taskId": 7, "account": TARGET}
    wanted = {"account": "0x" + "99" * 20}
    served.answers["eth_getLogs"] = lambda query: []
    assert chain.events(ledger, TARGET, ["Left", "Joined"], from_block=3, where=wanted) == ()


def test_revert_data_of_every_kind() -> None:
    reason = bytes.fromhex("08c379a0") + encode_string("no entry")
    assert decode_revert(reason, action="x").arguments == {"reason": "no entry"}
    panic = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
    assert "overflow" in decode_revert(panic, action="x").message
    assert "without a reason" in decode_revert(b"", action="x").message
    assert (
        "unknown error 0xdeadbeef" in decode_revert(bytes.fromhex("deadbeef"), action="x").message
    )


def encode_string(text: str) -> bytes:
    data = text.encode()
    head = (32).to_bytes(32, "big") + len(data).to_bytes(32, "big")
    return head + data.ljust(-(-len(data) // 32) * 32, b"\0")

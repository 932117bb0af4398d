# SPDX-License-Identifier: Apache-2.0
"""The one way to the chain: JSON-RPC reads, transactions, events, chain time.

Reads and writes are separate: a binding in `dao.contracts` returns an unsent `Call`, and only
`Chain.send` spends. Deadlines use `Chain.now`, the latest block's timestamp, never the wall clock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from eth_utils.address import to_checksum_address

from dao.artefacts import Artefact, Entry, Parameter, decode_log, encode
from dao.errors import ChainError
from dao.reverts import decode_revert
from dao.rpc import RpcEndpoint, RpcRefusal

GAS_MARGIN_PERCENT = 130
GAS_MARGIN = 100_000
"""Gas limit: this percentage of the estimate, and this much more. A vote checkpoint that exists in
the block of the estimate is made anew in a later one, for 27,000 gas each and up to three of them:
two delegates and the supply. Gas that is not used is not paid."""
RECEIPT_TIMEOUT_SECONDS = 180.0
LOG_RANGE_BLOCKS = 5_000
"""Blocks per eth_getLogs; halved when a node refuses the range."""
_FALLBACK_TIP_WEI = 1_000_000_000

_PRECOMPILES = (
    ("G1ADD", 0x0B, 256, bytes(128)),
    ("pairing check", 0x0F, 384, (1).to_bytes(32, "big")),
)
"""EIP-2537: name, address, bytes of zero input (points at infinity), expected output."""
_HELD_ALREADY = ("already known", "already imported", "known transaction")
"""What nodes say of a transaction that they hold: geth and reth, anvil, besu."""
_MAP_FP2_TO_G2 = (0x11, 128, 256)


class Signer(Protocol):
    """An account that signs; `eth_account`'s LocalAccount is one."""

    @property
    def address(self) -> Any: ...

    def sign_transaction(self, transaction_dict: Any) -> Any: ...


@dataclass(frozen=True)
class Call:
    """A transaction nobody has sent. `to` is None for a creation; `value` is in wei."""

    to: str | None
    data: bytes
    value: int
    description: str


@dataclass(frozen=True)
class Block:
    """Header fields that are needed: number, timestamp (seconds), base fee and gas limit."""

    number: int
    timestamp: int
    base_fee_wei: int
    gas_limit: int


@dataclass(frozen=True)
class Log:
    """An event as the chain keeps it."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    index: int
    transaction: str


@dataclass(frozen=True)
class Event:
    """A decoded event."""

    name: str
    arguments: Mapping[str, Any]
    log: Log


@dataclass(frozen=True)
class Outcome:
    """What became of a call. In a dry run `transaction` and `block` are None and `gas` is the
    estimate, else the gas used."""

    description: str
    sender: str
    gas: int
    transaction: str | None
    block: int | None
    created: str | None
    logs: tuple[Log, ...]


_logger = logging.getLogger(__name__)
_writers: dict[tuple[int, str], threading.RLock] = {}
_writers_guard = threading.Lock()


def _writer(chain_id: int, address: str) -> threading.RLock:
    """One lock per account of a chain in this process, held from nonce to receipt."""
    with _writers_guard:
        return _writers.setdefault((chain_id, address.lower()), threading.RLock())


class Chain(RpcEndpoint):
    """A chain behind a JSON-RPC endpoint.

    Safe for several threads; one transaction per account is under way at a time.
    """

    def __init__(
        self, rpc_url: str, *, receipt_timeout_seconds: float = RECEIPT_TIMEOUT_SECONDS
    ) -> None:
        super().__init__(rpc_url)
        self._receipt_timeout = receipt_timeout_seconds
        self._chain_id: int | None = None

    def connect(self, *, chain_id: int | None = None) -> Self:
        """Check that the endpoint answers, is the expected chain and has the EIP-2537
        precompiles, without which no BLS signature can be verified."""
        if chain_id is not None and self.chain_id != chain_id:
            raise ChainError(
                f"{self.shown_url} is chain {self.chain_id}, expected chain {chain_id}",
                hint="Check chain.rpc_url and the deployment file in covalue.toml.",
            )
        for name, address, size, expected in _PRECOMPILES:
            if self._precompile(address, bytes(size)) != expected:
                raise self._too_old(name, address)
        address, size, output = _MAP_FP2_TO_G2
        if len(self._precompile(address, bytes(size))) != output:
            raise self._too_old("MAP_FP2_TO_G2", address)
        return self

    def _precompile(self, address: int, data: bytes) -> bytes:
        try:
            return self.call(f"0x{address:040x}", data)
        except RpcRefusal:
            return b""

    def _too_old(self, name: str, address: int) -> ChainError:
        return ChainError(
            f"chain {self.chain_id} lacks the EIP-2537 precompile {name} (0x{address:02x}), so "
            "BLS signatures cannot be verified there",
            hint="Use a chain with the Prague upgrade; for a local one: anvil --hardfork prague.",
        )

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        if self._chain_id is None:
            self._chain_id = int(self.request("eth_chainId"), 16)
        return self._chain_id

    # --- reads --------------------------------------------------------------------------

    def block(self, number: int | None = None) -> Block:
        """A block's header; the latest without a number."""
        found = self.request("eth_getBlockByNumber", _tag(number), False)
        if found is None:
            raise ChainError(f"chain {self.chain_id} has no block {number}")
        return Block(
            number=int(found["number"], 16),
            timestamp=int(found["timestamp"], 16),
            base_fee_wei=int(found.get("baseFeePerGas", "0x0"), 16),
            gas_limit=int(found["gasLimit"], 16),
        )

    def now(self) -> int:
        """Chain time: the latest block's timestamp, Unix seconds."""
        return self.block().timestamp

    def code(self, address: str, *, block: int | None = None) -> bytes:
        """Runtime code at an address; empty where there is no contract."""
        return _bytes(self.request("eth_getCode", address, _tag(block)))

    def balance(self, address: str, *, block: int | None = None) -> int:
        """Ether of an account, in wei."""
        return int(self.request("eth_getBalance", address, _tag(block)), 16)

    def call(
        self,
        to: str,
        data: bytes,
        *,
        sender: str | None = None,
        value: int = 0,
        block: int | None = None,
    ) -> bytes:
        """eth_call, undecoded; RpcRefusal with the revert data if it is refused."""
        request = {"to": to, "data": "0x" + data.hex(), "value": hex(value)}
        if sender is not None:
            request["from"] = sender
        return _bytes(self.request("eth_call", request, _tag(block)))

    def simulate(self, call: Call, *, sender: str, block: int | None = None) -> bytes:
        """What `call` would return if `sender` sent it now; Reverted with the reason if not."""
        try:
            if call.to is None:
                request = {"from": sender, "data": "0x" + call.data.hex()}
                return _bytes(self.request("eth_call", request, _tag(block)))
            return self.call(call.to, call.data, sender=sender, value=call.value, block=block)
        except RpcRefusal as refusal:
            raise _explained(refusal, call.description) from refusal

    def events(
        self,
        artefact: Artefact,
        address: str,
        names: Sequence[str],
        *,
        from_block: int,
        to_block: int | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> tuple[Event, ...]:
        """Decoded events of one contract in chain order, `to_block` included.

        `where` keeps the events of which the named arguments have these values.
        """
        wanted = where or {}
        entries = {artefact.events[name].topic: artefact.events[name] for name in names}
        topics: list[Any] = [["0x" + topic.hex() for topic in entries]]
        leading = {item.name: item for item in _leading(entries.values())}
        for name in wanted.keys() & leading.keys():
            topics.append("0x" + encode([leading[name]], [wanted[name]], where=name).hex())
        last = self.block().number if to_block is None else to_block
        found = []
        for log in self._logs(address, topics, from_block, last):
            entry = entries[log.topics[0]]
            arguments = decode_log(entry, log.topics, log.data)
            if all(arguments.get(name) == value for name, value in wanted.items()):
                found.append(Event(entry.name, arguments, log))
        return tuple(found)

    def _logs(self, address: str, topics: list[Any], first: int, last: int) -> list[Log]:
        logs: list[Log] = []
        span = LOG_RANGE_BLOCKS
        while first <= last:
            end = min(last, first + span - 1)
            query = {
                "address": address,
                "topics": topics,
                "fromBlock": hex(first),
                "toBlock": hex(end),
            }
            try:
                logs.extend(_log(item) for item in self.request("eth_getLogs", query))
            except RpcRefusal:
                if span == 1:
                    raise
                span = max(1, span // 2)
                continue
            first = end + 1
        return logs

    # --- writes -------------------------------------------------------------------------

    def send(self, call: Call, key: Signer, *, dry_run: bool = False) -> Outcome:
        """Estimate, sign, send and wait for the receipt (EIP-1559).

        A refusal is a `Reverted` with the contract's error in words. A dry run does all but sign
        and send. One transaction per account is under way at a time in this process.
        """
        sender = str(key.address).lower()
        request: dict[str, Any] = {
            "from": sender,
            "data": "0x" + call.data.hex(),
            "value": hex(call.value),
        }
        if call.to is not None:
            request["to"] = call.to
        with _writer(self.chain_id, sender):
            try:
                estimate = int(self.request("eth_estimateGas", request), 16)
            except RpcRefusal as refusal:
                raise _explained(refusal, call.description) from refusal
            if dry_run:
                return Outcome(call.description, sender, estimate, None, None, None, ())
            latest = self.block()
            tip = self._tip()
            transaction: dict[str, Any] = {
                "type": 2,
                "chainId": self.chain_id,
                "nonce": int(self.request("eth_getTransactionCount", sender, "pending"), 16),
                "gas": min(estimate * GAS_MARGIN_PERCENT // 100 + GAS_MARGIN, latest.gas_limit),
                "maxPriorityFeePerGas": tip,
                "maxFeePerGas": 2 * latest.base_fee_wei + tip,
                "value": call.value,
                "data": call.data,
            }
            if call.to is not None:
                transaction["to"] = to_checksum_address(call.to)
            signed = key.sign_transaction(transaction)
            sent = "0x" + bytes(signed.hash).hex()
            self._submit(bytes(signed.raw_transaction), call.description)
            receipt = self._receipt(sent, call.description)
        block = int(receipt["blockNumber"], 16)
        if int(receipt["status"], 16) != 1:
            self.simulate(call, sender=sender, block=block - 1)
            raise ChainError(
                f"{call.description}: the transaction {sent} failed in block {block}, though it "
                "passes when it is tried alone",
                hint="Another transaction came first, or the gas ran out. Try again.",
            )
        created = receipt.get("contractAddress")
        return Outcome(
            description=call.description,
            sender=sender,
            gas=int(receipt["gasUsed"], 16),
            transaction=sent,
            block=block,
            created=created.lower() if created else None,
            logs=tuple(_log(item) for item in receipt["logs"]),
        )

    def _tip(self) -> int:
        try:
            return int(self.request("eth_maxPriorityFeePerGas"), 16)
        except RpcRefusal:
            return _FALLBACK_TIP_WEI

    def _submit(self, raw_transaction: bytes, description: str) -> None:
        try:
            self.request("eth_sendRawTransaction", "0x" + raw_transaction.hex())
        except RpcRefusal as refusal:
            if not any(words in refusal.message.lower() for words in _HELD_ALREADY):
                raise _explained(refusal, description) from refusal
        except ChainError:
            _logger.warning("%s: the answer was lost; looking for the receipt", description)

    def _receipt(self, transaction: str, description: str) -> Mapping[str, Any]:
        """Waits for the receipt, through outages of the node: what was sent may be included."""
        pause, until = 0.005, time.monotonic() + self._receipt_timeout
        while True:
            receipt: Mapping[str, Any] | None = None
            try:
                receipt = self.request("eth_getTransactionReceipt", transaction)
            except RpcRefusal:
                raise
            except ChainError:
                _logger.warning("%s: no answer while waiting for the receipt", description)
            if receipt is not None:
                return receipt
            if time.monotonic() > until:
                raise ChainError(
                    f"{description}: transaction {transaction} is not in a block after "
                    f"{self._receipt_timeout:.0f} s",
                    hint="It may still be included; look it up before you send it again.",
                )
            time.sleep(pause)
            pause = min(pause * 2, 1.0)


def _leading(entries: Iterable[Entry]) -> list[Parameter]:
    """The first indexed argument, if all events share it: a node can filter by it."""
    firsts = {next((item for item in entry.inputs if item.indexed), None) for entry in entries}
    return [item for item in firsts if item is not None] if len(firsts) == 1 else []


def _explained(refusal: RpcRefusal, action: str) -> ChainError:
    if refusal.data is not None or "revert" in refusal.message:
        return decode_revert(refusal.data or b"", action=action)
    return RpcRefusal(f"{action}: {refusal.message}", data=None, hint=refusal.hint)


def _tag(block: int | None) -> str:
    return "latest" if block is None else hex(block)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _log(item: Mapping[str, Any]) -> Log:
    return Log(
        address=item["address"].lower(),
        topics=tuple(_bytes(topic) for topic in item["topics"]),
        data=_bytes(item["data"]),
        block=int(item["blockNumber"], 16),
        index=int(item["logIndex"], 16),
        transaction=item["transactionHash"],
    )

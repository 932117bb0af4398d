# SPDX-License-Identifier: Apache-2.0
"""What all bindings share: an address, an ABI, reads, unsent calls, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dao.artefacts import Artefact, Entry, decode, decode_log, encode, load_artefact
from dao.chain import Call, Chain, Event, Outcome

ZERO_ADDRESS = "0x" + "00" * 20
ZERO_BYTES32 = bytes(32)


def proof_bytes(proof: Sequence[str]) -> list[bytes]:
    """A Merkle proof as `rewards.merkle` gives it (0x and 64 hex digits each), for a call."""
    return [bytes.fromhex(node.removeprefix("0x")) for node in proof]


class Binding:
    """A contract of a known ABI at an address."""

    artefact_name: ClassVar[str]

    def __init__(self, chain: Chain, address: str) -> None:
        self.chain = chain
        self.address = address.lower()

    @property
    def artefact(self) -> Artefact:
        return load_artefact(self.artefact_name)

    def _read(self, function: str, *arguments: Any, block: int | None = None) -> Any:
        """Result of a view function: the value itself, or a tuple of several."""
        entry = self.artefact.function(function, len(arguments))
        call = self._encoded(entry, arguments, description=f"{self.artefact_name}.{function}")
        data = self.chain.simulate(call, sender=ZERO_ADDRESS, block=block)
        values = decode(entry.outputs, data, where=f"{self.artefact_name}.{function}")
        return values[0] if len(values) == 1 else values

    def _call(self, function: str, *arguments: Any, description: str) -> Call:
        entry = self.artefact.function(function, len(arguments))
        return self._encoded(entry, arguments, description=description)

    def _encoded(self, entry: Entry, arguments: Sequence[Any], *, description: str) -> Call:
        where = f"{self.artefact_name}.{entry.name}"
        data = entry.selector + encode(entry.inputs, arguments, where=where)
        return Call(to=self.address, data=data, value=0, description=description)

    def events(
        self,
        *names: str,
        from_block: int,
        to_block: int | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> tuple[Event, ...]:
        """Decoded events in chain order; `where` filters by argument."""
        return self.chain.events(
            self.artefact,
            self.address,
            names,
            from_block=from_block,
            to_block=to_block,
            where=where,
        )

    def events_in(self, outcome: Outcome) -> tuple[Event, ...]:
        """The events that a sent transaction made this contract emit."""
        entries = {entry.topic: entry for entry in self.artefact.events.values()}
        return tuple(
            Event(entry.name, decode_log(entry, log.topics, log.data), log)
            for log in outcome.logs
            if log.address == self.address and (entry := entries.get(log.topics[0])) is not None
        )


class Linked(Binding):
    """A contract of which the deployer sets one link, once (DeployerLink)."""

    def deployer(self, *, block: int | None = None) -> str:
        """Who may still set the link; the zero address once it is set."""
        address: str = self._read("deployer", block=block)
        return address


class Owned(Binding):
    """A contract with an owner (OpenZeppelin Ownable): the timelock, after deployment."""

    def owner(self, *, block: int | None = None) -> str:
        address: str = self._read("owner", block=block)
        return address

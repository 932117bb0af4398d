# SPDX-License-Identifier: Apache-2.0
"""A local chain inside one process: anvil, started and stopped with a `with` block.

Nothing is left running, whatever ends the process.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from eth_account import Account
from eth_account.signers.local import LocalAccount

from dao.chain import Chain
from dao.errors import ChainError, InputError
from demo import supervised

CHAIN_ID = 31337
"""Chain id of every devnet; DevStablecoin refuses chains that are no devnet."""
DEFAULT_PORT = 8545
ACCOUNTS = 40
"""Accounts that hold ether, enough for a full demo."""
MNEMONIC = "test test test test test test test test test test test junk"
"""Anvil's published mnemonic: its keys are known to everyone, never use them elsewhere."""
STATE_INTERVAL_SECONDS = 2
"""Anvil writes its state to disk this often; a SIGKILL loses at most this much."""
START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 10.0


@cache
def dev_account(index: int) -> LocalAccount:
    """The devnet's account number `index` (m/44'/60'/0'/0/index of the published mnemonic)."""
    Account.enable_unaudited_hdwallet_features()
    path = f"m/44'/60'/0'/0/{index}"
    account: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=path)
    return account


def find_anvil(checkout: Path | None = None) -> Path:
    """The anvil binary: from node_modules of the checkout (ours unless one is given), else PATH."""
    roots = [checkout] if checkout else [Path.cwd(), Path(__file__).resolve().parent.parent]
    for root in roots:
        # the platform package holds the binary itself; .bin/anvil is a Node script around it
        for found in sorted(root.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")):
            if os.access(found, os.X_OK):
                return found
    on_path = shutil.which("anvil")
    if on_path is None:
        raise InputError(
            "anvil, the local chain, is not installed",
            hint='Run "npm ci" in the checkout of Covalue, or install Foundry '
            "(https://getfoundry.sh) so that anvil is on PATH.",
        )
    return Path(on_path)


def anvil_command(anvil: Path, *, port: int, state_file: Path | None) -> list[str]:
    """Command line of a devnet. The hard fork is named: EIP-2537 needs Prague."""
    command = [str(anvil), "--host", "127.0.0.1", "--port", str(port), "--quiet"]
    command += ["--hardfork", "prague", "--chain-id", str(CHAIN_ID)]
    command += ["--accounts", str(ACCOUNTS), "--mnemonic", MNEMONIC]
    if state_file is not None:
        command += ["--state", str(state_file), "--state-interval", str(STATE_INTERVAL_SECONDS)]
    return command


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_busy(port: int) -> bool:
    """Whether somebody listens on a local port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def refuse_busy_port(port: int) -> None:
    """InputError if somebody listens on the port."""
    if port_is_busy(port):
        raise InputError(
            f"port {port} on this machine is in use",
            hint="Stop what listens there, or choose another port with --port.",
        )


def await_chain(process: subprocess.Popen[bytes], rpc_url: str, log_file: Path | None) -> Chain:
    """The chain, as soon as it answers. ChainError with the log's end if anvil exits first."""
    chain, until, pause = Chain(rpc_url), time.monotonic() + START_TIMEOUT_SECONDS, 0.02
    port = int(rpc_url.rpartition(":")[2])
    while True:
        if process.poll() is not None or time.monotonic() > until:
            said = log_file.read_text("utf-8", "replace")[-500:].strip() if log_file else ""
            raise ChainError(
                "anvil did not start" + (f": {said}" if said else ""),
                hint="If its state file is of another version of anvil, choose a new folder.",
            )
        if port_is_busy(port):
            chain.connect(chain_id=CHAIN_ID)
            _resume_time(chain)
            return chain
        time.sleep(pause)


def _resume_time(chain: Chain) -> None:
    """Anvil forgets time travel when it restarts, and would mine into the past."""
    ahead = chain.now() - int(time.time())
    if ahead > 0:
        chain.request("evm_increaseTime", hex(ahead))


class Devnet:
    """A local chain for as long as the `with` block runs.

    ``with Devnet(folder) as net:`` keeps its state in `folder` and goes on from it the next time;
    without a folder nothing is kept. `accounts` are private keys that hold ether.
    """

    def __init__(self, state_dir: Path | None = None, port: int | None = None) -> None:
        self._state_dir = state_dir
        self._wanted_port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._chain: Chain | None = None

    @property
    def rpc_url(self) -> str:
        return self.chain.rpc_url

    @property
    def chain(self) -> Chain:
        """The connected chain; ChainError outside of the `with` block."""
        if self._chain is None:
            raise ChainError("the devnet is not running")
        return self._chain

    @property
    def accounts(self) -> tuple[str, ...]:
        """Private keys (0x, 64 hex digits) of the accounts that hold ether."""
        return tuple("0x" + bytes(dev_account(index).key).hex() for index in range(ACCOUNTS))

    def account(self, index: int) -> LocalAccount:
        """The signing account of `accounts[index]`."""
        return dev_account(index)

    def __enter__(self) -> Self:
        anvil = find_anvil()
        if self._wanted_port is not None:
            refuse_busy_port(self._wanted_port)
        state_file = log_file = None
        if self._state_dir is not None:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            state_file = self._state_dir / "state.json"
            log_file = self._state_dir / "anvil.log"
        port = self._wanted_port or free_port()
        command = anvil_command(anvil, port=port, state_file=state_file)
        self._process = supervised.start(command, log=log_file)
        try:
            self._chain = await_chain(self._process, f"http://127.0.0.1:{port}", log_file)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        process, self._process, self._chain = self._process, None, None
        if process is not None:
            supervised.stop(process, seconds=STOP_TIMEOUT_SECONDS)

    def advance(self, seconds: int) -> int:
        """Move chain time on and mine a block; returns the new chain time."""
        self.chain.request("evm_increaseTime", hex(seconds))
        self.chain.request("evm_mine")
        return self.chain.now()

    def advance_to(self, timestamp: int) -> int:
        """Move chain time to `timestamp` unless it is there already; returns chain time."""
        behind = timestamp - self.chain.now()
        return self.advance(behind) if behind > 0 else self.chain.now()

    def snapshot(self) -> str:
        """A mark to which `revert` returns once."""
        mark: str = self.chain.request("evm_snapshot")
        return mark

    def revert(self, mark: str) -> None:
        """Go back to a mark."""
        if not self.chain.request("evm_revert", mark):
            raise ChainError(f"the devnet has no snapshot {mark}")

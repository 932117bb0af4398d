# SPDX-License-Identifier: Apache-2.0
"""The local chain: it keeps its state and its time, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chain_world import address
from typer.testing import CliRunner

from cli.devnet import app
from dao.chain import Chain
from dao.errors import ChainError, InputError
from demo import devnet as devnet_module
from demo.devnet import ACCOUNTS, Devnet, find_anvil, free_port, port_is_busy

HOLD = """
import signal, time
from demo.devnet import Devnet
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
with Devnet() as net:
    print(net.rpc_url, flush=True)
    time.sleep(600)
"""


def wait_until_free(port: int) -> bool:
    until = time.monotonic() + 10
    while port_is_busy(port) and time.monotonic() < until:
        time.sleep(0.02)
    return not port_is_busy(port)


def test_state_and_time_outlive_a_restart(tmp_path: Path) -> None:
    target = "0x" + "12" * 20
    with Devnet(tmp_path) as net:
        net.chain.request("anvil_setBalance", target, hex(5))
        later = net.advance(100_000)
        block = net.chain.block().number
    with pytest.raises(ChainError, match="not running"):
        net.chain.now()
    with Devnet(tmp_path) as net:
        assert net.chain.balance(target) == 5
        assert net.chain.block().number == block
        assert net.advance(1) > later  # not back to the wall clock


def test_a_snapshot_takes_back_everything(devnet: Devnet) -> None:
    mark, before = devnet.snapshot(), devnet.chain.now()
    devnet.advance(1000)
    devnet.revert(mark)
    assert devnet.chain.now() == before
    with pytest.raises(ChainError):
        devnet.revert("0xffff")


def test_accounts_hold_ether(devnet: Devnet) -> None:
    assert len(devnet.accounts) == ACCOUNTS
    assert devnet.account(0).address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert devnet.accounts[0].startswith("0xac0974bec39a17e36ba4a6b4d238ff944bacb478")
    assert devnet.chain.balance(address(ACCOUNTS - 1)) > 10**20


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_runs_on_after_the_process(end: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline().strip().rpartition(":")[2])
    assert port_is_busy(port)
    process.send_signal(end)
    process.wait(20)
    process.stdout.close()
    assert wait_until_free(port)


def test_busy_ports_are_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(InputError, match=f"port {port} on this machine is in use"),
            Devnet(port=port),
        ):
            pass


def test_without_anvil_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError) as refused:
        find_anvil(tmp_path)
    assert "npm ci" in str(refused.value.hint)


def test_a_broken_state_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{broken")
    with pytest.raises(ChainError, match="anvil did not start"), Devnet(tmp_path):
        pass


def test_up_and_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, port = CliRunner().invoke, str(free_port())

    def ask(*arguments: str) -> dict[str, object]:
        result = run(app, [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        answer: dict[str, object] = json.loads(result.stdout)
        return answer

    try:
        up = ask("up", "--port", port)
        assert up["started"]
        assert not ask("up", "--port", port)["started"]
        other = run(app, ["up", "--port", str(free_port()), "--json"])
        assert other.exit_code == 2
        assert "is running on port" in other.stdout
        chain = Chain(str(up["rpc_url"]))
        before = chain.now()
        assert int(str(ask("advance", "5000")["chain_time"])) >= before + 5000
        target = "0x" + "77" * 20
        assert ask("fund", target, "--ether", "3")["balance_wei"] == str(3 * 10**18)
        written = ask("key", "0", "founder.json")
        assert written["address"] == address(0)
        assert Path("founder.json").stat().st_mode & 0o077 == 0
        assert ask("down")["stopped"]
        assert not ask("down")["stopped"]
        assert wait_until_free(int(port))
        assert ask("up", "--port", port)["started"]
        assert Chain(str(up["rpc_url"])).balance(target) == 3 * 10**18
    finally:
        run(app, ["down"])


def test_a_note_left_by_a_crash_is_no_devnet(tmp_path: Path) -> None:
    """The process id may belong to anybody by now: ours, here. It must not be ended."""
    (tmp_path / "devnet.json").write_text(json.dumps({"pid": os.getpid(), "port": 1}))
    result = CliRunner().invoke(app, ["down", "--state", str(tmp_path), "--json"])
    assert json.loads(result.stdout)["stopped"] is False
    assert not (tmp_path / "devnet.json").exists()


def test_chains_without_the_precompiles_are_refused() -> None:
    """An anvil of an older hard fork answers, and is refused with the reason."""
    port = free_port()
    command = devnet_module.anvil_command(find_anvil(), port=port, state_file=None)
    command[command.index("prague")] = "cancun"
    process = subprocess.Popen(command)
    try:
        with pytest.raises(ChainError, match="lacks the EIP-2537 precompile"):
            devnet_module.await_chain(process, f"http://127.0.0.1:{port}", None)
    finally:
        process.kill()
        process.wait()

# SPDX-License-Identifier: Apache-2.0
"""A local chain that stays up: `covalue devnet up` and `down`. Its folder holds the state, the
log and the note `devnet.json` that says which process it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dao.chain import Chain
from dao.errors import ChainError, InputError
from demo.devnet import (
    CHAIN_ID,
    STOP_TIMEOUT_SECONDS,
    anvil_command,
    await_chain,
    find_anvil,
    port_is_busy,
    refuse_busy_port,
)

DEFAULT_FOLDER = Path(".covalue/devnet")
BLOCK_SECONDS = 5
"""A block is mined at once for every transaction, and at this interval without any, so that
chain time goes on."""


class Note(BaseModel):
    """devnet.json: the process of a running devnet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    port: int

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Status:
    """A running devnet. `started` is False where it had been up before."""

    rpc_url: str
    pid: int
    folder: Path
    chain_id: int
    block: int
    started: bool


def bring_up(folder: Path, *, port: int) -> Status:
    """Start a devnet that outlives this process, or find it running.

    It goes on from the state in the folder. InputError if the port is in use by another.
    """
    note = running(folder)
    if note is not None:
        if note.port != port:
            raise InputError(
                f"the devnet of {folder} is running on port {note.port}",
                hint='Stop it with "covalue devnet down", or name another folder with --state.',
            )
        return _status(folder, note, started=False)
    anvil = find_anvil()
    refuse_busy_port(port)
    folder.mkdir(parents=True, exist_ok=True)
    command = anvil_command(anvil, port=port, state_file=folder / "state.json")
    command += ["--block-time", str(BLOCK_SECONDS), "--mixed-mining"]
    log_file = folder / "anvil.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    note = Note(pid=process.pid, port=port)
    try:
        await_chain(process, note.rpc_url, log_file)
        _note_file(folder).write_text(note.model_dump_json() + "\n", encoding="utf-8")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return _status(folder, note, started=True)


def bring_down(folder: Path) -> bool:
    """Stop the devnet of a folder; its state stays. False if none was running."""
    note = running(folder)
    if note is None:
        return False
    for sign in (signal.SIGTERM, signal.SIGKILL):
        os.kill(note.pid, sign)
        until = time.monotonic() + STOP_TIMEOUT_SECONDS
        # an ending process loses its command line before its sockets
        while (_is_anvil(note) or port_is_busy(note.port)) and time.monotonic() < until:
            time.sleep(0.02)
        if not _is_anvil(note):
            _note_file(folder).unlink()
            return True
    raise ChainError(f"the devnet's process {note.pid} does not stop")


def running(folder: Path) -> Note | None:
    """The devnet of a folder, if it is running; a note that a crash left behind is removed."""
    file = _note_file(folder)
    try:
        note = Note.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InputError(f"{file} is damaged", hint="Delete it if no anvil is running.") from error
    if _is_anvil(note):
        return note
    file.unlink()
    return None


def open_running(folder: Path) -> Chain:
    """The chain of a running devnet; InputError if it is not running."""
    note = running(folder)
    if note is None:
        raise InputError(
            f"no devnet is running with its state in {folder}",
            hint='"covalue devnet up" starts one.',
        )
    return Chain(note.rpc_url).connect(chain_id=CHAIN_ID)


def _note_file(folder: Path) -> Path:
    return folder / "devnet.json"


def _status(folder: Path, note: Note, *, started: bool) -> Status:
    chain = Chain(note.rpc_url).connect(chain_id=CHAIN_ID)
    return Status(
        rpc_url=note.rpc_url,
        pid=note.pid,
        folder=folder,
        chain_id=chain.chain_id,
        block=chain.block().number,
        started=started,
    )


def _is_anvil(note: Note) -> bool:
    """Whether the process is still the anvil we started: ids are reused, and ended children of
    this process linger as zombies without a command line."""
    if sys.platform == "linux":
        try:
            said = Path(f"/proc/{note.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        asked = ["ps", "-p", str(note.pid), "-o", "args="]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return "anvil" in said and f"--port {note.port} " in said

# SPDX-License-Identifier: Apache-2.0
"""Every setting, in one model: read from ``covalue.toml``, then from ``COVALUE_*`` variables.

A variable names group and key: ``COVALUE_CHAIN__RPC_URL``. It wins over the file. Settings are
built once at each entry point and passed down; nothing else reads the environment. Secrets are
never settings: a keystore and its password stand in files, of which the settings hold the paths.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from dao.errors import InputError

SETTINGS_FILE = Path("covalue.toml")
NOT_SETTINGS = frozenset({"COVALUE_DATA"})
"""Variables with our prefix that are no settings: the folder of rows for tests and benchmarks."""

Port = Annotated[int, Field(ge=0, le=65_535)]
Positive = Annotated[int, Field(ge=1, le=2**53 - 1)]


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
"""A list of strings; separated by commas in a variable."""


class Group(BaseModel):
    """Base of the groups: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ChainSettings(Group):
    """Which chain, and which contracts on it."""

    rpc_url: str = "http://127.0.0.1:8545"
    deployment: Path = Path("deployment.json")
    """Addresses of the contracts, as `covalue dao deploy` wrote them."""


class StoreSettings(Group):
    """Where content lies, who else has it, who may read it here."""

    path: Path = Path(".covalue/store")
    peers: Addresses = ()
    """Block servers or IPFS gateways, asked in this order: ``http://host:8090``."""
    ipfs_api: str | None = None
    """A Kubo RPC as a multiaddress, ``/ip4/127.0.0.1/tcp/5001``; content goes there too."""
    serve_host: str = "127.0.0.1"
    serve_port: Port = 8090


class AccountSettings(Group):
    """The account that signs transactions."""

    keystore: Path | None = None
    password_file: Path | None = None


class VaultSettings(Group):
    """The contributor's own limits: no coordinator can pass them, whatever a task says."""

    path: Path = Path(".covalue/vault")
    password_file: Path | None = None
    """Password of the BLS keystore in the vault's folder."""
    max_epsilon_micro: Positive = 10_000_000
    """What all tasks together may cost in this vault's life, at `delta_e12`."""
    max_task_epsilon_micro: Positive = 8_000_000
    min_noise_multiplier_micro: Positive = 300_000
    max_clip_norm_nano: Positive = 1_000_000_000_000
    delta_e12: Positive = 10_000_000
    """The delta of the lifetime limit, 1e-12: 10_000_000 is 1e-5."""
    filter: Literal["gdp", "rdp"] = "gdp"
    """How tasks add up against the lifetime limit: `gdp` is exact for full-batch tasks and refuses
    those with sampled steps; `rdp` takes both and loses an eighth of the budget. A ledger keeps the
    filter of its first entry for life."""
    witness_path: Path = Path(".covalue-witness")
    """A second place, outside the vault's folder, for the ledger's high-water mark: a restored
    backup of the vault is then found out. Best on another disk."""
    noise_seed: str | None = None
    """Simulation and tests only: noise from this seed. Receipts say so."""
    runtime_address: str = "127.0.0.1:9094"
    """The Runtime API of the contributor's own SuperNode."""
    runtime_secret_file: Path | None = None
    """The secret that SuperNode and vault share (`--superexec-auth-secret-file`)."""


class CoordinatorSettings(Group):
    """The coordinator's journal, its SuperLink and its patience."""

    path: Path = Path(".covalue/coordinator")
    allow_seeded_noise: bool = False
    """Simulation and tests only: take updates whose noise came from a seed."""
    round_timeout_seconds: Positive = 300
    cosign_timeout_seconds: Positive = 300
    poll_milliseconds: Positive = 200
    superlink_address: str = "127.0.0.1:8000"
    root_certificates: Path | None = None


class ApiSettings(Group):
    """The inference API."""

    host: str = "127.0.0.1"
    port: Port = 8080
    signer_keystore: Path | None = None
    password_file: Path | None = None
    max_body_bytes: Positive = 1_048_576
    max_rows: Positive = 1_000


class LogSettings(Group):
    """What the command line tells of its own faults."""

    tracebacks: bool = False
    """Show where an unexpected error happened: ``COVALUE_LOG__TRACEBACKS=1``."""


class Settings(BaseSettings):
    """All groups. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="COVALUE_",
        env_nested_delimiter="__",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    chain: ChainSettings = ChainSettings()
    store: StoreSettings = StoreSettings()
    account: AccountSettings = AccountSettings()
    vault: VaultSettings = VaultSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()
    api: ApiSettings = ApiSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables before what `load_settings` read from the file; nothing else."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Settings from `path`, or from covalue.toml in the working directory if it is there, and
    from the environment.

    Relative paths in the file, and the defaults, start at the file's folder; those in variables
    at the working directory. InputError names the key and where it stands.
    """
    file = SETTINGS_FILE if path is None else path
    table = _read_table(file) if path is not None or file.exists() else {}
    _refuse_stray_variables()
    try:
        settings = Settings(**table)
    except ValidationError as error:
        raise _explain(error, file) from error
    except SettingsError as error:
        raise InputError(
            f"a COVALUE_ variable cannot be read: {error}",
            hint="name group and key, as in COVALUE_CHAIN__RPC_URL=http://127.0.0.1:8545",
        ) from error
    return _anchor_paths(settings, file.parent)


def _read_table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file} is not TOML in UTF-8: {error}") from error


def _variable(group: str, key: str) -> str:
    return f"COVALUE_{group}__{key}".upper()


def _variables() -> dict[str, str]:
    """Set variables with our prefix, by their name in capitals."""
    return {name.upper(): name for name in os.environ if name.upper().startswith("COVALUE_")}


def _refuse_stray_variables() -> None:
    groups = {f"COVALUE_{name}".upper() for name in Settings.model_fields}
    for upper, name in sorted(_variables().items()):
        if upper not in NOT_SETTINGS and upper.split("__")[0] not in groups:
            raise InputError(
                f"{name} is no setting",
                hint="expected COVALUE_GROUP__KEY with one of the groups "
                + ", ".join(Settings.model_fields),
            )


def _explain(error: ValidationError, file: Path) -> InputError:
    """The first problem, with the key, where it was set and what would be right."""
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    where = str(file)
    if len(place) > 1 and _variable(*place[:2]) in _variables():
        where = _variables()[_variable(*place[:2])]
    key = ".".join(place)
    if first["type"] != "extra_forbidden":
        return InputError(f"{where}: {key}: {first['msg']}, got {first['input']!r}")
    known = list(Settings.model_fields)
    if len(place) > 1:
        known = list(type(Settings.model_fields[place[0]].default).model_fields)
    near = difflib.get_close_matches(place[-1].lower(), known, n=1)
    hint = f"did you mean {near[0]}?" if near else "known keys: " + ", ".join(known)
    return InputError(f"{where}: unknown key {key}", hint=hint)


def _anchor_paths(settings: Settings, folder: Path) -> Settings:
    groups = {}
    for name in Settings.model_fields:
        group = getattr(settings, name)
        anchored = {
            key: folder / value.expanduser()
            for key, value in group
            if isinstance(value, Path) and _variable(name, key) not in _variables()
        }
        groups[name] = group.model_copy(update=anchored)
    return settings.model_copy(update=groups)

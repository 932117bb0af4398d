# SPDX-License-Identifier: Apache-2.0
"""A task of the rule `wiener` with a real set-up, who contributes, and its steps by plain matrices.

`PlainRule` follows docs/spec/valuation.md §5a line by line, from published bytes and from the
set-up's survey alone; nothing of `rounds.rules` or `rounds.wiener` is in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.integrate import quad

from dao.cid import blob_ref
from dao.records import Task
from privacy import accounting
from privacy.noise import SeededNoise
from rounds.contribution import contribution
from rounds.exclusion import RosterMember
from rounds.history import History
from rounds.state import theta_of
from tests.unit.rounds.round_world import World
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.encode import Encoded, encode
from valuation.family import Prepared
from valuation.kernel import KernelFamily
from valuation.loading import load_family
from valuation.private_rows import PrivateRows, divide_rows
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

CONTRIBUTORS, ROUNDS, CELLS, UNITS = 4, 5, 6, 250
"""Contributors, training rounds, cells of the survey, and units of each contributor."""
GRID = 2.0**-30


def homes(count: int, seed: int, *, west: float = 9.0, east: float = 10.0) -> pd.DataFrame:
    """Homes whose price follows area and place, up to a fifth."""
    random = np.random.default_rng(seed)
    area = random.uniform(50, 200, count)
    x, y = random.uniform(west, east, count), random.uniform(48, 49, count)
    log_price = 7.6 + 0.9 * np.log(area) + 0.5 * np.sin(7 * x) * np.cos(5 * y)
    log_price += 0.2 * random.normal(size=count)
    columns = {"area": area, "latitude": y, "longitude": x, "price": np.exp(log_price)}
    return pd.DataFrame({name: [f"{v:.4f}" for v in each] for name, each in columns.items()})


@dataclass(frozen=True)
class Built:
    """A task, its family and the bytes of its initial model."""

    task: Task
    family: KernelFamily
    initial: bytes


def build() -> Built:
    """A drafted task with few rounds and cells, judged after training rounds 2 and 4."""
    public, blobs = homes(120, 0), {}

    def put(data: bytes):
        blobs[blob_ref(data).sha256] = data
        return blob_ref(data)

    text = render_draft(
        draft_task(public, target="price"),
        title="A town",
        asset_class="homes",
        public_rows="public.csv",
        public_n=CONTRIBUTORS * UNITS,
        contributors=CONTRIBUTORS,
    )
    for old, new in (
        ("rounds = 30", f"rounds = {ROUNDS}"),
        (
            'rule = "wiener"',
            f'rule = "wiener"\nsurvey_cells = {CELLS}\njudge_rounds = [2, 4]\nnoise_players = 5',
        ),
        ("checkpoint_length = 6", "checkpoint_length = 4"),
    ):
        assert old in text
        text = text.replace(old, new)
    task = build_task(
        parse_taskfile(text),
        public.to_csv(index=False).encode(),
        put,
        bundle_sha256="0" * 64,
        accounting=accounting,
    )
    family = load_family(task, blobs[task.model.setup.sha256])
    assert isinstance(family, KernelFamily)
    return Built(task, family, blobs[task.model.initial.sha256])


def sealed(built: Built) -> Prepared:
    """Rows that judge."""
    return built.family.prepare(encode(built.task, homes(80, 77), with_target=True))


@dataclass
class WienerWorld(World):
    """Contributors side by side from west to east, who send what the product computes."""

    private: dict[str, PrivateRows] = field(default_factory=dict)

    def update_of(self, address: str, number: int) -> bytes:
        return contribution(
            self.task,
            self.family,
            self.private[address],
            theta_of(self.task, self.state),
            number=number,
            noise=SeededNoise(f"{self.seed} {address} {number}".encode()),
        )


def world_of(built: Built) -> WienerWorld:
    """The task before its first round."""
    task, names = built.task, [f"0x{place + 1:040x}" for place in range(CONTRIBUTORS)]

    def rows(place: int) -> Encoded:
        west, east = 9 + place / CONTRIBUTORS, 9 + (place + 1) / CONTRIBUTORS
        return encode(task, homes(UNITS, 10 + place, west=west, east=east), with_target=True)

    return WienerWorld(
        task=task,
        family=built.family,  # type: ignore[arg-type]
        roster=tuple(RosterMember(name, name[2:].encode().ljust(48, b"k")) for name in names),
        rows={},
        base=task.model.initial,
        state=built.initial,
        history=History.start(task, tuple(names)),
        previous=task.digest(),
        content={task.model.initial.sha256: built.initial},
        private={
            name: divide_rows(task, built.family, rows(place)) for place, name in enumerate(names)
        },
    )


def numbers_of(data: bytes, deviation: float) -> np.ndarray:
    """A histogram's update as counts: its grid is the coarsest that is 256 times finer than the
    noise."""
    bits = math.ceil(math.log2(256.0 / deviation))
    return np.frombuffer(data, "<i8") / 2.0**bits


@dataclass(frozen=True)
class PlainRule:
    """J and W_k of a task, float64[d, d], and the weight of the public rows' gradient."""

    j: np.ndarray
    weights: list[np.ndarray]
    public: float
    prior: np.ndarray

    @classmethod
    def of(cls, built: Built, surveys: Mapping[int, bytes]) -> PlainRule:
        """From the surveys that counted, by place in the roster."""
        task, survey = built.task, built.family.survey
        assert survey is not None
        deviation = task.policy.survey_noise_micro / 1e6
        psi, cells = built.family.survey_rows()
        psi = psi * math.sqrt(survey.rows_per_unit)
        here = np.array([(cells == cell).sum() for cell in range(CELLS)])
        clip = task.policy.clip_norm_nano / 1e9
        a = (task.policy.noise_multiplier_micro / 1e6 * clip) ** 2 / task.policy.rounds
        lengths = np.array([math.sqrt(row @ row) for row in psi])
        passing = [math.erf(clip / (survey.spread * x) / math.sqrt(2)) for x in lengths]
        c = clip / (survey.spread * float(np.median(lengths)))
        kept, _ = quad(lambda z: min(z * z, c * c) * _normal(z), -12, 12, points=[-c, c])
        inside, _ = quad(_normal, -c, c)
        b = survey.spread**2 * kept / inside
        overall = psi.T @ (psi * (np.array(passing) / len(psi))[:, None])
        prior = survey.prior
        n_units, kept, heard = task.policy.public_n, [], np.zeros(CELLS)
        for place in range(CONTRIBUTORS):
            told = numbers_of(surveys[place], deviation) if place in surveys else np.zeros(CELLS)
            heard += told > 1.5 * deviation
            counts = np.where((told > 1.5 * deviation) & (here > 0), told, 0.0)
            kept.append(counts if counts.any() else n_units / CONTRIBUTORS * here / here.sum())
        kept = plain_cut(np.array(kept), n_units)
        anchors = built.family.process.locations
        nearest = [int(np.argmin([(p - c) @ (p - c) for c in survey.centers])) for p in anchors]
        public = np.array([nearest.count(cell) for cell in range(CELLS)])
        damping = plain_damping(kept, public, heard, deviation)
        j, weights = np.diag(1.0 / prior), []
        for counts in kept:
            omega = np.array([counts[cell] / here[cell] for cell in cells])
            n = 0.8 * psi.T @ (psi * (omega * passing)[:, None]) + 0.2 * omega.sum() * overall
            w = n @ np.linalg.inv(a * np.eye(len(n)) + b * n)
            weights.append(w)
            j = j + damping * w @ n
        return cls(j, weights, 1.0 / b, prior)

    def direction(self, theta: np.ndarray, weighed: np.ndarray) -> np.ndarray:
        """-J^-1 (weighed + theta / prior)."""
        scale = np.sqrt(self.prior)
        scaled = scale[:, None] * self.j * scale
        return -scale * np.linalg.solve(scaled, scale * (weighed + theta / self.prior))


def plain_cut(counts: np.ndarray, most: float) -> np.ndarray:
    """Totals above one level are cut to it, so that all sum to `most`; the level by halving."""
    totals = counts.sum(axis=1)
    if totals.sum() <= most:
        return counts
    low, high = 0.0, float(totals.max())
    for _ in range(200):
        level = (low + high) / 2.0
        low, high = (level, high) if np.minimum(totals, level).sum() < most else (low, level)
    return np.array([row * min(1.0, low / row.sum()) for row in counts])


def plain_damping(kept: np.ndarray, public: np.ndarray, heard: np.ndarray, s: float) -> float:
    """D of docs/spec/valuation.md §5a."""
    total, v, e = kept.sum(), 0.0, 0.0
    for cell in range(len(public)):
        v += abs(kept[:, cell].sum() / total - public[cell] / public.sum()) / 2.0
        e += s * math.sqrt(heard[cell]) / (math.sqrt(2.0 * math.pi) * total)
    return 1.0 + 11.0 * min(1.0, max(0.0, (v - e - 0.2) / 0.08))


def _normal(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

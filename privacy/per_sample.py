# SPDX-License-Identifier: Apache-2.0
"""Per-unit clipping by writing out every row's gradient, for modules without a closed form.

Each row goes through the module as a batch of one: torch.func.vmap runs the module's forward, and
its gradient, on [1, columns] for every row. So rows cannot meet, whatever the module does to a
batch: it never gets one. A forward that vmap cannot follow (a look at the numbers, chance) fails.
`privacy.row_checks` tries all that on made-up rows first, and names the layer. Opacus'
GradSampleModule runs all rows as one batch and trusts the module to keep them apart; vmap need not,
and is faster (`python -m bench.other_modules`).

Rounding. Matrix products round a row by where it lies in memory, among its neighbours. Where that
would be all that is left (a residual far below output and target, rows of a unit that cancel) the
unit is computed alone, from its own rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from privacy.closed_form import whole_units
from privacy.units import Units

CANCELLED = 1e-6
"""A residual below this share of what it is the difference of, or a unit's norm below this share of
the sum of its rows' norms, is not trusted."""
GRADIENT_BYTES = 1 << 22
"""Per-sample gradients held at once: 4 MiB stay near the cache (measured), far below 256 MiB."""

Floats = NDArray[np.float64]


class RowByRow:
    """A module on each row by itself.

    Args:
        module: float64; gives one number for a batch of one row [1, columns]. Its own parameters
            are not read.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._shapes = {name: each.shape for name, each in module.named_parameters()}

    def outputs(self, theta: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """float64[n] of theta float64[d] and rows float64[n, columns].

        Raises:
            RuntimeError: vmap cannot follow the module; or what its forward raises.
        """
        with torch.no_grad():
            outputs: torch.Tensor = vmap(self._output, in_dims=(None, 0))(self._named(theta), rows)
        return outputs

    def gradients(
        self, theta: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `outputs`, and float64[n, d]: each row's output differentiated by all parameters."""
        of_each = vmap(grad_and_value(self._output), in_dims=(None, 0))
        found, outputs = of_each(self._named(theta), rows)
        parts = [found[name].reshape(len(rows), -1) for name in self._shapes]
        return outputs, torch.cat(parts, dim=1)

    def _named(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = theta.split([shape.numel() for shape in self._shapes.values()])
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def _output(self, parameters: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        # Cloned, since the module may work in place.
        output: torch.Tensor = functional_call(self._module, parameters, (row[None].clone(),))
        return output.reshape(())


class PerSample:
    """The clipped sum of a module that `privacy.row_checks.checked` has let through."""

    def __init__(self, module: nn.Module) -> None:
        self._rows = RowByRow(module)

    def clipped_sum(
        self,
        theta: Floats,
        inputs: Floats,
        targets: Floats,
        units: Units,
        *,
        clip_norm: float,
        huber: float | None,
    ) -> Floats:
        """As `privacy.engine.Engine.clipped_sum`, of rows already grouped."""
        vector = torch.from_numpy(np.array(theta, dtype=np.float64))
        total = torch.zeros(len(theta), dtype=torch.float64)
        sizes = np.ones(units.rows, dtype=np.int64) if units.sizes is None else units.sizes
        chunk = max(1, GRADIENT_BYTES // (8 * len(theta)))
        for places, members in whole_units(sizes, chunk):
            chosen = places if units.order is None else units.order[places]
            part = _Part(self._rows, vector, inputs[chosen], targets[chosen], huber)
            ends = np.cumsum(sizes[members])
            alone = np.array([True])
            if len(ends) > 1:
                segment = np.repeat(np.arange(len(ends)), sizes[members])
                alone = part.add_clipped(total, segment, clip_norm)
            for unit in np.flatnonzero(alone):
                sum_of_rows = part.sum_of(ends[unit] - sizes[members][unit], ends[unit], chunk)
                norm = torch.linalg.vector_norm(sum_of_rows)
                if torch.isfinite(norm):
                    total += sum_of_rows * (clip_norm / norm.clamp(min=clip_norm))
        return total.numpy()


@dataclass(frozen=True)
class _Part:
    """Rows of whole units: inputs [n, columns], targets [n]."""

    rows: RowByRow
    theta: torch.Tensor
    inputs: Floats
    targets: Floats
    huber: float | None

    def add_clipped(
        self, total: torch.Tensor, segment: NDArray[np.int64], clip_norm: float
    ) -> NDArray[np.bool_]:
        """Add the clipped sums of the units, int64[n] from 0, to total [d], but for those that must
        be computed alone: these are returned, bool[u]."""
        gradients, doubtful_rows = self._gradients(0, len(self.inputs))
        place = torch.from_numpy(segment)
        units = int(segment[-1]) + 1
        sums = torch.zeros(units, len(total), dtype=torch.float64)
        sums.index_add_(0, place, gradients)
        norms = torch.linalg.vector_norm(sums, dim=1)
        of_rows = torch.zeros(units, dtype=torch.float64)
        of_rows.index_add_(0, place, torch.linalg.vector_norm(gradients, dim=1))
        doubtful = norms <= CANCELLED * of_rows
        doubtful[place[doubtful_rows]] = True
        kept = torch.isfinite(norms) & ~doubtful
        factors = clip_norm / norms[kept].clamp(min=clip_norm)
        total += factors @ sums[kept]
        return np.asarray(doubtful.numpy())

    def sum_of(self, first: int, end: int, chunk: int) -> torch.Tensor:
        """The sum [d] of the gradients of rows first to end, of which nothing else is at hand."""
        found = torch.zeros(len(self.theta), dtype=torch.float64)
        for start in range(first, end, chunk):
            found += self._gradients(start, min(start + chunk, end))[0].sum(dim=0)
        return found

    def _gradients(self, first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the loss of these rows, [n, d]; and which residuals are not to be trusted, bool[n]."""
        rows = torch.tensor(self.inputs[first:end], dtype=torch.float64)
        targets = torch.tensor(self.targets[first:end], dtype=torch.float64)
        outputs, gradients = self.rows.gradients(self.theta, rows)
        residual = outputs - targets
        doubtful = residual.abs() <= CANCELLED * (outputs.abs() + targets.abs())
        slopes = residual if self.huber is None else residual.clamp(-self.huber, self.huber)
        gradients *= slopes[:, None]
        return gradients, doubtful

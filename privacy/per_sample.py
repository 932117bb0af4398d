# SPDX-License-Identifier: Apache-2.0
"""Per-unit clipping by writing out every row's gradient, for modules without a closed form.

Each row goes through the module as a batch of one: torch.func.vmap runs the module's forward, and
its gradient, on [1, columns] for every row. So rows cannot meet, whatever the module does to a
batch: it never gets one. A forward that vmap cannot follow (a look at the numbers, chance) fails.
`privacy.row_checks` tries all that on made-up rows first, and names the layer. Opacus' own hooks
run all rows as one batch and trust the module to keep them apart; vmap is as fast (measured).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from privacy.units import Units

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
        """As `outputs`, and [n, d]: each row's output differentiated by all parameters."""
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
        size = len(theta)
        total = torch.zeros(size, dtype=torch.float64)
        carried = torch.zeros(size, dtype=torch.float64)
        segment = units.segment()
        chunk = max(1, GRADIENT_BYTES // (8 * size))
        for first in range(0, units.rows, chunk):
            places = slice(first, min(first + chunk, units.rows))
            chosen = places if units.order is None else units.order[places]
            rows = torch.tensor(inputs[chosen], dtype=torch.float64)
            outputs, gradients = self._rows.gradients(vector, rows)
            residual = outputs - torch.tensor(targets[chosen])
            gradients *= (residual if huber is None else residual.clamp(-huber, huber))[:, None]
            local = segment[places] - segment[first]
            sums = torch.zeros(int(local[-1]) + 1, size, dtype=torch.float64)
            sums.index_add_(0, torch.from_numpy(local), gradients)
            if first > 0 and segment[first] == segment[first - 1]:
                sums[0] += carried
            if places.stop < units.rows and segment[places.stop] == segment[places.stop - 1]:
                # The unit goes on in the next chunk.
                carried = sums[-1].clone()
                sums = sums[:-1]
            norms = torch.linalg.vector_norm(sums, dim=1)
            kept = torch.isfinite(norms)
            factors = clip_norm / norms[kept].clamp(min=clip_norm)
            total += factors @ sums[kept]
        return total.numpy()

# SPDX-License-Identifier: Apache-2.0
"""A task over generated sales and files to check against it."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dao.records import CategoryFeature, PrivacyUnit
from demo.market import TARGET, generate_market
from fl_client.check.inspection import inspect_records
from fl_client.check.report import DataReport
from valuation.draft import draft_task
from valuation.rows import parse_csv
from valuation.schema import TableSchema
from valuation.standard import standard_features, standard_target

OWNER = PrivacyUnit(kind="column", column="owner", max_rows=2)
EACH_ROW = PrivacyUnit(kind="row", column=None, max_rows=1)


def market(rows: int, seed: int, *, owners: int = 3, missing: float = 0.2) -> pd.DataFrame:
    """Sales as text cells; every `owners` rows in a row belong to one owner."""
    frame = generate_market(rows, seed, missing=missing)
    frame.insert(0, "owner", [f"owner {i // owners}" for i in range(rows)])
    return parse_csv(frame.to_csv(index=False).encode(), name="market")


PUBLIC = market(400, 1)


def make_schema(*, unit: PrivacyUnit = OWNER, other: bool = True) -> TableSchema:
    """Drafted from PUBLIC."""
    draft = draft_task(PUBLIC.drop(columns="owner"), target=TARGET, currency="EUR")
    features = standard_features(draft.features, None)
    listed = tuple(
        each.model_copy(update={"other": other}) if isinstance(each, CategoryFeature) else each
        for each in features
    )
    return TableSchema(standard_target(draft.target, None), listed, unit)


def as_csv(frame: pd.DataFrame) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(frame.columns)
    writer.writerows(frame.to_numpy().tolist())
    return out.getvalue().encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    pq.write_table(
        pa.table({name: pa.array(frame[name].tolist(), pa.string()) for name in frame}), out
    )
    return out.getvalue()


def inspect(
    frame: pd.DataFrame | bytes,
    schema: TableSchema | None = None,
    *,
    public: pd.DataFrame | None = PUBLIC,
    block_rows: int = 7,
) -> DataReport:
    data = frame if isinstance(frame, bytes) else as_csv(frame)
    return inspect_records(
        io.BytesIO(data),
        make_schema() if schema is None else schema,
        name="mine.csv",
        public=public,
        block_rows=block_rows,
    )


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The column's numbers by pandas' own reading."""
    return pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)

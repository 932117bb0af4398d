# SPDX-License-Identifier: Apache-2.0
"""The fields of records as they are published: names, and what a value may look like.

docs/SPEC.md says that unknown fields are refused and names the records; the fields were read off
published records.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.independent.canonical import SAFE
from tests.independent.facts import must

Form = Any  # a predicate, {field: form}, or [form of every item]
Predicate = Callable[[Any], bool]


def _text(pattern: str) -> Predicate:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= SAFE


def _count(value: Any) -> bool:
    return _whole(value) and value >= 0


def _bit(value: Any) -> bool:
    return isinstance(value, bool)


def _nothing(value: Any) -> bool:
    return value is None


def _or_nothing(form: Form) -> Predicate:
    return lambda value: value is None or fits(value, form)


DIGEST, ACCOUNT = _text("[0-9a-f]{64}"), _text("0x[0-9a-f]{40}")
WEI, ROOT = _text("0|[1-9][0-9]*"), _text("0x[0-9a-f]{64}")
BLOB = {"cid": _text("b[a-z2-7]{58}"), "sha256": DIGEST, "size": _count}
WHERE = {"chain_id": _count, "ledger": ACCOUNT, "task_digest": DIGEST, "task_id": _count}
POSITION = {**WHERE, "round": _count}
EVENT = {
    "clip_norm_nano": _count,
    "mechanism": _text("gaussian-full-batch|gaussian-histogram"),
    "noise_multiplier_micro": _count,
    "sampling": _nothing,
    "seeded": _bit,
}
RECEIPT = {
    "body": {
        "base_model_sha256": DIGEST,
        "contributor": ACCOUNT,
        "event": EVENT,
        "kind": _text("covalue.receipt/1"),
        "position": POSITION,
        "update": BLOB,
    },
    "signature": _text("0x[0-9a-f]{192}"),
}
EXCLUSION = {
    "contributor": ACCOUNT,
    "detail": _text(".*"),
    "reason": _text(
        "late|missing|bad-signature|wrong-position|wrong-base|wrong-event|seeded-noise|wrong-shape"
        "|out-of-range|norm|copy|judged"
    ),
    "receipt": _or_nothing(RECEIPT),
}
SIGNED_RECORD = {
    "record": {
        "base_model": BLOB,
        "exclusions": [EXCLUSION],
        "judge_floor_pico": _or_nothing(_whole),
        "judgements": [{"contributor": ACCOUNT, "score_pico": _whole}],
        "kind": _text("covalue.round/1"),
        "model": BLOB,
        "norm_clips": [{"contributor": ACCOUNT, "kept_micro": _count}],
        "position": POSITION,
        "previous_record": DIGEST,
        "receipts": [RECEIPT],
    },
    "signature": _text("0x[0-9a-f]{130}"),
}
CHECKPOINT = {
    **WHERE,
    "first_round": _count,
    "index": _count,
    "kind": _text("covalue.checkpoint/1"),
    "last_round": _count,
    "model": BLOB,
    "record_digests": [DIGEST],
    "records": [BLOB],
}
STRETCH = {
    "seed": {"hash": DIGEST, "number": _count},
    "standard_errors_pico": [_count],
    "dropped": [_count],
    "first_round": _count,
    "last_round": _count,
    "noise_deviations_pico": [_count],
    "noise_means_pico": [_whole],
    "scores_pico": [_whole],
}
RESULT = {
    "contributor": ACCOUNT,
    "epsilon_micro": _count,
    "payout_wei": WEI,
    "rounds_answered": _count,
    "score_pico": _whole,
    "share_wad": WEI,
    "standard_error_pico": _count,
    "threshold_pico": _count,
}
REPORT = {
    **WHERE,
    # the model card is not looked into
    "card": lambda value: isinstance(value, dict),
    "judged_on": _text("sealed-rows|public-rows|nothing"),
    "kind": _text("covalue.scores/2"),
    "model": BLOB,
    "parts": [{"index": _count, "rows": BLOB, "salt": DIGEST}],
    "payout_root": ROOT,
    "payout_total_wei": WEI,
    "results": [RESULT],
    "share_root": ROOT,
    "stretches": [STRETCH],
}


def fits(value: Any, form: Form) -> bool:
    """Whether a value has the fields and the look of a form."""
    if isinstance(form, dict):
        if not isinstance(value, dict) or value.keys() != form.keys():
            return False
        return all(fits(value[name], inner) for name, inner in form.items())
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(each, form[0]) for each in value)
    return bool(form(value))


def of_form(value: Any, form: Form, place: str) -> None:
    """`Differs` unless the value has the form."""
    must(fits(value, form), place, "unknown or missing fields, or a value of another form")

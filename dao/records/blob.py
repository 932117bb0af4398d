# SPDX-License-Identifier: Apache-2.0
"""Content in the store, as records name it."""

from __future__ import annotations

from dao.canonical import Cid, Count, Digest, Record


class BlobRef(Record):
    """Content in the store: CIDv1 (UnixFS, raw leaves), SHA-256 of the whole, bytes."""

    cid: Cid
    sha256: Digest
    size: Count

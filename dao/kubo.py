# SPDX-License-Identifier: Apache-2.0
"""Blobs in an IPFS daemon, over the Kubo RPC (``/api/v0``), through ipfshttpclient.

Blocks are cut here and handed over one by one, so that the CID never depends on the daemon's
version, profile or defaults; each key that it answers is compared with ours. What it gives back
is hashed, since an IPFS daemon may serve damaged blocks that it was once handed.
Import this module only where a daemon is set: it loads an HTTP client.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeVar

import ipfshttpclient
from ipfshttpclient import exceptions
from multiaddr.exceptions import Error as MultiaddrError

from dao.cid import check_block, format_cid, parse_cid
from dao.errors import InputError, MissingBlobError, StoreError
from dao.records import BlobRef
from dao.store import BlockStore

_RAW_CODEC = 0x55
_Answer = TypeVar("_Answer")


class KuboStore(BlockStore):
    """A store in the daemon at `api`, a multiaddress like ``/ip4/127.0.0.1/tcp/5001``.

    `find_seconds` bounds the search for one block in the network; a daemon would look for ever.
    `pin_seconds` bounds the fetching of all that `pin` lacks. No connection is made before the
    first use. StoreError if the daemon cannot be reached or answers another CID.
    """

    def __init__(self, api: str, *, find_seconds: int = 20, pin_seconds: int = 600) -> None:
        self._api = api
        self._find_seconds = find_seconds
        self._pin_seconds = pin_seconds
        try:
            # not `connect`: that asks for a version, and objects to daemons newer than itself
            self._client = ipfshttpclient.Client(api)
        except (exceptions.AddressError, MultiaddrError, ValueError) as error:
            raise InputError(
                f"not the address of an IPFS daemon: {api!r}",
                hint="expected a multiaddress, such as /ip4/127.0.0.1/tcp/5001",
            ) from error

    @property
    def name(self) -> str:
        return f"IPFS daemon {self._api}"

    def put(self, data: bytes) -> BlobRef:
        """See `Store.put`. The root is pinned, so that the daemon's collector spares it."""
        reference = super().put(data)
        self.pin(reference.cid)
        return reference

    def pin(self, cid: str) -> None:
        """See `Store.pin`: the daemon fetches what it lacks, then keeps all of it."""
        parse_cid(cid)
        # the options stand in a fresh dict: the client writes into it
        self._ask(
            cid,
            lambda: self._client.pin.add(
                cid, opts={"timeout": f"{self._pin_seconds}s"}, timeout=self._pin_seconds + 5
            ),
            refusal=MissingBlobError,
        )

    def get_block(self, cid: bytes) -> bytes:
        text = format_cid(cid)
        block = self._ask(
            text,
            lambda: bytes(
                self._client.block.get(
                    text,
                    opts={"timeout": f"{self._find_seconds}s"},
                    timeout=self._find_seconds + 5,
                )
            ),
            refusal=MissingBlobError,
        )
        check_block(cid, block)
        return block

    def put_block(self, cid: bytes, block: bytes) -> None:
        check_block(cid, block)
        codec = "raw" if cid[1] == _RAW_CODEC else "dag-pb"
        options = {"format": codec, "mhtype": "sha2-256", "version": "1", "cid-base": "base32"}
        answer = self._ask(
            format_cid(cid),
            lambda: self._client.block.put(io.BytesIO(block), opts=options),
            refusal=StoreError,
        )
        if answer["Key"] != format_cid(cid):
            raise StoreError(
                f"{self.name} stored a block as {answer['Key']}, computed here {format_cid(cid)}",
                hint="it is not a daemon that keeps CIDs; check [store] ipfs_api",
            )

    def _ask(
        self, cid: str, request: Callable[[], _Answer], *, refusal: type[StoreError]
    ) -> _Answer:
        try:
            return request()
        except (exceptions.ErrorResponse, exceptions.StatusError, exceptions.TimeoutError) as error:
            raise refusal(f"{self.name} refuses {cid}: {error}") from error
        except exceptions.Error as error:
            raise StoreError(
                f"{self.name} cannot be reached: {error}",
                hint="start the daemon, or take ipfs_api out of covalue.toml",
            ) from error

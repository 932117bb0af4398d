# SPDX-License-Identifier: Apache-2.0
"""The store that the settings describe: local blocks, peers to read through to, Kubo beside."""

from __future__ import annotations

from dao.errors import MissingBlobError
from dao.peer import PeerStore
from dao.records import BlobRef
from dao.settings import StoreSettings
from dao.store import BlockStore, LocalStore, ReadThrough, Store


class MirroredStore:
    """A local store whose content also goes to a second one; reads try the local one first."""

    def __init__(self, local: BlockStore, mirror: Store) -> None:
        self._local = local
        self._mirror = mirror

    def put(self, data: bytes) -> BlobRef:
        ref = self._local.put(data)
        self._mirror.put(data)
        return ref

    def get(self, cid: str) -> bytes:
        try:
            return self._local.get(cid)
        except MissingBlobError:
            data = self._mirror.get(cid)
            self._local.put(data)
            return data

    def pin(self, cid: str) -> None:
        self._local.pin(cid)
        self._mirror.pin(cid)


def open_store(settings: StoreSettings) -> Store:
    """The store of these settings; no connection is made before the first use of a peer."""
    local: BlockStore = LocalStore(settings.path)
    if settings.peers:
        local = ReadThrough(local, [PeerStore(url) for url in settings.peers])
    if settings.ipfs_api is None:
        return local
    from dao.kubo import KuboStore

    return MirroredStore(local, KuboStore(settings.ipfs_api))

# SPDX-License-Identifier: Apache-2.0
"""One typed class per contract. Reads take `block` (None is the latest); writes return the
unsent `dao.chain.Call`. Addresses and digests are lower-case hex as in `dao.records`."""

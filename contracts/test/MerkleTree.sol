// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Small Merkle trees for fuzz tests: sorted pairs, as MerkleProof checks them
/// @dev An odd node moves up unhashed. Any such tree proves; only the roots differ from the library's.
library MerkleTree {
    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        bytes32[] memory level = leaves;
        while (level.length > 1) {
            level = _parents(level);
        }
        return level[0];
    }

    function proof(bytes32[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32[] memory path)
    {
        bytes32[] memory level = leaves;
        while (level.length > 1) {
            uint256 sibling = index ^ 1;
            if (sibling < level.length) path = _append(path, level[sibling]);
            level = _parents(level);
            index /= 2;
        }
    }

    function _parents(bytes32[] memory level) private pure returns (bytes32[] memory parents) {
        parents = new bytes32[]((level.length + 1) / 2);
        for (uint256 i = 0; i < parents.length; ++i) {
            bytes32 left = level[2 * i];
            if (2 * i + 1 == level.length) {
                parents[i] = left;
                continue;
            }
            bytes32 right = level[2 * i + 1];
            parents[i] = left < right
                ? keccak256(abi.encode(left, right))
                : keccak256(abi.encode(right, left));
        }
    }

    function _append(bytes32[] memory list, bytes32 item)
        private
        pure
        returns (bytes32[] memory longer)
    {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = item;
    }
}

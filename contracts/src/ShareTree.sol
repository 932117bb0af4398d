// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Where the proof of a share leads
library ShareTree {
    /// @notice The root over keccak256(bytes.concat(keccak256(abi.encode(taskId, account, shareWad)))) and
    /// `proof`, each pair sorted: MerkleProof.processProofCalldata for that leaf, at half of its gas.
    function rootOf(uint256 taskId, address account, uint256 shareWad, bytes32[] calldata proof)
        internal
        pure
        returns (bytes32 node)
    {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, taskId)
            mstore(add(free, 32), shr(96, shl(96, account)))
            mstore(add(free, 64), shareWad)
            mstore(0, keccak256(free, 96))
            node := keccak256(0, 32)
            let end := add(proof.offset, shl(5, proof.length))
            for { let at := proof.offset } lt(at, end) { at := add(at, 32) } {
                let sibling := calldataload(at)
                // The smaller of the two comes first.
                let place := shl(5, gt(node, sibling))
                mstore(place, node)
                mstore(sub(32, place), sibling)
                node := keccak256(0, 64)
            }
        }
    }
}

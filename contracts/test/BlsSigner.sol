// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "../src/BLS12381.sol";

/// @title BLS keys and signatures made in the EVM, so that tests can sign any message
/// @dev Multiplies by the precompiles; BLS12381.t.sol holds the results equal to py_ecc's.
library BlsSigner {
    address private constant G1_MSM = address(0x0c);
    address private constant G2_ADD = address(0x0d);
    address private constant G2_MSM = address(0x0e);

    function publicKey(uint256 secret) internal view returns (bytes memory) {
        return _answer(G1_MSM, bytes.concat(BLS12381.encode(BLS12381.generator()), bytes32(secret)));
    }

    function sign(uint256 secret, bytes32 message) internal view returns (bytes memory) {
        return _sign(secret, message, BLS12381.SIGNATURE_DST);
    }

    function prove(uint256 secret, bytes32 message) internal view returns (bytes memory) {
        return _sign(secret, message, BLS12381.POSSESSION_DST);
    }

    function aggregate(bytes memory a, bytes memory b) internal view returns (bytes memory) {
        return _answer(G2_ADD, bytes.concat(a, b));
    }

    function _sign(uint256 secret, bytes32 message, bytes memory dst)
        private
        view
        returns (bytes memory)
    {
        return _answer(G2_MSM, bytes.concat(BLS12381.hashToG2(message, dst), bytes32(secret)));
    }

    function _answer(address precompile, bytes memory input) private view returns (bytes memory) {
        (bool ok, bytes memory output) = precompile.staticcall(input);
        require(ok && output.length != 0, "precompile refused");
        return output;
    }
}

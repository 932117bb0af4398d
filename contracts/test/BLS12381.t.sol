// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "../src/BLS12381.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {ForgeTest} from "./ForgeTest.sol";

/// @dev Makes the library's internal functions callable, so that their reverts can be expected.
contract BlsCaller {
    function decodeKey(bytes calldata key) external pure returns (BLS12381.G1 memory) {
        return BLS12381.decodeKey(key);
    }

    function verify(bytes calldata key, bytes32 message, bytes calldata signature)
        external
        view
        returns (bool)
    {
        return BLS12381.verify(BLS12381.decodeKey(key), message, BLS12381.SIGNATURE_DST, signature);
    }

    function verifySum(BLS12381.G1 calldata key, bytes32 message, bytes calldata signature)
        external
        view
        returns (bool)
    {
        return BLS12381.verify(key, message, BLS12381.SIGNATURE_DST, signature);
    }

    function subtract(BLS12381.G1 calldata point, bytes calldata points)
        external
        view
        returns (bytes memory)
    {
        return BLS12381.encode(BLS12381.subtract(point, points));
    }

    function requirePrecompiles() external view {
        BLS12381.requirePrecompiles();
    }
}

contract BLS12381Test is ForgeTest {
    uint256 private constant ORDER =
        0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    BlsCaller private bls;
    string private vectors;

    function setUp() external {
        bls = new BlsCaller();
        vectors = vm.readFile("contracts/test/vectors.json");
    }

    function test_expandMessage_equalsPyEcc() external view {
        bytes32[] memory messages = vm.parseJsonBytes32Array(vectors, ".messages");
        bytes[] memory expanded = vm.parseJsonBytesArray(vectors, ".expanded");
        for (uint256 i = 0; i < messages.length; ++i) {
            bytes32[8] memory uniform = BLS12381.expandMessage(messages[i], BLS12381.SIGNATURE_DST);
            vm.assertEq(abi.encodePacked(uniform), expanded[i]);
        }
    }

    function test_hashToG2_equalsPyEcc() external view {
        bytes32[] memory messages = vm.parseJsonBytes32Array(vectors, ".messages");
        bytes[] memory hashes = vm.parseJsonBytesArray(vectors, ".hashes");
        for (uint256 i = 0; i < messages.length; ++i) {
            vm.assertEq(BLS12381.hashToG2(messages[i], BLS12381.SIGNATURE_DST), hashes[i]);
        }
    }

    function test_signer_equalsPyEcc() external view {
        uint256[] memory secrets = vm.parseJsonUintArray(vectors, ".secrets");
        bytes32[] memory messages = vm.parseJsonBytes32Array(vectors, ".messages");
        bytes[] memory keys = vm.parseJsonBytesArray(vectors, ".publicKeys");
        bytes[] memory signatures = vm.parseJsonBytesArray(vectors, ".signatures");
        bytes[] memory possessions = vm.parseJsonBytesArray(vectors, ".possessions");
        for (uint256 i = 0; i < secrets.length; ++i) {
            vm.assertEq(BlsSigner.publicKey(secrets[i]), keys[i]);
            vm.assertEq(BlsSigner.sign(secrets[i], messages[i]), signatures[i]);
            vm.assertEq(BlsSigner.prove(secrets[i], messages[i]), possessions[i]);
        }
    }

    function test_verify_acceptsPyEccAndNothingElse() external view {
        bytes32[] memory messages = vm.parseJsonBytes32Array(vectors, ".messages");
        bytes[] memory keys = vm.parseJsonBytesArray(vectors, ".publicKeys");
        bytes[] memory signatures = vm.parseJsonBytesArray(vectors, ".signatures");
        bytes[] memory possessions = vm.parseJsonBytesArray(vectors, ".possessions");
        for (uint256 i = 0; i < keys.length; ++i) {
            for (uint256 j = 0; j < keys.length; ++j) {
                vm.assertEq(bls.verify(keys[i], messages[j], signatures[j]) ? 1 : 0, i == j ? 1 : 0);
            }
            vm.assertFalse(bls.verify(keys[i], messages[i], possessions[i]));
        }
    }

    function test_verify_acceptsAggregateOfPyEcc() external view {
        bytes32 message = vm.parseJsonBytes32Array(vectors, ".messages")[0];
        bytes[] memory keys = vm.parseJsonBytesArray(vectors, ".publicKeys");
        bytes memory signature = vm.parseJsonBytes(vectors, ".jointSignature");
        BLS12381.G1 memory sum = BLS12381.add(bls.decodeKey(keys[0]), bls.decodeKey(keys[3]));
        vm.assertTrue(bls.verifySum(sum, message, signature));
        vm.assertFalse(bls.verifySum(bls.decodeKey(keys[0]), message, signature));
        vm.assertEq(
            BLS12381.encode(BLS12381.add(sum, BLS12381.negate(bls.decodeKey(keys[3])))), keys[0]
        );
    }

    function test_verify_refusesPointsOutsideOfTheSubgroup() external view {
        bytes32 message = vm.parseJsonBytes32Array(vectors, ".messages")[0];
        bytes memory key = vm.parseJsonBytesArray(vectors, ".publicKeys")[0];
        bytes memory signature = vm.parseJsonBytesArray(vectors, ".signatures")[0];
        vm.assertTrue(bls.verify(key, message, signature));
        bytes memory wrongKey = vm.parseJsonBytes(vectors, ".g1OutsideSubgroup");
        vm.assertFalse(bls.verify{gas: 1e6}(wrongKey, message, signature));
        bytes memory wrongSignature = vm.parseJsonBytes(vectors, ".g2OutsideSubgroup");
        vm.assertFalse(bls.verify{gas: 1e6}(key, message, wrongSignature));
    }

    function test_verify_refusesInfinityAndWrongLengths() external view {
        bytes memory key = BlsSigner.publicKey(7);
        bytes memory signature = BlsSigner.sign(7, "m");
        BLS12381.G1 memory infinity;
        vm.assertFalse(bls.verifySum(infinity, "m", new bytes(256)));
        vm.assertFalse(bls.verify(key, "m", new bytes(256)));
        vm.assertFalse(bls.verify(key, "m", bytes.concat(signature, hex"00")));
        vm.assertFalse(bls.verify(key, "m", ""));
    }

    /// @dev x + p encodes the same residue and has to be refused, or a key would have two hashes.
    function test_verify_refusesCoordinatesAboveTheModulus() external view {
        bytes memory key = BlsSigner.publicKey(7);
        bytes memory signature = BlsSigner.sign(7, "m");
        bytes memory wrong = bytes.concat(key);
        unchecked {
            uint256 pLo = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;
            uint256 pHi = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
            uint256 xHi;
            uint256 xLo;
            assembly {
                xHi := mload(add(wrong, 32))
                xLo := mload(add(wrong, 64))
            }
            uint256 lo = xLo + pLo;
            uint256 hi = xHi + pHi + (lo < pLo ? 1 : 0);
            assembly {
                mstore(add(wrong, 32), hi)
                mstore(add(wrong, 64), lo)
            }
        }
        vm.assertTrue(bls.verify(key, "m", signature));
        vm.assertFalse(bls.verify{gas: 1e6}(wrong, "m", signature));
    }

    function test_decodeKey_refusesInfinityLengthAndHighBits() external {
        vm.expectRevert(BLS12381.PointIsInfinity.selector);
        bls.decodeKey(new bytes(128));
        vm.expectRevert(abi.encodeWithSelector(BLS12381.InvalidPointLength.selector, 48, 128));
        bls.decodeKey(new bytes(48));
        bytes memory key = BlsSigner.publicKey(7);
        key[0] = 0x01;
        vm.expectRevert(BLS12381.InvalidPoint.selector);
        bls.decodeKey(key);
    }

    function testFuzz_verify_isTrueForTheOwnKeyOnly(uint256 secret, uint256 other, bytes32 message)
        external
        view
    {
        secret = _bound(secret, 1, ORDER - 1);
        other = _bound(other, 1, ORDER - 1);
        bytes memory signature = BlsSigner.sign(secret, message);
        vm.assertTrue(bls.verify(BlsSigner.publicKey(secret), message, signature));
        if (other == secret) return;
        vm.assertFalse(bls.verify(BlsSigner.publicKey(other), message, signature));
    }

    function testFuzz_negate_undoesAdd(uint256 a, uint256 b) external view {
        bytes memory keyA = BlsSigner.publicKey(_bound(a, 1, ORDER - 1));
        BLS12381.G1 memory pointA = bls.decodeKey(keyA);
        BLS12381.G1 memory pointB = bls.decodeKey(BlsSigner.publicKey(_bound(b, 1, ORDER - 1)));
        BLS12381.G1 memory sum = BLS12381.add(BLS12381.add(pointA, pointB), BLS12381.negate(pointB));
        vm.assertEq(BLS12381.encode(sum), keyA);
        vm.assertTrue(BLS12381.isInfinity(BLS12381.add(pointA, BLS12381.negate(pointA))));
    }

    /// @dev The precompile for scalar products says what is left.
    function testFuzz_subtract_undoesAdd(uint256 a, uint256 b, uint256 c) external view {
        (a, b, c) = (_bound(a, 1, ORDER - 1), _bound(b, 1, ORDER - 1), _bound(c, 1, ORDER - 1));
        bytes memory points = bytes.concat(BlsSigner.publicKey(b), BlsSigner.publicKey(c));
        BLS12381.G1 memory point = bls.decodeKey(BlsSigner.publicKey(a));
        uint256 left = addmod(a, ORDER - addmod(b, c, ORDER), ORDER);
        vm.assertEq(bls.subtract(point, points), BlsSigner.publicKey(left));
        vm.assertEq(bls.subtract(point, ""), BlsSigner.publicKey(a));
        vm.assertEq(bls.subtract(point, BlsSigner.publicKey(a)), new bytes(128));
    }

    function test_subtract_refusesWhatIsNoPoint() external {
        BLS12381.G1 memory point = BLS12381.generator();
        bytes memory other = BLS12381.encode(point);
        other[127] ^= 0x01;
        vm.expectRevert(BLS12381.InvalidPoint.selector);
        bls.subtract(point, other);
        vm.mockCall(address(0x0b), "", "");
        vm.expectRevert(BLS12381.InvalidPoint.selector);
        bls.subtract(point, BLS12381.encode(point));
    }

    function test_negatedGenerator() external pure {
        BLS12381.G1 memory g = BLS12381.generator();
        vm.assertEq(BLS12381.NEGATED_GENERATOR, BLS12381.encode(BLS12381.negate(g)));
    }

    function test_requirePrecompiles_refusesAChainWithoutThem() external {
        bls.requirePrecompiles();
        vm.mockCall(address(0x0f), "", "");
        vm.expectRevert(abi.encodeWithSelector(BLS12381.PrecompilesMissing.selector, block.chainid));
        bls.requirePrecompiles();
        vm.clearMockedCalls();
        vm.mockCall(address(0x11), "", "");
        vm.expectRevert(abi.encodeWithSelector(BLS12381.PrecompilesMissing.selector, block.chainid));
        bls.requirePrecompiles();
    }
}

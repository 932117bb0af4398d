// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title BLS12-381 signatures with keys in G1, through the precompiles of EIP-2537
/// @notice Hashes to G2 as RFC 9380 says (expand_message_xmd, SHA-256, SSWU, random oracle), with the
/// tags of the proof-of-possession ciphersuite of draft-irtf-cfrg-bls-signature. The pairing precompile
/// refuses points off the curve, outside of the subgroup and with coordinates not below the modulus;
/// infinity is refused here.
library BLS12381 {
    /// @dev A G1 point: each coordinate is hi * 2^256 + lo. The order lets both hi share a slot.
    struct G1 {
        uint128 xHi;
        uint128 yHi;
        uint256 xLo;
        uint256 yLo;
    }

    error InvalidPointLength(uint256 given, uint256 expected);
    error PointIsInfinity();
    /// @notice The coordinates are no point of the curve, or not in canonical form.
    error InvalidPoint();
    /// @notice The chain has no BLS12-381 precompiles (EIP-2537, Prague): Covalue cannot run on it.
    error PrecompilesMissing(uint256 chainId);

    uint256 internal constant G1_BYTES = 128;
    uint256 internal constant G2_BYTES = 256;

    bytes internal constant SIGNATURE_DST = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
    bytes internal constant POSSESSION_DST = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

    bytes32 private constant G2_INFINITY_HASH = keccak256(new bytes(G2_BYTES));

    address private constant MODEXP = address(0x05);
    address private constant G1_ADD = address(0x0b);
    address private constant G2_ADD = address(0x0d);
    address private constant PAIRING_CHECK = address(0x0f);
    address private constant MAP_FP2_TO_G2 = address(0x11);

    uint128 private constant P_HI = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LO =
        0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    uint128 private constant GENERATOR_X_HI = 0x17f1d3a73197d7942695638c4fa9ac0f;
    uint256 private constant GENERATOR_X_LO =
        0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb;
    uint128 private constant GENERATOR_Y_HI = 0x08b3f481e3aaa0f1a09e30ed741d8ae4;
    uint256 private constant GENERATOR_Y_LO =
        0xfcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1;
    /// @dev The generator with p - y in place of y, encoded.
    bytes internal constant NEGATED_GENERATOR = hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0f"
        hex"c3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
        hex"00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f2"
        hex"67816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca";

    /// @notice Reverts with PrecompilesMissing unless the precompiles answer rightly.
    function requirePrecompiles() internal view {
        bytes memory point = hashToG2(0, SIGNATURE_DST);
        // e(G, Q) * e(-G, Q) is one for any Q; a chain without the precompile answers with nothing.
        G1 memory g = generator();
        (bool paired, bytes memory one) =
            PAIRING_CHECK.staticcall(bytes.concat(encode(g), point, encode(negate(g)), point));
        if (!paired || one.length != 32 || abi.decode(one, (uint256)) != 1) {
            revert PrecompilesMissing(block.chainid);
        }
    }

    /// @notice Reads 128 bytes of EIP-2537. Refuses infinity and sets bits above the coordinates; that the
    /// point is on the curve and in the subgroup is for `verify` to say.
    function decodeKey(bytes calldata key) internal pure returns (G1 memory point) {
        if (key.length != G1_BYTES) revert InvalidPointLength(key.length, G1_BYTES);
        (uint256 xHi, uint256 xLo, uint256 yHi, uint256 yLo) =
            abi.decode(key, (uint256, uint256, uint256, uint256));
        if ((xHi | yHi) >> 128 != 0) revert InvalidPoint();
        point = G1(uint128(xHi), uint128(yHi), xLo, yLo);
        if (isInfinity(point)) revert PointIsInfinity();
    }

    /// @notice The 128 bytes of EIP-2537.
    function encode(G1 memory point) internal pure returns (bytes memory) {
        return abi.encode(point.xHi, point.xLo, point.yHi, point.yLo);
    }

    function isInfinity(G1 memory point) internal pure returns (bool) {
        return point.xHi == 0 && point.xLo == 0 && point.yHi == 0 && point.yLo == 0;
    }

    function generator() internal pure returns (G1 memory) {
        return G1(GENERATOR_X_HI, GENERATOR_Y_HI, GENERATOR_X_LO, GENERATOR_Y_LO);
    }

    /// @notice The point with y replaced by p - y; infinity stays itself.
    function negate(G1 memory point) internal pure returns (G1 memory) {
        if (isInfinity(point)) return point;
        unchecked {
            // y is below p; a subgroup point of prime order has y != 0. The borrow of the low word is
            // carried by hand.
            uint128 borrow = point.yLo > P_LO ? 1 : 0;
            return G1(point.xHi, P_HI - point.yHi - borrow, point.xLo, P_LO - point.yLo);
        }
    }

    /// @notice a + b. Does not check the subgroup.
    function add(G1 memory a, G1 memory b) internal view returns (G1 memory) {
        (bool ok, bytes memory sum) = G1_ADD.staticcall(bytes.concat(encode(a), encode(b)));
        if (!ok || sum.length != G1_BYTES) revert InvalidPoint();
        return _decode(sum);
    }

    /// @notice a - (the sum of `points`, 128 bytes each). Does not check the subgroup.
    function subtract(G1 memory a, bytes calldata points) internal view returns (G1 memory) {
        // Two points: the sum so far, which begins at infinity, and the next one. The precompile puts the
        // new sum in the place of the old one.
        bytes memory pair = new bytes(2 * G1_BYTES);
        for (uint256 i = 0; i < points.length; i += G1_BYTES) {
            bytes calldata next = points[i:i + G1_BYTES];
            bool ok;
            assembly ("memory-safe") {
                let sum := add(pair, 32)
                calldatacopy(add(sum, 128), next.offset, 128)
                ok := staticcall(gas(), 0x0b, sum, 256, sum, 128) // G1_ADD
                ok := and(ok, eq(returndatasize(), 128))
            }
            if (!ok) revert InvalidPoint();
        }
        return add(a, negate(_decode(pair)));
    }

    /// @notice Whether `signature` (G2, 256 bytes) over `message` verifies under `key`:
    /// e(key, H(message)) = e(generator, signature). False for any malformed point, for infinity as key
    /// or signature, and for points outside of the subgroup.
    function verify(G1 memory key, bytes32 message, bytes memory dst, bytes calldata signature)
        internal
        view
        returns (bool)
    {
        if (
            signature.length != G2_BYTES || isInfinity(key)
                || keccak256(signature) == G2_INFINITY_HASH
        ) return false;
        bytes memory input =
            bytes.concat(encode(key), hashToG2(message, dst), NEGATED_GENERATOR, signature);
        (bool ok, bytes memory result) = PAIRING_CHECK.staticcall(input);
        return ok && result.length == 32 && abi.decode(result, (uint256)) == 1;
    }

    /// @notice RFC 9380, hash_to_curve for BLS12381G2_XMD:SHA-256_SSWU_RO_.
    function hashToG2(bytes32 message, bytes memory dst) internal view returns (bytes memory) {
        bytes32[8] memory uniform = expandMessage(message, dst);
        bytes memory q0 = _mapToG2(
            bytes.concat(_reduce(uniform[0], uniform[1]), _reduce(uniform[2], uniform[3]))
        );
        bytes memory q1 = _mapToG2(
            bytes.concat(_reduce(uniform[4], uniform[5]), _reduce(uniform[6], uniform[7]))
        );
        // The map clears the cofactor of each point, which for a sum is the same as of the sum.
        (bool ok, bytes memory sum) = G2_ADD.staticcall(bytes.concat(q0, q1));
        if (!ok || sum.length != G2_BYTES) revert PrecompilesMissing(block.chainid);
        return sum;
    }

    /// @notice RFC 9380, expand_message_xmd with SHA-256, 256 bytes for a message of 32.
    function expandMessage(bytes32 message, bytes memory dst)
        internal
        pure
        returns (bytes32[8] memory uniform)
    {
        bytes memory dstPrime = bytes.concat(dst, bytes1(uint8(dst.length)));
        // 64 zero bytes (one SHA-256 block), the message, the output length 256, a zero byte
        bytes32 b0 =
            sha256(bytes.concat(new bytes(64), message, bytes2(uint16(256)), bytes1(0), dstPrime));
        bytes memory next = bytes.concat(bytes32(0), bytes1(0), dstPrime);
        bytes32 previous;
        for (uint256 i = 0; i < 8; ++i) {
            // In place: the first 32 bytes are b0 xor the block before, the byte after them counts from 1.
            assembly ("memory-safe") {
                mstore(add(next, 32), xor(b0, previous))
                mstore8(add(next, 64), add(i, 1))
            }
            previous = sha256(next);
            uniform[i] = previous;
        }
    }

    /// @dev 512 uniform bits modulo p, as the 64 bytes of a field element. The precompile's answer is as
    /// long as the modulus, which is padded therefore.
    function _reduce(bytes32 hi, bytes32 lo) private view returns (bytes memory) {
        (bool ok, bytes memory remainder) = MODEXP.staticcall(
            abi.encodePacked(
                uint256(64), uint256(1), uint256(64), hi, lo, uint8(1), uint256(P_HI), P_LO
            )
        );
        if (!ok || remainder.length != 64) revert PrecompilesMissing(block.chainid);
        return remainder;
    }

    /// @dev The first 128 bytes of what the precompile gives, which is canonical: the upper 16 bytes of
    /// each coordinate are zero.
    function _decode(bytes memory point) private pure returns (G1 memory) {
        (uint256 xHi, uint256 xLo, uint256 yHi, uint256 yLo) =
            abi.decode(point, (uint256, uint256, uint256, uint256));
        return G1(uint128(xHi), uint128(yHi), xLo, yLo);
    }

    function _mapToG2(bytes memory element) private view returns (bytes memory) {
        (bool ok, bytes memory point) = MAP_FP2_TO_G2.staticcall(element);
        if (!ok || point.length != G2_BYTES) revert PrecompilesMissing(block.chainid);
        return point;
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CovalueToken} from "../src/CovalueToken.sol";
import {DeployerLink} from "../src/DeployerLink.sol";
import {ICovalueToken} from "../src/interfaces/ICovalueToken.sol";
import {DevStablecoin} from "./DevStablecoin.sol";
import {ForgeTest} from "./ForgeTest.sol";

contract CovalueTokenTest is ForgeTest {
    uint256 private constant CAP = 1000 ether;
    address private constant MINTER = address(0x1);

    CovalueToken private token;

    function setUp() external {
        vm.warp(1_800_000_000);
        address[] memory founders = new address[](2);
        uint256[] memory amounts = new uint256[](2);
        (founders[0], founders[1]) = (address(0xA), address(0xB));
        (amounts[0], amounts[1]) = (3 ether, 4 ether);
        token = new CovalueToken(founders, amounts, CAP, address(this));
        token.setMinter(MINTER);
    }

    function test_genesis() external view {
        vm.assertEq(token.totalSupply(), 7 ether);
        vm.assertEq(token.balanceOf(address(0xB)), 4 ether);
        vm.assertEq(token.mintedThisYear(), 0);
        vm.assertEq(token.name(), "Covalue");
        vm.assertEq(token.symbol(), "COVAL");
        vm.assertEq(token.CLOCK_MODE(), "mode=timestamp");
        vm.assertEq(token.clock(), block.timestamp);
    }

    function test_genesis_needsAnAmountForEachFounder() external {
        vm.expectRevert(abi.encodeWithSelector(ICovalueToken.FoundersMismatch.selector, 2, 1));
        new CovalueToken(new address[](2), new uint256[](1), CAP, address(this));
    }

    function test_setMinter_onceByTheDeployer() external {
        vm.assertEq(token.minter(), MINTER);
        vm.assertEq(token.deployer(), address(0));
        vm.expectRevert(
            abi.encodeWithSelector(DeployerLink.NotDeployer.selector, address(this), address(0))
        );
        token.setMinter(address(this));
        CovalueToken other =
            new CovalueToken(new address[](0), new uint256[](0), CAP, address(this));
        vm.expectRevert(DeployerLink.ZeroLink.selector);
        other.setMinter(address(0));
        vm.prank(MINTER);
        vm.expectRevert(
            abi.encodeWithSelector(DeployerLink.NotDeployer.selector, MINTER, address(this))
        );
        other.setMinter(MINTER);
        vm.expectRevert(DeployerLink.ZeroLink.selector);
        new CovalueToken(new address[](0), new uint256[](0), CAP, address(0));
    }

    function test_mint_onlyTheMinter() external {
        vm.expectRevert(
            abi.encodeWithSelector(ICovalueToken.NotMinter.selector, address(this), MINTER)
        );
        token.mint(address(this), 1);
    }

    function test_mint_capOfEachYear() external {
        vm.startPrank(MINTER);
        token.mint(address(0xC), CAP);
        vm.expectRevert(
            abi.encodeWithSelector(ICovalueToken.YearlyCapExceeded.selector, 1, CAP, CAP)
        );
        token.mint(address(0xC), 1);
        vm.warp(block.timestamp + 365 days - 1);
        vm.expectRevert(
            abi.encodeWithSelector(ICovalueToken.YearlyCapExceeded.selector, 1, CAP, CAP)
        );
        token.mint(address(0xC), 1);
        vm.warp(block.timestamp + 1);
        vm.assertEq(token.currentYear(), 1);
        token.mint(address(0xC), 1);
        vm.assertEq(token.mintedThisYear(), 1);
    }

    /// @dev Burning does not make room for more minting.
    function testFuzz_mint_neverPassesTheCap(uint256[8] calldata amounts, uint256 burned) external {
        uint256 minted = 0;
        for (uint256 i = 0; i < amounts.length; ++i) {
            uint256 amount = _bound(amounts[i], 0, CAP);
            vm.prank(MINTER);
            try token.mint(address(this), amount) {
                minted += amount;
            } catch {
                vm.assertTrue(minted + amount > CAP);
            }
            token.burn(_bound(burned, 0, token.balanceOf(address(this))));
        }
        vm.assertLe(minted, CAP, "minted in one year");
        vm.assertEq(token.mintedThisYear(), minted);
    }

    function test_burn() external {
        vm.prank(address(0xA));
        token.burn(1 ether);
        vm.assertEq(token.totalSupply(), 6 ether);
    }

    function test_votes_countFromDelegation() external {
        vm.assertEq(token.getVotes(address(0xA)), 0);
        vm.prank(address(0xA));
        token.delegate(address(0xA));
        vm.assertEq(token.getVotes(address(0xA)), 3 ether);
        vm.warp(block.timestamp + 1);
        vm.assertEq(token.getPastVotes(address(0xA), block.timestamp - 1), 3 ether);
    }

    function test_permit() external {
        address owner = vm.addr(5);
        bytes32 permit = keccak256(
            abi.encode(
                keccak256(
                    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
                ),
                owner,
                address(this),
                uint256(9),
                token.nonces(owner),
                block.timestamp
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(5, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), permit)));
        token.permit(owner, address(this), 9, block.timestamp, v, r, s);
        vm.assertEq(token.allowance(owner, address(this)), 9);
    }
}

contract DevStablecoinTest is ForgeTest {
    function test_transferWithAuthorization_movesOnce() external {
        vm.warp(1_800_000_000);
        DevStablecoin dollar = new DevStablecoin();
        address payer = vm.addr(6);
        dollar.mint(payer, 5e6);
        vm.assertEq(dollar.decimals(), 6);
        bytes32 nonce = keccak256("any nonce");
        bytes32 authorization = keccak256(
            abi.encode(
                keccak256(
                    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
                ),
                payer,
                address(this),
                uint256(2e6),
                uint256(0),
                block.timestamp + 60,
                nonce
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(
            6, keccak256(abi.encodePacked(hex"1901", dollar.DOMAIN_SEPARATOR(), authorization))
        );
        uint256 until = block.timestamp + 60;
        dollar.transferWithAuthorization(payer, address(this), 2e6, 0, until, nonce, v, r, s);
        vm.assertEq(dollar.balanceOf(address(this)), 2e6);
        vm.assertTrue(dollar.authorizationState(payer, nonce));
        vm.expectRevert();
        dollar.transferWithAuthorization(payer, address(this), 2e6, 0, until, nonce, v, r, s);
    }

    function test_constructor_refusesAnyOtherChain() external {
        vm.chainId(1);
        vm.expectRevert(abi.encodeWithSelector(DevStablecoin.NotADevnet.selector, 1));
        new DevStablecoin();
    }
}

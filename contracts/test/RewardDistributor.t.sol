// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CovalueToken} from "../src/CovalueToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {IRewardDistributor} from "../src/interfaces/IRewardDistributor.sol";
import {ForgeTest} from "./ForgeTest.sol";
import {MerkleTree} from "./MerkleTree.sol";

/// @dev The test stands where the TaskLedger stands.
contract RewardDistributorTest is ForgeTest {
    uint256 private constant SUPPLY = 1_000_000 ether;

    CovalueToken private token;
    RewardDistributor private distributor;
    /// @dev The test's own count, beside the contract's.
    mapping(address account => uint256 amount) private claimed;

    function setUp() external {
        address[] memory founders = new address[](1);
        uint256[] memory amounts = new uint256[](1);
        (founders[0], amounts[0]) = (address(this), SUPPLY);
        token = new CovalueToken(founders, amounts, 0, address(this));
        distributor = new RewardDistributor(token, address(this));
        distributor.setTaskLedger(address(this));
        token.approve(address(distributor), SUPPLY);
    }

    function _leaf(uint256 taskId, address account, uint256 amount) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(taskId, account, amount))));
    }

    function test_claim_payoutsOfOpenZeppelinsLibrary() external {
        string memory json = vm.readFile("contracts/test/merkle.json");
        uint256 funded = 0;
        for (uint256 t = 0; t < 4; ++t) {
            string memory tree = string.concat(".trees[", vm.toString(t), "]");
            address[] memory accounts =
                vm.parseJsonAddressArray(json, string.concat(tree, ".accounts"));
            uint256[] memory amounts = vm.parseJsonUintArray(json, string.concat(tree, ".amounts"));
            uint256 total = vm.parseJsonUint(json, string.concat(tree, ".total"));
            bytes32 root = vm.parseJsonBytes32(json, string.concat(tree, ".payouts.root"));
            RewardDistributor fresh = new RewardDistributor(token, address(this));
            fresh.setTaskLedger(address(this));
            token.approve(address(fresh), total);
            fresh.fund(1, root, total);
            for (uint256 i = 0; i < accounts.length; ++i) {
                bytes32[] memory proof = vm.parseJsonBytes32Array(
                    json, string.concat(tree, ".payouts.proofs[", vm.toString(i), "]")
                );
                uint256 before = token.balanceOf(accounts[i]);
                fresh.claim(1, accounts[i], amounts[i], proof);
                vm.assertEq(token.balanceOf(accounts[i]), before + amounts[i]);
                funded += amounts[i];
            }
            vm.assertEq(token.balanceOf(address(fresh)), 0);
        }
        vm.assertEq(token.balanceOf(address(this)), SUPPLY - funded);
    }

    /// @dev Promise 8: never more than funded, nothing twice, whatever the tree promises.
    function testFuzz_claim_neverPassesWhatWasFunded(
        uint64[6] calldata amounts,
        uint256 funded,
        uint256 order
    ) external {
        bytes32[] memory leaves = new bytes32[](6);
        uint256 promised = 0;
        for (uint256 i = 0; i < 6; ++i) {
            leaves[i] = _leaf(3, address(uint160(100 + i)), amounts[i]);
            promised += amounts[i];
        }
        funded = _bound(funded, 0, promised);
        distributor.fund(3, MerkleTree.root(leaves), funded);
        uint256 paid = 0;
        for (uint256 step = 0; step < 12; ++step) {
            uint256 i = (order >> (3 * step)) % 6;
            address account = address(uint160(100 + i));
            uint256 due = amounts[i] - claimed[account];
            bytes32[] memory proof = MerkleTree.proof(leaves, i);
            if (due == 0) {
                vm.expectRevert(
                    abi.encodeWithSelector(
                        IRewardDistributor.NothingToClaim.selector, 3, account, amounts[i]
                    )
                );
            } else if (due > funded - paid) {
                vm.expectRevert(
                    abi.encodeWithSelector(
                        IRewardDistributor.FundsExceeded.selector, 3, due, funded - paid
                    )
                );
            } else {
                paid += due;
                claimed[account] = amounts[i];
            }
            distributor.claim(3, account, amounts[i], proof);
            vm.assertEq(token.balanceOf(account), claimed[account]);
            vm.assertEq(distributor.claimedOf(3, account), claimed[account]);
            vm.assertEq(token.balanceOf(address(distributor)), funded - paid);
        }
        (uint256 fundedOf, uint256 paidOf) = distributor.fundedOf(3);
        vm.assertEq(fundedOf, funded);
        vm.assertEq(paidOf, paid);
    }

    function testFuzz_claim_refusesWhatIsNotInTheTree(
        uint256 taskId,
        address account,
        uint256 amount,
        bytes32[] calldata proof
    ) external {
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = _leaf(1, address(1), 10);
        leaves[1] = _leaf(1, address(2), 20);
        distributor.fund(1, MerkleTree.root(leaves), 30);
        vm.assume(taskId != 1);
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.NotFunded.selector, taskId));
        distributor.claim(taskId, account, amount, proof);
        vm.expectRevert(
            abi.encodeWithSelector(IRewardDistributor.InvalidProof.selector, 1, account, amount)
        );
        distributor.claim(1, account, amount, proof);
        vm.expectRevert(
            abi.encodeWithSelector(IRewardDistributor.InvalidProof.selector, 1, address(1), 11)
        );
        distributor.claim(1, address(1), 11, MerkleTree.proof(leaves, 0));
    }

    /// @dev A pot belongs to its task: another task's money cannot be reached through it.
    function test_claim_leavesOtherTasksAlone() external {
        distributor.fund(1, _leaf(1, address(1), 100), 10);
        distributor.fund(2, _leaf(2, address(1), 100), 100);
        vm.expectRevert(
            abi.encodeWithSelector(IRewardDistributor.FundsExceeded.selector, 1, 100, 10)
        );
        distributor.claim(1, address(1), 100, new bytes32[](0));
        distributor.claim(2, address(1), 100, new bytes32[](0));
        vm.assertEq(token.balanceOf(address(distributor)), 10);
    }

    function test_fund_onlyTheLedgerOncePerTask() external {
        distributor.fund(1, "root", 10);
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.AlreadyFunded.selector, 1));
        distributor.fund(1, "root", 10);
        vm.prank(address(5));
        vm.expectRevert(
            abi.encodeWithSelector(
                IRewardDistributor.NotTaskLedger.selector, address(5), address(this)
            )
        );
        distributor.fund(2, "root", 10);
    }
}

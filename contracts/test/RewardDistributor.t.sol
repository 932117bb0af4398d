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
    mapping(uint256 i => bool yes) private claimed;

    function setUp() external {
        address[] memory founders = new address[](1);
        uint256[] memory amounts = new uint256[](1);
        (founders[0], amounts[0]) = (address(this), SUPPLY);
        token = new CovalueToken(founders, amounts, 0, address(this));
        distributor = new RewardDistributor(token, address(this));
        distributor.setTaskLedger(address(this));
    }

    function _leaf(uint256 taskId, address account, uint256 amount, uint256 place)
        private
        pure
        returns (bytes32)
    {
        return keccak256(bytes.concat(keccak256(abi.encode(taskId, account, amount, place))));
    }

    /// @dev A task of which all is paid out.
    function _fund(RewardDistributor to, uint256 taskId, bytes32 root, uint256 total) private {
        token.transfer(address(to), total);
        to.reserve(taskId, uint96(total));
        to.fund(taskId, root, uint96(total));
    }

    /// @dev Such a root would look like a task that has not ended, and its money could not be claimed.
    function test_fund_refusesTheRootThatMeansNotFinal() external {
        token.transfer(address(distributor), 100);
        distributor.reserve(1, 100);
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.ReservedRoot.selector, 1));
        distributor.fund(1, bytes32(uint256(1)), 100);
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.ReservedRoot.selector, 1));
        distributor.fund(1, bytes32(uint256(1)), 0);
        distributor.fund(1, bytes32(uint256(2)), 100);
        (uint256 funded,) = distributor.fundedOf(1);
        vm.assertEq(funded, 100);
        vm.assertEq(distributor.rootOf(1), bytes32(uint256(2)));
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
            _fund(fresh, 1, root, total);
            for (uint256 i = 0; i < accounts.length; ++i) {
                bytes32[] memory proof = vm.parseJsonBytes32Array(
                    json, string.concat(tree, ".payouts.proofs[", vm.toString(i), "]")
                );
                uint256 before = token.balanceOf(accounts[i]);
                fresh.claim(1, accounts[i], amounts[i], uint8(i), proof);
                vm.assertEq(token.balanceOf(accounts[i]), before + amounts[i]);
                funded += amounts[i];
            }
            vm.assertEq(token.balanceOf(address(fresh)), 0);
        }
        vm.assertEq(token.balanceOf(address(this)), SUPPLY - funded);
    }

    /// @dev Promise 8: never more than funded, nothing twice, whatever the tree promises; at places near
    /// and far.
    function testFuzz_claim_neverPassesWhatWasFunded(
        uint64[6] calldata amounts,
        uint256 funded,
        uint256 order
    ) external {
        uint8[6] memory places = [0, 1, 63, 64, 200, 255];
        bytes32[] memory leaves = new bytes32[](6);
        uint256 promised = 0;
        for (uint256 i = 0; i < 6; ++i) {
            leaves[i] = _leaf(3, address(uint160(100 + i)), amounts[i], places[i]);
            promised += amounts[i];
        }
        funded = _bound(funded, 0, promised);
        _fund(distributor, 3, MerkleTree.root(leaves), funded);
        uint256 paid = 0;
        for (uint256 step = 0; step < 12; ++step) {
            uint256 i = (order >> (3 * step)) % 6;
            address account = address(uint160(100 + i));
            bytes32[] memory proof = MerkleTree.proof(leaves, i);
            if (claimed[i]) {
                vm.expectRevert(
                    abi.encodeWithSelector(
                        IRewardDistributor.AlreadyClaimed.selector, 3, account, places[i]
                    )
                );
            } else if (amounts[i] > funded - paid) {
                vm.expectRevert(
                    abi.encodeWithSelector(
                        IRewardDistributor.FundsExceeded.selector, 3, amounts[i], funded - paid
                    )
                );
            } else {
                paid += amounts[i];
                claimed[i] = true;
            }
            distributor.claim(3, account, amounts[i], places[i], proof);
            vm.assertEq(token.balanceOf(account), claimed[i] ? amounts[i] : 0);
            for (uint256 other = 0; other < 6; ++other) {
                vm.assertTrue(distributor.isClaimed(3, places[other]) == claimed[other]);
            }
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
        uint8 place,
        bytes32[] calldata proof
    ) external {
        bytes32[] memory own;
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = _leaf(1, address(1), 10, 0);
        leaves[1] = _leaf(1, address(2), 20, 1);
        _fund(distributor, 1, MerkleTree.root(leaves), 30);
        vm.assume(taskId != 1);
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.NotFunded.selector, taskId));
        distributor.claim(taskId, account, amount, place, proof);
        vm.expectRevert(_invalidProof(account, amount, place));
        distributor.claim(1, account, amount, place, proof);
        own = MerkleTree.proof(leaves, 0);
        vm.expectRevert(_invalidProof(address(1), 11, 0));
        distributor.claim(1, address(1), 11, 0, own);
        // Another place would be another bit, and a second payment.
        distributor.claim(1, address(1), 10, 0, own);
        vm.expectRevert(_invalidProof(address(1), 10, 1));
        distributor.claim(1, address(1), 10, 1, own);
    }

    function _invalidProof(address account, uint256 amount, uint256 place)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IRewardDistributor.InvalidProof.selector, 1, account, amount, place
        );
    }

    /// @dev A pot belongs to its task: another task's money cannot be reached through it.
    function test_claim_leavesOtherTasksAlone() external {
        _fund(distributor, 1, _leaf(1, address(1), 100, 0), 10);
        _fund(distributor, 2, _leaf(2, address(1), 100, 0), 100);
        vm.expectRevert(
            abi.encodeWithSelector(IRewardDistributor.FundsExceeded.selector, 1, 100, 10)
        );
        distributor.claim(1, address(1), 100, 0, new bytes32[](0));
        distributor.claim(2, address(1), 100, 0, new bytes32[](0));
        vm.assertEq(token.balanceOf(address(distributor)), 10);
    }

    function test_reserve_nothingIsPaidBeforeTheEnd() external {
        bytes32 leaf = _leaf(1, address(1), 10, 0);
        token.transfer(address(distributor), 100);
        distributor.reserve(1, 100);
        vm.assertEq(distributor.reservedOf(1), 100);
        vm.assertEq(distributor.rootOf(1), 0);
        (uint256 funded,) = distributor.fundedOf(1);
        vm.assertEq(funded, 0);
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.NotFunded.selector, 1));
        distributor.claim(1, address(1), 10, 0, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.AlreadyReserved.selector, 1));
        distributor.reserve(1, 100);
        uint256 supply = token.totalSupply();
        distributor.fund(1, leaf, 10);
        vm.assertEq(token.totalSupply(), supply - 90);
        vm.assertEq(token.balanceOf(address(distributor)), 10);
        vm.assertEq(distributor.reservedOf(1), 0);
        vm.assertEq(distributor.rootOf(1), leaf);
        (funded,) = distributor.fundedOf(1);
        vm.assertEq(funded, 10);
        distributor.claim(1, address(1), 10, 0, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.AlreadyReserved.selector, 1));
        distributor.reserve(1, 100);
    }

    function test_fund_anAbortedTaskPaysNobody() external {
        token.transfer(address(distributor), 100);
        distributor.reserve(1, 100);
        uint256 supply = token.totalSupply();
        distributor.fund(1, 0, 0);
        vm.assertEq(token.totalSupply(), supply - 100);
        vm.expectRevert(abi.encodeWithSelector(IRewardDistributor.NotFunded.selector, 1));
        distributor.claim(1, address(1), 0, 0, new bytes32[](0));
    }

    /// @dev A task pays from its own reserve, however much lies here for others.
    function test_fund_neverPassesTheReserve() external {
        token.transfer(address(distributor), 100);
        distributor.reserve(1, 40);
        distributor.reserve(2, 60);
        vm.expectRevert(abi.encodeWithSelector(0x4e487b71, 0x11));
        distributor.fund(1, "root", 41);
    }

    function test_fund_onlyTheLedgerOncePerTask() external {
        bytes4 notReserved = IRewardDistributor.NotReserved.selector;
        vm.expectRevert(abi.encodeWithSelector(notReserved, 1));
        distributor.fund(1, "root", 0);
        _fund(distributor, 1, "root", 10);
        vm.expectRevert(abi.encodeWithSelector(notReserved, 1));
        distributor.fund(1, "root", 10);
        bytes memory notLedger = abi.encodeWithSelector(
            IRewardDistributor.NotTaskLedger.selector, address(5), address(this)
        );
        vm.startPrank(address(5));
        vm.expectRevert(notLedger);
        distributor.reserve(2, 10);
        vm.expectRevert(notLedger);
        distributor.fund(2, "root", 10);
        vm.stopPrank();
    }
}

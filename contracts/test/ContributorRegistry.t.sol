// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "../src/BLS12381.sol";
import {ContributorRegistry} from "../src/ContributorRegistry.sol";
import {DeployerLink} from "../src/DeployerLink.sol";
import {IContributorRegistry} from "../src/interfaces/IContributorRegistry.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

contract ContributorRegistryTest is CovalueFixture {
    function setUp() external {
        _deploy();
    }

    function _key(uint256 i) private view returns (bytes memory) {
        return BlsSigner.publicKey(_secret(i));
    }

    function _proof(uint256 i, address account) private view returns (bytes memory) {
        return BlsSigner.prove(_secret(i), registry.popMessage(account, _key(i)));
    }

    function test_register_storesKeyAndTakesStake() external {
        _register(0);
        IContributorRegistry.Contributor memory stored = registry.contributorOf(_member(0));
        vm.assertEq(stored.blsPublicKey, _key(0));
        vm.assertEq(stored.superNodeKeyHash, bytes32(_secret(0)));
        vm.assertEq(stored.stake, MIN_STAKE);
        vm.assertEq(stored.locks, 0);
        vm.assertTrue(stored.registered);
        vm.assertEq(token.balanceOf(address(registry)), MIN_STAKE);
        vm.assertEq(registry.keyOwner(keccak256(_key(0))), _member(0));
        vm.assertEq(BLS12381.encode(registry.keyOf(keccak256(_key(0)))), _key(0));
        vm.assertFalse(registry.contributorOf(_member(1)).registered);
    }

    function test_register_refusesAProofOfPossessionForAnythingElse() external {
        bytes memory key = _key(0);
        bytes32 right = registry.popMessage(_member(0), key);
        bytes[] memory wrong = new bytes[](5);
        wrong[0] = _proof(0, _member(1)); // another account
        wrong[1] = BlsSigner.prove(_secret(1), right); // another key
        wrong[2] = BlsSigner.sign(_secret(0), right); // another purpose
        ContributorRegistry other =
            new ContributorRegistry(token, TIMELOCK, address(this), MIN_STAKE, COOLDOWN);
        wrong[3] = BlsSigner.prove(_secret(0), other.popMessage(_member(0), key));
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        wrong[4] = BlsSigner.prove(_secret(0), registry.popMessage(_member(0), key));
        vm.chainId(chain);
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.prank(_member(0));
            vm.expectRevert(
                abi.encodeWithSelector(
                    IContributorRegistry.InvalidProofOfPossession.selector,
                    _member(0),
                    keccak256(key)
                )
            );
            registry.register(key, wrong[i], 0, MIN_STAKE);
        }
    }

    function test_register_refusesInfinityAndPointsOutsideOfTheSubgroup() external {
        string memory vectors = vm.readFile("contracts/test/vectors.json");
        bytes memory outside = vm.parseJsonBytes(vectors, ".g1OutsideSubgroup");
        bytes memory proof = _proof(0, address(this));
        vm.expectRevert(BLS12381.PointIsInfinity.selector);
        registry.register(new bytes(128), new bytes(256), 0, MIN_STAKE);
        vm.expectPartialRevert(IContributorRegistry.InvalidProofOfPossession.selector);
        registry.register{gas: 2e6}(outside, proof, 0, MIN_STAKE);
    }

    function test_register_refusesTwiceLowStakeAndTakenKeys() external {
        _register(0);
        bytes memory key = _key(0);
        bytes memory proof = _proof(0, _member(0));
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.AlreadyRegistered.selector, _member(0))
        );
        registry.register(key, proof, 0, MIN_STAKE);
        vm.expectRevert(
            abi.encodeWithSelector(
                IContributorRegistry.StakeTooLow.selector, MIN_STAKE - 1, MIN_STAKE
            )
        );
        registry.register(key, proof, 0, MIN_STAKE - 1);
        proof = _proof(0, address(this));
        vm.expectRevert(
            abi.encodeWithSelector(
                IContributorRegistry.KeyTaken.selector, keccak256(key), _member(0)
            )
        );
        registry.register(key, proof, 0, MIN_STAKE);
    }

    function test_addStake_addsAndRefusesStrangersAndLeavers() external {
        _register(0);
        _fund(_member(0), address(registry), 5);
        vm.prank(_member(0));
        registry.addStake(5);
        vm.assertEq(registry.contributorOf(_member(0)).stake, MIN_STAKE + 5);
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.NotRegistered.selector, address(this))
        );
        registry.addStake(5);
        vm.prank(_member(0));
        registry.requestExit();
        vm.prank(_member(0));
        vm.expectPartialRevert(IContributorRegistry.ExitIsRequested.selector);
        registry.addStake(5);
    }

    function test_rotateKeys_keepsTheOldKeyForItsAccount() external {
        _register(0);
        bytes memory key = _key(1);
        bytes memory proof = _proof(1, _member(0));
        vm.prank(_member(0));
        registry.rotateKeys(key, proof, "node");
        vm.assertEq(registry.contributorOf(_member(0)).blsPublicKey, key);
        vm.assertEq(registry.contributorOf(_member(0)).superNodeKeyHash, "node");
        vm.assertEq(registry.keyOwner(keccak256(_key(0))), _member(0));
    }

    function test_rotateKeys_refusedWhileATaskLocksAndAllowedAfterItsEnd() external {
        uint256 taskId = _running();
        bytes memory key = _key(9);
        bytes memory proof = _proof(9, _member(0));
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.StakeIsLocked.selector, _member(0), 1)
        );
        registry.rotateKeys(key, proof, 0);
        vm.warp(ledger.taskOf(taskId).deadline);
        ledger.abort(taskId);
        vm.prank(_member(0));
        registry.rotateKeys(key, proof, 0);
        // The roster of the past keeps the key with which it signed.
        vm.assertEq(ledger.rosterKeys(taskId)[0], _key(0));
    }

    function test_withdraw_onlyAfterRequestAndCooldown() external {
        _register(0);
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.ExitNotRequested.selector, _member(0))
        );
        registry.withdraw();
        vm.prank(_member(0));
        registry.requestExit();
        uint256 availableAt = block.timestamp + COOLDOWN;
        vm.assertEq(registry.withdrawableAt(_member(0)), availableAt);
        vm.warp(availableAt - 1);
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(
                IContributorRegistry.CooldownRunning.selector, availableAt, block.timestamp
            )
        );
        registry.withdraw();
        vm.warp(availableAt);
        vm.prank(_member(0));
        registry.withdraw();
        vm.assertEq(token.balanceOf(_member(0)), MIN_STAKE);
        vm.assertFalse(registry.contributorOf(_member(0)).registered);
        vm.assertEq(registry.withdrawableAt(_member(0)), 0);
        _register(0); // the same account may come back with its key
    }

    /// @dev Else a contributor could ask for its exit on joining and be gone when a fault is found.
    function test_withdraw_cooldownRunsFromTheEndOfTheLastTask() external {
        uint256 taskId = _running();
        vm.prank(_member(0));
        registry.requestExit();
        vm.warp(ledger.taskOf(taskId).deadline);
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.StakeIsLocked.selector, _member(0), 1)
        );
        registry.withdraw();
        ledger.abort(taskId);
        uint256 availableAt = block.timestamp + COOLDOWN;
        vm.assertEq(registry.withdrawableAt(_member(0)), availableAt);
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(
                IContributorRegistry.CooldownRunning.selector, availableAt, block.timestamp
            )
        );
        registry.withdraw();
        vm.warp(availableAt);
        vm.prank(_member(0));
        registry.withdraw();
        vm.assertEq(token.balanceOf(_member(0)), MIN_STAKE);
    }

    function test_slash_burnsLockedStakeUpToWhatIsThere() external {
        uint256 taskId = _running();
        uint256 supply = token.totalSupply();
        vm.prank(TIMELOCK);
        registry.slash(_member(0), 70 ether, keccak256("evidence"), "bafkreievidence");
        vm.assertEq(registry.contributorOf(_member(0)).stake, 30 ether);
        vm.assertEq(token.totalSupply(), supply - 70 ether);
        vm.prank(TIMELOCK);
        registry.slash(_member(0), 70 ether, keccak256("evidence"), "bafkreievidence");
        vm.assertEq(registry.contributorOf(_member(0)).stake, 0);
        vm.assertEq(token.totalSupply(), supply - MIN_STAKE);
        vm.warp(ledger.taskOf(taskId).deadline);
        ledger.abort(taskId);
        vm.assertEq(registry.contributorOf(_member(0)).lockedStake, 0);
    }

    function test_slash_onlyTheTimelock() external {
        _register(0);
        vm.expectRevert(
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this))
        );
        registry.slash(_member(0), 1, 0, "");
    }

    function test_lock_needsFreeStakeForEachTask() external {
        ITaskTypes.Terms memory terms = _terms();
        _register(0);
        uint256 first = _open(terms);
        terms.taskDigest = keccak256("second");
        uint256 second = _open(terms);
        _join(first, 0);
        vm.assertEq(registry.contributorOf(_member(0)).lockedStake, 60 ether);
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(
                IContributorRegistry.FreeStakeTooLow.selector, _member(0), 40 ether, 60 ether
            )
        );
        ledger.join(second, new bytes32[](0));
        vm.warp(terms.deadline);
        ledger.abort(first);
        vm.assertEq(registry.contributorOf(_member(0)).locks, 0);
        registry.releaseEndedLocks(_member(0));
        vm.assertEq(registry.contributorOf(_member(0)).lockedStake, 0);
    }

    function test_lock_boundsTheNumberOfOpenTasks() external {
        ITaskTypes.Terms memory terms = _terms();
        terms.stake = 1 ether;
        terms.budget = 0;
        _register(0);
        for (uint256 i = 0; i < 16; ++i) {
            terms.taskDigest = keccak256(abi.encode(i));
            _join(_open(terms), 0);
        }
        vm.assertEq(registry.openTasksOf(_member(0)).length, 16);
        terms.taskDigest = keccak256("one more");
        uint256 taskId = _open(terms);
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.TooManyLocks.selector, _member(0), 16)
        );
        ledger.join(taskId, new bytes32[](0));
        vm.warp(terms.deadline);
        for (uint256 i = 1; i <= 16; i += 2) {
            ledger.abort(i);
        }
        uint256[] memory open = registry.openTasksOf(_member(0));
        vm.assertEq(open.length, 8);
        for (uint256 i = 0; i < 8; ++i) {
            vm.assertEq(open[i], 2 * (i + 1));
        }
        registry.releaseEndedLocks(_member(0));
        vm.assertEq(registry.contributorOf(_member(0)).lockedStake, 8 ether);
        vm.assertEq(registry.openTasksOf(_member(0)).length, 8);
    }

    function test_links_onlyOnceAndOnlyByTheDeployer() external {
        vm.assertEq(registry.deployer(), address(0));
        vm.expectRevert(
            abi.encodeWithSelector(DeployerLink.NotDeployer.selector, address(this), address(0))
        );
        registry.setTaskLedger(address(this));
        vm.expectRevert(
            abi.encodeWithSelector(
                IContributorRegistry.NotTaskLedger.selector, address(this), address(ledger)
            )
        );
        registry.lock(_member(0), 1, 1);
        vm.prank(address(ledger));
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.NotRegistered.selector, _member(0))
        );
        registry.unlock(_member(0), 1);
        _register(0);
        vm.prank(address(ledger));
        vm.expectRevert(
            abi.encodeWithSelector(IContributorRegistry.TaskNotLocked.selector, _member(0), 1)
        );
        registry.unlock(_member(0), 1);
    }

    function test_constructor_refusesAChainWithoutThePrecompiles() external {
        vm.mockCall(address(0x0f), "", "");
        vm.expectRevert(abi.encodeWithSelector(BLS12381.PrecompilesMissing.selector, block.chainid));
        new ContributorRegistry(token, TIMELOCK, address(this), MIN_STAKE, COOLDOWN);
    }
}

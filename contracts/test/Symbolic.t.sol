// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {RevenueShare} from "../src/RevenueShare.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {ITaskLedger} from "../src/interfaces/ITaskLedger.sol";
import {ForgeTest} from "./ForgeTest.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

contract PlainToken is ERC20("Plain", "PLAIN") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Stands where the ModelRegistry stands: one release.
contract OneRelease {
    function releaseCount() external pure returns (uint256) {
        return 1;
    }

    function releaseOf(uint256 number)
        external
        pure
        returns (IModelRegistry.Release memory release)
    {
        if (number != 1) return release;
        (release.number, release.status) = (1, IModelRegistry.Status.Released);
        (release.taskId, release.shareRoot) = (1, "shares");
    }
}

/// @title Claims and splits for every input at once: what halmos proves (docs/contracts.md)
/// @dev forge does not run these.
contract SymbolicTest is ForgeTest {
    PlainToken private token;
    RewardDistributor private distributor;
    RevenueShare private revenue;

    function setUp() external {
        token = new PlainToken();
        distributor = new RewardDistributor(token, address(this));
        distributor.setTaskLedger(address(this));
        revenue = new RevenueShare(
            token,
            IModelRegistry(address(new OneRelease())),
            ITaskLedger(address(0x1ED)),
            address(0x7EA),
            1000,
            500,
            address(this)
        );
    }

    function _leaf(address account, uint256 amount, uint8 place) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(1, account, amount, place))));
    }

    function _claim(address account, uint256 amount, uint8 place) private returns (bool ok) {
        (ok,) = address(distributor)
            .call(abi.encodeCall(distributor.claim, (1, account, amount, place, new bytes32[](0))));
    }

    /// @dev Promise 8, for any account, amount, place and fund: paid once, and never beyond the fund.
    function check_promise_8_claimPaysOnceAndWithinTheFund(
        address account,
        uint256 amount,
        uint8 place,
        uint96 funded
    ) external {
        vm.assume(account != address(0) && account != address(distributor));
        vm.assume(account != address(this));
        token.mint(address(distributor), funded);
        distributor.reserve(1, funded);
        bytes32 leaf = _leaf(account, amount, place);
        // To a solver a hash may be one of the two numbers that stand for "no root yet".
        vm.assume(uint256(leaf) > 1);
        distributor.fund(1, leaf, funded);
        bool first = _claim(account, amount, place);
        assert(first == (amount <= funded));
        assert(!_claim(account, amount, place));
        assert(token.balanceOf(account) == (first ? amount : 0));
        assert(token.balanceOf(address(distributor)) == funded - (first ? amount : 0));
    }

    /// @dev Promise 8: only what the root names is paid.
    function check_promise_8_claimNeedsItsLeaf(
        address account,
        uint256 amount,
        uint8 place,
        address claimer,
        uint256 claimed,
        uint8 claimedPlace
    ) external {
        vm.assume(account != claimer || amount != claimed || place != claimedPlace);
        token.mint(address(distributor), 100 ether);
        distributor.reserve(1, 100 ether);
        distributor.fund(1, _leaf(account, amount, place), 100 ether);
        assert(!_claim(claimer, claimed, claimedPlace));
    }

    /// @dev A payment is split without a rest, and no part is more than the payment. Eight bits: with 32
    /// the solvers do not get through the quotients in minutes.
    function check_split_isComplete(uint8 amount) external {
        token.mint(address(this), amount);
        token.approve(address(revenue), amount);
        revenue.pay(1, amount);
        (uint256 earned, uint256 paid) = revenue.poolOf(1);
        assert(paid == 0);
        assert(revenue.treasuryBalance() + revenue.coordinatorBalance(1) + earned == amount);
        assert(revenue.treasuryBalance() <= amount && earned <= amount);
    }
}

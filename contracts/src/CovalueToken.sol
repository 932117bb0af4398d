// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {DeployerLink} from "./DeployerLink.sol";
import {ICovalueToken} from "./interfaces/ICovalueToken.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

/// @title The governance token of Covalue; documented in ICovalueToken
contract CovalueToken is ICovalueToken, ERC20, ERC20Permit, ERC20Votes, DeployerLink {
    uint256 private constant YEAR = 365 days;

    /// @inheritdoc ICovalueToken
    uint256 public immutable yearlyCap;
    uint256 private immutable DEPLOYED_AT;

    /// @inheritdoc ICovalueToken
    address public minter;
    mapping(uint256 year => uint256 amount) private _mintedIn;

    /// @param founders accounts of the genesis supply
    /// @param amounts wei for each founder
    /// @param yearlyCap_ wei that may be minted per year after genesis
    /// @param deployer_ who names the minter, once
    constructor(
        address[] memory founders,
        uint256[] memory amounts,
        uint256 yearlyCap_,
        address deployer_
    ) ERC20("Covalue", "COVAL") ERC20Permit("Covalue") DeployerLink(deployer_) {
        if (founders.length != amounts.length) {
            revert FoundersMismatch(founders.length, amounts.length);
        }
        yearlyCap = yearlyCap_;
        DEPLOYED_AT = block.timestamp;
        for (uint256 i = 0; i < founders.length; ++i) {
            _mint(founders[i], amounts[i]);
        }
    }

    /// @inheritdoc ICovalueToken
    function setMinter(address minter_) external {
        _spendLink(minter_);
        minter = minter_;
        emit MinterSet(minter_);
    }

    /// @inheritdoc ICovalueToken
    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert NotMinter(msg.sender, minter);
        uint256 year = currentYear();
        uint256 minted = _mintedIn[year];
        if (amount > yearlyCap - minted) revert YearlyCapExceeded(amount, minted, yearlyCap);
        _mintedIn[year] = minted + amount;
        _mint(to, amount);
    }

    /// @inheritdoc ICovalueToken
    function burn(uint256 amount) external {
        _burn(msg.sender, amount);
    }

    /// @inheritdoc ICovalueToken
    function currentYear() public view returns (uint256) {
        return (block.timestamp - DEPLOYED_AT) / YEAR;
    }

    /// @inheritdoc ICovalueToken
    function mintedThisYear() external view returns (uint256) {
        return _mintedIn[currentYear()];
    }

    /// @notice Votes are counted at block timestamps (ERC-6372).
    function clock() public view override returns (uint48) {
        return uint48(block.timestamp);
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }
}

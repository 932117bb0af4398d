// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title One link that the deployer sets once
/// @notice Two contracts that need each other's address cannot both have it in their constructors. The
/// deployer sets the missing link once, and in doing so gives up its only power: `deployer` is zero
/// from then on.
abstract contract DeployerLink {
    /// @notice Who may still set the link; zero once it is set.
    address public deployer;

    error NotDeployer(address caller, address deployer);
    error ZeroLink();

    constructor(address deployer_) {
        if (deployer_ == address(0)) revert ZeroLink();
        deployer = deployer_;
    }

    /// @dev Checks the caller and the target, and ends the deployer's power.
    function _spendLink(address target) internal {
        if (msg.sender != deployer) revert NotDeployer(msg.sender, deployer);
        if (target == address(0)) revert ZeroLink();
        deployer = address(0);
    }
}

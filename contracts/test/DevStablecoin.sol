// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title A dollar for devnets: ERC-20, ERC-2612, ERC-3009, 6 decimals, anyone mints
/// @notice The constructor refuses any chain but the devnets', so that it cannot pass for money.
contract DevStablecoin is ERC20Permit, ERC3009 {
    error NotADevnet(uint256 chainId);

    constructor() ERC20("Covalue Dev Dollar", "CVUSD") ERC20Permit("Covalue Dev Dollar") {
        if (block.chainid != 31_337 && block.chainid != 31_999) revert NotADevnet(block.chainid);
    }

    /// @notice Mints `amount` millionths of a dollar to `to`.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    /// @notice EIP-712 version, which an ERC-3009 payer has to know.
    function version() external pure returns (string memory) {
        return "1";
    }
}

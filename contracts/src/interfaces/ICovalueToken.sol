// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title The governance token of Covalue, COVAL (18 decimals, ERC-20, ERC-2612, ERC-5805)
/// @notice A genesis supply is minted once to the founders. After that only the TaskLedger mints,
/// when a vote opens a task, and at most `yearlyCap` in each year of 365 days counted from
/// deployment. What a task does not pay is burned. Votes count from delegation, at block timestamps.
interface ICovalueToken {
    /// @notice The TaskLedger was named as the only minter, for good.
    event MinterSet(address indexed minter);

    /// @notice `founders` and `amounts` have different lengths.
    error FoundersMismatch(uint256 founders, uint256 amounts);
    /// @notice Only the minter may mint.
    error NotMinter(address caller, address minter);
    /// @notice This mint would pass the cap of the running year.
    error YearlyCapExceeded(uint256 amount, uint256 mintedThisYear, uint256 yearlyCap);

    /// @notice Names the minter. Once, by the deployer, who has no power afterwards.
    function setMinter(address minter_) external;

    /// @notice Mints `amount` wei to `to`. Only the minter, within the cap of the running year.
    function mint(address to, uint256 amount) external;

    /// @notice Destroys `amount` wei of the caller.
    function burn(uint256 amount) external;

    /// @notice The only account that may mint; zero until it is set.
    function minter() external view returns (address);

    /// @notice The most that may be minted in one year, in wei.
    function yearlyCap() external view returns (uint256);

    /// @notice Years of 365 days that have passed since deployment.
    function currentYear() external view returns (uint256);

    /// @notice What was minted in the running year, in wei; the genesis supply does not count.
    function mintedThisYear() external view returns (uint256);
}

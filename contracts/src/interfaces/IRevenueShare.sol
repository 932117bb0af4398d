// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Revenue of released models
/// @notice Takes payments in one ERC-20 and splits what each release takes in between treasury, the
/// release's coordinator and its contributors. The first two have their part of the sum, rounded down, of
/// which the treasury's is rounded down again; the rest is the contributors'. A contributor is paid its
/// share of all that its release has earned, less what it was paid before. The leaf is
/// keccak256(bytes.concat(keccak256(abi.encode(taskId, account, shareWad)))) under the release's share
/// root. A plain transfer is the current release's as it comes; the ModelRegistry calls `sync` when
/// another one follows. The asset must not change balances by itself (no rebasing), and fewer than 2^95
/// of its units come here.
interface IRevenueShare {
    /// @notice `amount` is what arrived, which is less than what was sent if the asset takes a fee.
    event Paid(uint256 indexed releaseNumber, address indexed payer, uint256 amount);
    /// @notice How an amount was split, all of it: what a release had taken in when the next one followed,
    /// or what was paid for it later.
    event Booked(
        uint256 indexed releaseNumber,
        uint256 toTreasury,
        uint256 toCoordinator,
        uint256 toContributors
    );
    /// @notice A contributor was paid `amount` of its share.
    event Claimed(uint256 indexed releaseNumber, address indexed account, uint256 amount);
    /// @notice The treasury was paid all that it had.
    event TreasuryWithdrawn(address indexed treasury, uint256 amount);
    /// @notice A release's coordinator was paid all that it had of that release.
    event CoordinatorWithdrawn(
        uint256 indexed releaseNumber, address indexed coordinator, uint256 amount
    );
    /// @notice Where the treasury's part goes from now on.
    event TreasurySet(address indexed treasury);

    /// @notice The treasury cannot be the zero address.
    error ZeroAddress();
    /// @notice The two parts leave nothing for the contributors.
    error SplitTooHigh(uint256 treasuryBps, uint256 coordinatorBps);
    /// @notice No release has this number.
    error UnknownRelease(uint256 releaseNumber);
    /// @notice A revoked release takes no payments.
    error ReleaseRevoked(uint256 releaseNumber);
    /// @notice The share is not under the release's share root, or there is no such release.
    error InvalidProof(uint256 releaseNumber, address account, uint256 shareWad);
    /// @notice Nothing is due now; more comes with the next payment.
    error NothingToClaim();
    /// @notice The shares under the root add up to more than one.
    error PoolExceeded(uint256 releaseNumber, uint256 due, uint256 left);

    /// @notice Pays `amount` units of the asset for a release (approve it before).
    function pay(uint256 releaseNumber, uint256 amount) external;

    /// @notice Takes note of the registry's current release: what came in until now is the last one's.
    /// Before the first release plain transfers wait for it.
    function sync() external;

    /// @notice Pays `account` what is due of its share of a release's revenue. Anyone may send it.
    /// @param taskId the task that the release comes from
    /// @param shareWad the share in units of 1e-18
    function claim(
        uint256 releaseNumber,
        uint256 taskId,
        address account,
        uint64 shareWad,
        bytes32[] calldata proof
    ) external;

    /// @notice Sends the treasury what is its own. Anyone may send it.
    function withdrawTreasury() external;

    /// @notice Sends a release's coordinator what is its own. Anyone may send it.
    function withdrawCoordinator(uint256 releaseNumber) external;

    /// @notice Names another treasury. Only the timelock.
    function setTreasury(address treasury_) external;

    /// @notice What a release's contributors have earned and what they were paid of it.
    function poolOf(uint256 releaseNumber) external view returns (uint256 earned, uint256 paid);

    /// @notice What an account was paid of a release.
    function claimedOf(uint256 releaseNumber, address account) external view returns (uint256);

    /// @notice What `claim` would pay now for this share, plain transfers included; no proof checked.
    function claimable(uint256 releaseNumber, address account, uint64 shareWad)
        external
        view
        returns (uint256);

    /// @notice Who is paid the treasury's part.
    function treasury() external view returns (address);

    /// @notice What the treasury can withdraw, in units of the asset.
    function treasuryBalance() external view returns (uint256);

    /// @notice What a release's coordinator can withdraw, in units of the asset.
    function coordinatorBalance(uint256 releaseNumber) external view returns (uint256);
}

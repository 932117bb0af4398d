#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Writes contracts/test/merkle.json: trees and proofs of OpenZeppelin's own library, against which
// the contracts' leaves and proofs are tested. With --check fails if the committed file differs.

import fs from "node:fs";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";

const FILE = new URL("./merkle.json", import.meta.url);
const TASK_ID = 1n;
const SIZES = [1, 2, 3, 7];

const account = (i) => `0x${(0xa11ce000 + i).toString(16).padStart(40, "0")}`;
const payout = (i) => (BigInt(i) + 1n) * 1_000_000_000_000_000_003n;

function columns(rows, encoding) {
  const tree = StandardMerkleTree.of(rows, encoding);
  return { root: tree.root, proofs: rows.map((_, i) => tree.getProof(i)) };
}

const trees = SIZES.map((size) => {
  const accounts = Array.from({ length: size }, (_, i) => account(i));
  const amounts = accounts.map((_, i) => payout(i));
  const payouts = accounts.map((address, i) => [TASK_ID, address, amounts[i], i]);
  const allowed = accounts.map((address) => [address]);
  return {
    accounts,
    amounts: amounts.map(String),
    total: String(amounts.reduce((sum, amount) => sum + amount, 0n)),
    payouts: columns(payouts, ["uint256", "address", "uint256", "uint256"]),
    allowed: columns(allowed, ["address"]),
  };
});

const text = `${JSON.stringify({ taskId: String(TASK_ID), trees }, null, 1)}\n`;
if (!process.argv.includes("--check")) fs.writeFileSync(FILE, text);
else if (fs.readFileSync(FILE, "utf8") !== text) {
  process.stderr.write("contracts/test/merkle.json does not follow from merkle.mjs; run it\n");
  process.exitCode = 1;
}

#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Compiles variants of the contracts for bench/contract_mutants.py, many in one run of the compiler.
// Reads from stdin [{id, source, contract, changed: {path: content}}], writes {id: creation bytecode
// or {error}}. A variant sees its changed files and, beside them, the tree's own.

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const solc = createRequire(import.meta.url)("solc");
const OPENZEPPELIN = "@openzeppelin/";
const SETTINGS = {
  evmVersion: "prague",
  optimizer: { enabled: false },
  metadata: { bytecodeHash: "none" },
};
const shared = new Map();

function fromDisk(name) {
  const file = name.startsWith(OPENZEPPELIN) ? path.join("node_modules", name) : name;
  if (!shared.has(file)) shared.set(file, fs.readFileSync(file, "utf8"));
  return shared.get(file);
}

// "v12/contracts/src/X.sol" is the file of variant 12; the rest is the same for all.
function compile(variants) {
  const changedOf = new Map(variants.map((each) => [`v${each.id}`, each.changed]));
  const read = (name) => {
    const [first, ...rest] = name.split("/");
    if (!changedOf.has(first)) return fromDisk(name);
    const own = rest.join("/");
    return changedOf.get(first)[own] ?? fromDisk(own);
  };
  const input = {
    language: "Solidity",
    sources: {},
    settings: { ...SETTINGS, outputSelection: {} },
  };
  for (const { id, source, contract } of variants) {
    const name = `v${id}/${source}`;
    input.sources[name] = { content: read(name) };
    input.settings.outputSelection[name] = { [contract]: ["evm.bytecode.object"] };
  }
  const answer = JSON.parse(
    solc.compile(JSON.stringify(input), {
      import: (name) => {
        try {
          return { contents: read(name) };
        } catch (error) {
          return { error: String(error) };
        }
      },
    }),
  );
  const errors = (answer.errors ?? []).filter((entry) => entry.severity === "error");
  return { contracts: answer.contracts ?? {}, errors };
}

function bytecodes(variants) {
  const { contracts, errors } = compile(variants);
  if (errors.length > 0 && variants.length > 1) {
    // One faulty variant stops the compiler: find it by halves.
    const middle = Math.ceil(variants.length / 2);
    return { ...bytecodes(variants.slice(0, middle)), ...bytecodes(variants.slice(middle)) };
  }
  return Object.fromEntries(
    variants.map(({ id, source, contract }) => [
      id,
      errors.length > 0
        ? { error: errors[0].formattedMessage }
        : `0x${contracts[`v${id}/${source}`][contract].evm.bytecode.object}`,
    ]),
  );
}

process.stdout.write(JSON.stringify(bytecodes(JSON.parse(fs.readFileSync(0, "utf8")))));

#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
"use strict";
// contracts/solc.js with a memory, for bench/contract_mutants.py: forge asks for the ABIs of all
// sources whenever tests are chosen by name, which takes seconds and is the same each time.

const { spawnSync } = require("node:child_process");
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const MEMORY = "cache/solc";
const words = process.argv.slice(2);
const input = words.includes("--standard-json") ? fs.readFileSync(0) : Buffer.from("");
const key = createHash("sha256").update(JSON.stringify(words)).update(input).digest("hex");
const file = path.join(MEMORY, key);
if (!fs.existsSync(file)) {
  const compiler = path.join(__dirname, "..", "solc.js");
  const { stdout, stderr, status } = spawnSync(process.execPath, [compiler, ...words], {
    input,
    maxBuffer: 2 ** 30,
  });
  process.stderr.write(stderr);
  if (status !== 0) process.exit(status ?? 1);
  fs.mkdirSync(MEMORY, { recursive: true });
  fs.writeFileSync(`${file}.new`, stdout);
  fs.renameSync(`${file}.new`, file);
}
process.stdout.write(fs.readFileSync(file));

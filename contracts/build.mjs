#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Compiles the contracts and writes dao/abi/<Contract>.json, or with --check proves that what is
// committed there follows from the sources. Output is deterministic: sorted keys, no timestamps.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const ABI_DIR = path.join(ROOT, "dao", "abi");
const DEPLOYED_LIMIT_BYTES = 24_576; // EIP-170
const OPENZEPPELIN = "@openzeppelin/contracts/";

// contract name -> source; devOnly artefacts never leave a devnet.
const CONTRACTS = {
  CovalueToken: { source: "contracts/src/CovalueToken.sol" },
  CovalueGovernor: { source: "contracts/src/CovalueGovernor.sol" },
  TimelockController: { source: `${OPENZEPPELIN}governance/TimelockController.sol` },
  ContributorRegistry: { source: "contracts/src/ContributorRegistry.sol" },
  TaskLedger: { source: "contracts/src/TaskLedger.sol" },
  RewardDistributor: { source: "contracts/src/RewardDistributor.sol" },
  ModelRegistry: { source: "contracts/src/ModelRegistry.sol" },
  RevenueShare: { source: "contracts/src/RevenueShare.sol" },
  DevStablecoin: { source: "contracts/test/DevStablecoin.sol", devOnly: true },
};

const SETTINGS = {
  evmVersion: "prague",
  optimizer: { enabled: true, runs: 200 },
  viaIR: false,
  metadata: { bytecodeHash: "none" },
  outputSelection: {
    "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] },
  },
};

// 6335, "will be promoted to keyword" (at, leave): the compiler is pinned, a later one changes nothing
// here. 2394, transient storage: OpenZeppelin's guard clears its own at the end of each call.
const IGNORED_WARNINGS = new Set(["6335", "2394"]);

function fail(message) {
  process.stderr.write(`contracts/build.mjs: ${message}\n`);
  process.exit(1);
}

function loadSolc() {
  try {
    return createRequire(import.meta.url)("solc");
  } catch (error) {
    return fail(`npm's solc is not installed (${error.code}); run "npm ci" first`);
  }
}

function filePath(name) {
  return name.startsWith("@") ? path.join(ROOT, "node_modules", name) : path.join(ROOT, name);
}

const sha256 = (text) => createHash("sha256").update(text).digest("hex");

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

const toJson = (value) => `${JSON.stringify(sorted(value), null, 1)}\n`;

// Compiles everything; returns {outputs: contract name -> output, sources: name -> content}.
function compile(solc) {
  const sources = {};
  const read = (name) => (sources[name] ??= fs.readFileSync(filePath(name), "utf8"));
  const roots = [...new Set(Object.values(CONTRACTS).map((contract) => contract.source))];
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(roots.map((name) => [name, { content: read(name) }])),
    settings: SETTINGS,
  };
  const readImport = (name) => {
    try {
      return { contents: read(name) };
    } catch (error) {
      return { error: `cannot read ${name}: ${error.message}` };
    }
  };
  const result = JSON.parse(solc.compile(JSON.stringify(input), { import: readImport }));
  const messages = (result.errors ?? []).filter(
    (entry) => entry.severity === "error" || !IGNORED_WARNINGS.has(entry.errorCode),
  );
  for (const entry of messages) process.stderr.write(`${entry.formattedMessage}\n`);
  if (messages.some((entry) => entry.severity === "error")) fail("the contracts do not compile");
  return { outputs: result.contracts, sources };
}

function artefacts({ outputs, sources }, compiler) {
  const files = {};
  for (const [name, { source, devOnly }] of Object.entries(CONTRACTS)) {
    const { abi, evm } = outputs[source][name];
    const deployedBytes = evm.deployedBytecode.object.length / 2;
    if (deployedBytes > DEPLOYED_LIMIT_BYTES) {
      fail(`${name} has ${deployedBytes} bytes deployed, the limit is ${DEPLOYED_LIMIT_BYTES}`);
    }
    files[`${name}.json`] = toJson({
      contractName: name,
      sourceName: source,
      devOnly: devOnly ?? false,
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecodeBytes: deployedBytes,
    });
  }
  const settings = { ...SETTINGS };
  delete settings.outputSelection;
  files["SOURCES.json"] = toJson({
    compiler,
    settings,
    sources: Object.fromEntries(Object.entries(sources).map(([k, v]) => [k, sha256(v)])),
    artefacts: Object.fromEntries(Object.entries(files).map(([k, v]) => [k, sha256(v)])),
  });
  return files;
}

function check(files) {
  const problems = [];
  for (const [name, expected] of Object.entries(files)) {
    const file = path.join(ABI_DIR, name);
    if (!fs.existsSync(file)) problems.push(`dao/abi/${name} is missing`);
    else if (fs.readFileSync(file, "utf8") !== expected) {
      problems.push(`dao/abi/${name} does not follow from its sources`);
    }
  }
  for (const name of fs.existsSync(ABI_DIR) ? fs.readdirSync(ABI_DIR) : []) {
    if (name.endsWith(".json") && !(name in files)) problems.push(`dao/abi/${name} has no source`);
  }
  if (problems.length > 0) {
    fail(`${problems.join("; ")}. Run "node contracts/build.mjs" and commit dao/abi.`);
  }
  process.stdout.write(`dao/abi: ${Object.keys(files).length} files follow from their sources\n`);
}

function write(files) {
  fs.mkdirSync(ABI_DIR, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    fs.writeFileSync(path.join(ABI_DIR, name), content);
    const bytes = JSON.parse(content).deployedBytecodeBytes;
    if (bytes) process.stdout.write(`${name.padEnd(28)} ${String(bytes).padStart(6)} bytes\n`);
  }
}

const unknown = process.argv.slice(2).filter((argument) => argument !== "--check");
if (unknown.length > 0) fail(`unknown argument ${unknown[0]}; only --check is known`);
const solc = loadSolc();
const files = artefacts(compile(solc), solc.version());
if (process.argv.includes("--check")) check(files);
else write(files);

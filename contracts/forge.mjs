#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Runs forge and ends with its exit status. The launcher of @foundry-rs/forge 1.7.1 ends with 0
// whatever forge says, so that failing tests pass there: never call it from a gate.

import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const ARCHITECTURES = { x64: "amd64", arm64: "arm64" };

function fail(message) {
  process.stderr.write(`contracts/forge.mjs: ${message}\n`);
  process.exit(1);
}

// The platform's package, or what forge's install script fetched where npm left that package out.
function binaryPath() {
  const require = createRequire(import.meta.url);
  const name = process.platform === "win32" ? "forge.exe" : "forge";
  const platform = `${process.platform}-${ARCHITECTURES[process.arch]}`;
  const candidates = [];
  try {
    candidates.push(require.resolve(`@foundry-rs/forge-${platform}/bin/${name}`));
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
  }
  for (const root of require.resolve.paths("@foundry-rs/forge")) {
    candidates.push(path.join(root, "@foundry-rs", "dist", name));
  }
  const found = candidates.find((file) => fs.existsSync(file));
  return found ?? fail(`no forge for ${platform} is installed; run "npm ci"`);
}

const { status, signal, error } = spawnSync(binaryPath(), process.argv.slice(2), {
  stdio: "inherit",
});
if (error) fail(error.message);
if (signal) fail(`forge was ended by ${signal}`);
process.exitCode = status;

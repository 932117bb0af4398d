#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
"use strict";
// forge expects a native solc binary; this answers the two calls forge makes with npm's solc.

const fs = require("node:fs");
const path = require("node:path");
const solc = require("solc");

function optionValues(argv, name) {
  return argv.flatMap((argument, i) => (argument === name ? [argv[i + 1]] : []));
}

function printVersion() {
  // forge parses the line that begins with "Version:" as semver with native build metadata.
  const version = solc.version().replace("Emscripten.clang", "Linux.g++");
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
}

function compileStandardJson(argv) {
  const roots = [
    ...optionValues(argv, "--base-path"),
    ...optionValues(argv, "--include-path"),
    process.cwd(),
  ];
  const locate = (name) =>
    roots.map((root) => path.resolve(root, name)).find((file) => fs.existsSync(file));
  const input = JSON.parse(fs.readFileSync(0, "utf8"));
  for (const [name, source] of Object.entries(input.sources)) {
    if (source.content !== undefined) continue;
    const file = (source.urls ?? []).concat(name).map(locate).find(Boolean);
    if (file === undefined) throw new Error(`no file for source ${name} below ${roots.join(", ")}`);
    input.sources[name] = { content: fs.readFileSync(file, "utf8") };
  }
  const readImport = (name) => {
    const file = locate(name);
    return file ? { contents: fs.readFileSync(file, "utf8") } : { error: `not found: ${name}` };
  };
  process.stdout.write(solc.compile(JSON.stringify(input), { import: readImport }));
}

function main(argv) {
  if (argv.includes("--version")) return printVersion();
  if (argv.includes("--standard-json")) return compileStandardJson(argv);
  process.stderr.write(
    `solc.js answers --version and --standard-json only, got: ${argv.join(" ") || "(nothing)"}\n`,
  );
  process.exitCode = 2;
}

main(process.argv.slice(2));

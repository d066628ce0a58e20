#!/usr/bin/env node
'use strict';
// Starts the command line from V8's code cache, which saves compiling half a megabyte on each start. The cache is made by the
// build; V8 checks its version and flags and rejects any other, and then the source is compiled as usual.
const { readFileSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

// The class itself: the module that exports it brings more with it.
const Module = module.constructor;
const main = path.join(__dirname, 'main.js');

function cachedData() {
  try {
    return readFileSync(`${main}.cache`);
  } catch {
    return undefined;
  }
}

// The build leaves a function around the module, and ASCII only, which needs no decoding.
const script = new vm.Script(readFileSync(main, 'latin1'), {
  filename: main,
  cachedData: cachedData(),
  importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
if (process.env.GLOVEBOX_WRITE_CODE_CACHE === main)
  process.on('exit', () => writeFileSync(`${main}.cache`, script.createCachedData()));

// As require() would, without its search for the file and for a package around it. Lazy parts find it in the cache.
const loaded = new Module(main, module);
loaded.filename = main;
require.cache[main] = loaded;
script
  .runInThisContext()
  .call(loaded.exports, loaded.exports, Module.createRequire(main), loaded, main, __dirname);
loaded.loaded = true;

// Runs the built Worker in workerd for one test, with the bindings that wrangler.toml declares.
//
// Reads its settings as one JSON line from standard input: {configPath, modulesRoot, vars, kept, faults}, and {script} for
// another Worker with the same bindings, {direct} for a socket without miniflare's own Worker before it. Prints
// {"url": …} when the Worker answers, and stops when standard input closes, so it never outlives the test that started it.
// `kept` has folders for what outlives this workerd: {workersKv, colo}. `faults` names what is to fail (edge_faults.mjs).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const settings = JSON.parse((await lines.next()).value);

const require = createRequire(pathToFileURL(join(settings.modulesRoot, "package.json")));
const { Miniflare } = require("miniflare");
const { unstable_getMiniflareWorkerOptions } = require("wrangler");

const { workerOptions, main } = unstable_getMiniflareWorkerOptions(settings.configPath);
const scriptPath = settings.script ?? resolve(dirname(settings.configPath), main);
const read = (path) => readFileSync(path);
// The Worker as it was built, behind a module that spoils what the platform gives before the Worker starts.
const faulty = settings.faults.length > 0 && [
	{
		type: "ESModule",
		path: join(dirname(scriptPath), "faulty.js"),
		contents:
			`const FAULTS = ${JSON.stringify(settings.faults)};\n` +
			read(join(dirname(settings.configPath), "tests/support/edge_faults.mjs")),
	},
	{ type: "ESModule", path: scriptPath, contents: read(scriptPath) },
	{
		type: "CompiledWasm",
		path: join(dirname(scriptPath), "index_bg.wasm"),
		contents: read(join(dirname(scriptPath), "index_bg.wasm")),
	},
];
const script = faulty
	? { modules: faulty }
	: {
			modules: true,
			scriptPath,
			modulesRules: [{ type: "CompiledWasm", include: ["**/*.wasm"], fallthrough: true }],
		};
const miniflare = new Miniflare({
	...workerOptions,
	host: "127.0.0.1",
	port: 0,
	cf: false,
	modulesRoot: dirname(scriptPath),
	...script,
	...(settings.kept.workersKv && { kvPersist: settings.kept.workersKv }),
	...(settings.kept.colo && { cachePersist: settings.kept.colo }),
	// Miniflare's own Worker for assets stands before ours and cannot pass a cron event on.
	...(settings.withoutAssets && { assets: undefined }),
	// `/cdn-cgi/handler/scheduled` runs the cron event.
	unsafeTriggerHandlers: true,
	bindings: { ...workerOptions.bindings, ...settings.vars },
	...(settings.direct ? { unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] } : {}),
});
const ready = await miniflare.ready;
const url = settings.direct ? await miniflare.unsafeGetDirectURL() : ready;
process.stdout.write(JSON.stringify({ url: url.origin }) + "\n");

const stop = async () => {
	await miniflare.dispose();
	process.exit(0);
};
process.on("SIGTERM", stop);
await lines.next();
await stop();

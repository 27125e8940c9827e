// Runs the built Worker in workerd for one test, with the bindings that wrangler.toml declares.
//
// Reads its settings as one JSON line from standard input: {configPath, modulesRoot, vars}, and {script} for another
// Worker with the same bindings, {direct} for a socket without miniflare's own Worker before it. Prints {"url": …} when
// the Worker answers, and stops when standard input closes, so it never outlives the test that started it.
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
const miniflare = new Miniflare({
	...workerOptions,
	host: "127.0.0.1",
	port: 0,
	cf: false,
	modules: true,
	modulesRoot: dirname(scriptPath),
	scriptPath,
	modulesRules: [{ type: "CompiledWasm", include: ["**/*.wasm"], fallthrough: true }],
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

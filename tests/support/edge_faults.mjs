// Goes before the built Worker and spoils what the platform gives it. FAULTS is defined above this text by edge.mjs.
import Worker from "./index.js";
export * from "./index.js";

const fails = (name, status) => async () => {
	throw new Error(`${name} failed: ${status}`);
};
const never = () => new Promise(() => {});
const has = (fault) => FAULTS.includes(fault);

if (has("colo_failing") || has("colo_hanging")) {
	const call = has("colo_hanging") ? never : fails("Cache API", 500);
	Object.defineProperty(globalThis, "caches", { value: { default: { match: call, put: call } } });
}

const spoiled = (store) => ({
	get: has("workers_kv_read_failing") ? fails("KV GET", 500) : has("workers_kv_read_hanging") ? never : (...given) => store.get(...given),
	put: has("workers_kv_write_failing") ? fails("KV PUT", "429 Too Many Requests") : (...given) => store.put(...given),
	getWithMetadata: (...given) => store.getWithMetadata(...given),
	list: (...given) => store.list(...given),
	delete: (...given) => store.delete(...given),
});

// `get`, `getByName` and the rest give stubs on which every call fails, as an overloaded or unreachable object's does.
const unreachable = () => ({ fetch: fails("Durable Object", "overloaded") });
const objects = (namespace) =>
	has("durable_objects_failing")
		? new Proxy(namespace, { get: (target, name) => (String(name).startsWith("get") ? unreachable : target[name]) })
		: namespace;

export default class extends Worker {
	constructor(context, env) {
		super(context, { ...env, CAPTIONS: spoiled(env.CAPTIONS), QUOTA: objects(env.QUOTA) });
	}
}

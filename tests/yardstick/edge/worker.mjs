// The edge in plain JavaScript, as far as a hit and a forwarded miss go: what `cargo xtask bench edge` compares the
// Rust one with. It does the same work in the same order and answers with the same headers, written as one would
// write it for speed; what a hit or a miss never touches (batches, streams, most of the problems) is left out. Not deployed.

const GENERATE = "/api/v14/generate";
const BODY_BYTES_MAX = 64 * 1024;
const ANSWER_BYTES_MAX = 256 * 1024;
const ENTRIES_MAX = 4096;
const STYLES = new Set([
	"casual", "inspirational", "playful", "professional", "luxury", "educational", "storytelling", "minimal", "romantic",
	"bold", "promotional",
]);
const LEVELS = new Set(["ultra_fast", "balanced", "quality"]);
const EMOJI = new Set(["none", "light", "rich"]);
const CALLS = new Set(["none", "comment", "save", "share", "link", "shop"]);
const BLANK = /[\s\p{Cc}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]+/gu;

const STANDARD = { cells_per_minute: 600, burst_cells: 10_000, daily_cells: 1_000_000 };
const RECORDS_MAX = 1024;
const LEASE_CELLS = 1000;
const CELLS_PER_HIT = 1;
const CELLS_PER_VARIANT = 10;
const LOOK_UPS_MAX = 8192;
const POPULAR_AFTER = 2;

// The tenant's quota: a rate and a burst by GCRA, and a day's cells.
export class QuotaObject {
	constructor(state) {
		this.storage = state.storage;
	}

	async fetch(request) {
		const { cells, plan } = await request.json();
		const kept = (this.ledger ??= (await this.storage.get("ledger")) ?? { arrival: 0, day: 0, spent: 0 });
		const now = Date.now();
		const day = Math.floor(now / 86_400_000);
		if (kept.day !== day) Object.assign(kept, { day, spent: 0 });
		const interval = 60_000 / plan.cells_per_minute;
		const left = Math.floor((plan.burst_cells * interval - Math.max(0, kept.arrival - now)) / interval);
		const granted = Math.max(0, Math.min(cells, left, plan.daily_cells - kept.spent));
		kept.arrival = Math.max(kept.arrival, now) + granted * interval;
		kept.spent += granted;
		await this.storage.put("ledger", kept);
		return Response.json({ cells: granted, daily: plan.daily_cells - kept.spent });
	}
}

const encoder = new TextEncoder();
const entries = new Map();
const records = new Map();
const leases = new Map();
const lookUps = new Map();
let config;

export default {
	async fetch(request, env, ctx) {
		const started = Date.now();
		config ??= await configure(env);
		const trace = {
			id: requestId(request.headers.get("x-request-id")),
			parent: traceparent(request.headers.get("traceparent")),
		};
		let answer;
		try {
			answer = await generate(request, env, ctx, started, trace);
		} catch (error) {
			if (!(error instanceof Problem)) throw error;
			answer = error.answer(trace);
		}
		answer.headers["server-timing"] = `edge;dur=${Date.now() - started}`;
		answer.headers["x-request-id"] = trace.id;
		answer.headers["traceparent"] = trace.parent;
		return new Response(answer.body, { status: answer.status, headers: answer.headers });
	},
};

class Problem extends Error {
	constructor(status, code, detail) {
		super(detail);
		Object.assign(this, { status, code });
	}

	answer(trace) {
		const body = { type: `/problems/${this.code}`, status: this.status, code: this.code, detail: this.message, request_id: trace.id };
		return { status: this.status, headers: { "content-type": "application/problem+json" }, body: JSON.stringify(body) };
	}
}

async function configure(env) {
	const keys = env.API_KEY_HASHES.split(",").filter(Boolean).map((entry) => entry.split("="));
	const [keyId, secret] = env.EDGE_SIGNING_KEY.split("=");
	const algorithm = { name: "HMAC", hash: "SHA-256" };
	const signingKey = await crypto.subtle.importKey("raw", Uint8Array.from(unhex(secret)), algorithm, false, ["sign"]);
	const seconds = (name) => Number(env[name]) * 1000;
	return {
		keys, keyId, signingKey,
		fresh: seconds("CACHE_FRESH_S"), revalidate: seconds("CACHE_STALE_WHILE_REVALIDATE_S"), error: seconds("CACHE_STALE_IF_ERROR_S"),
	};
}

async function generate(request, env, ctx, started, trace) {
	if (new URL(request.url).pathname !== GENERATE) throw new Problem(404, "not_found", "no such path");
	if (request.method !== "POST") throw new Problem(405, "method_not_allowed", "send a POST");
	const record = await authenticate(request, env, trace);
	const wanted = validate(await readJson(request));
	const canonical = JSON.stringify(wanted);
	const key = hex(await sha256(encoder.encode(`lede-caption/2\n${env.MODEL}\n2025-12\n${env.CACHE_EPOCH}\n${canonical}`)));
	const directives = request.headers.get("cache-control") ?? "";
	const found = directives.includes("no-cache") ? undefined : await lookUp(key, env, ctx);
	const now = Date.now();
	const fresh = found !== undefined && now < found.created + config.fresh;
	await charge(record, fresh ? CELLS_PER_HIT : CELLS_PER_VARIANT * wanted.variants, env);
	const keep = !directives.includes("no-store");
	const answer = fresh ? hit(found, key, started, now) : await forward({ request, env, ctx, trace, record }, { key, canonical, keep });
	describeQuota(record, answer.headers);
	return answer;
}

// What the origin says of a key is good for a while; then it is asked again.
async function authenticate(request, env, trace) {
	const authorization = request.headers.get("authorization");
	if (authorization === null || !/^bearer /i.test(authorization)) {
		throw new Problem(401, "missing_api_key", "send the key as Authorization: Bearer <API key>");
	}
	const hash = hex(await sha256(encoder.encode(authorization.slice(7).trim())));
	const { success } = await env.FLOOD_OF_KEYS.limit({ key: hash });
	if (!success) throw new Problem(429, "rate_limited", "too many requests with this API key");
	for (const [tenant, known] of config.keys) {
		if (equal(known, hash)) return { tenant, plan: STANDARD };
	}
	let kept = records.get(hash);
	if (kept === undefined || Date.now() - kept.learnt > 60_000) {
		kept = { learnt: Date.now(), record: await learn(hash, env, trace) };
		if (records.size >= RECORDS_MAX) records.delete(records.keys().next().value);
		records.set(hash, kept);
	}
	if (kept.record === null) throw new Problem(401, "invalid_api_key", "this API key is not known");
	return kept.record;
}

async function learn(hash, env, trace) {
	const path = `/internal/keys/${hash}`;
	const headers = await signature(["GET", path, new Uint8Array()], "tenant=lede-edge; priority=normal; epoch=0");
	headers["x-request-id"] = trace.id;
	const response = await fetch(env.ORIGINS + path, { headers, redirect: "manual", signal: AbortSignal.timeout(2000) });
	if (response.status === 404) return null;
	return response.json();
}

// Cells come out of a lease of this isolate; its tenant's Durable Object gives another when it does not reach.
async function charge(record, cells, env) {
	let lease = leases.get(record.tenant);
	if (lease === undefined || lease.left < cells) {
		const stub = env.QUOTA.get(env.QUOTA.idFromName(record.tenant));
		const asked = JSON.stringify({ cells: LEASE_CELLS, plan: record.plan });
		const granted = await (await stub.fetch("https://quota.invalid/", { method: "POST", body: asked })).json();
		if (granted.cells < cells) throw new Problem(429, "rate_limited", "the quota is used up");
		lease = { left: (lease?.left ?? 0) + granted.cells, daily: granted.daily };
		leases.set(record.tenant, lease);
	}
	lease.left -= cells;
}

function describeQuota({ tenant, plan }, headers) {
	const { burst_cells: burst, cells_per_minute: perMinute, daily_cells: daily } = plan;
	const lease = leases.get(tenant) ?? { left: burst, daily };
	const left = Math.min(lease.left, burst);
	const window = Math.max(1, Math.ceil((burst * 60) / perMinute));
	const whole = Math.ceil(((burst - left) * 60) / perMinute);
	const dayEnds = 86_400 - Math.floor(Date.now() / 1000) % 86_400;
	headers["ratelimit-policy"] = `"burst";q=${burst};w=${window}, "daily";q=${daily};w=86400`;
	headers.ratelimit = `"burst";r=${left};t=${whole}, "daily";r=${lease.daily};t=${dayEnds}`;
}

function equal(left, right) {
	let difference = left.length ^ right.length;
	for (let index = 0; index < left.length; index++) difference |= left.charCodeAt(index) ^ right.charCodeAt(index);
	return difference === 0;
}

async function readJson(request) {
	if (!/^application\/json\s*(;|$)/i.test(request.headers.get("content-type") ?? "")) {
		throw new Problem(415, "unsupported_media_type", "send application/json");
	}
	const declared = request.headers.get("content-length");
	if (declared === null || Number(declared) > BODY_BYTES_MAX) throw new Problem(413, "body_too_large", "the body is too long");
	try {
		return JSON.parse(await request.text());
	} catch {
		throw new Problem(400, "malformed_request", "the body is not JSON");
	}
}

function normalise(text) {
	return text.normalize("NFC").replace(BLANK, " ").trim();
}

// The fields in the order of the contract, defaults included: the canonical form.
function validate(body) {
	const invalid = (name) => new Problem(422, "invalid_fields", `/${name} is not what it should be`);
	if (typeof body !== "object" || body === null || Array.isArray(body)) throw invalid("");
	for (const name in body) {
		if (!(name in FIELDS)) throw invalid(name);
	}
	const valid = {};
	for (const name in FIELDS) {
		const { initial, read } = FIELDS[name];
		const value = body[name];
		const fit = value === undefined || value === null ? initial : read(value);
		if (fit === undefined) throw invalid(name);
		valid[name] = fit;
	}
	return valid;
}

const word = (words, initial) => ({ initial, read: (value) => (words.has(value) ? value : undefined) });
const integer = (initial, min, max) => ({
	initial, read: (value) => (Number.isInteger(value) && value >= min && value <= max ? value : undefined),
});
const text = (initial, max) => ({
	initial,
	read(value) {
		if (typeof value !== "string") return undefined;
		const clean = normalise(value);
		return clean.length > 0 && clean.length <= max ? clean : undefined;
	},
});
const list = (max, charsMax) => ({
	initial: [],
	read(value) {
		if (!Array.isArray(value) || value.length > max) return undefined;
		const clean = value.map(text(undefined, charsMax).read);
		return clean.includes(undefined) ? undefined : [...new Set(clean)];
	},
});
const FIELDS = {
	content_description: text(undefined, 2000),
	style: word(STYLES, "casual"),
	hashtag_count: integer(5, 0, 30),
	optimization_level: word(LEVELS, "balanced"),
	variants: integer(1, 1, 8),
	language: text("en", 35),
	emoji: word(EMOJI, "none"),
	call_to_action: word(CALLS, "none"),
	must_include: list(8, 60),
	banned_words: list(50, 40),
	brand_voice: text(null, 280),
	max_length: integer(null, 40, 2200),
	seed: integer(null, 0, Number.MAX_SAFE_INTEGER),
};

// Isolate, colo, Workers KV; what a slower tier has is kept in the faster ones.
async function lookUp(key, env, ctx) {
	const entry = entries.get(key);
	if (entry !== undefined) {
		entries.delete(key);
		entries.set(key, entry);
		return { ...entry, tier: "isolate" };
	}
	const near = await caches.default.match(coloUrl(key));
	if (near !== undefined) return keepInIsolate(key, { ...read(await near.text()), tier: "colo" });
	const far = await env.CAPTIONS.get(`yardstick:${key}`, { type: "text", cacheTtl: 60 });
	if (far === null) return undefined;
	ctx.waitUntil(writeColo(key, far));
	return keepInIsolate(key, { ...read(far), tier: "workers_kv" });
}

function coloUrl(key) {
	return `https://captions.invalid/${key}`;
}

function read(stored) {
	const end = stored.indexOf("\n");
	return split(Number(stored.slice(0, end)), stored.slice(end + 1));
}

// A hit has its own performance_metrics, which is the last field: the rest is kept as it came.
function split(created, body) {
	return { created, before: body.slice(0, body.lastIndexOf('"performance_metrics"')), body };
}

function keepInIsolate(key, entry) {
	if (entries.size >= ENTRIES_MAX) entries.delete(entries.keys().next().value);
	entries.set(key, entry);
	return entry;
}

function writeColo(key, stored) {
	const headers = { "content-type": "application/json", "cache-control": `max-age=${(config.fresh + config.error) / 1000}` };
	return caches.default.put(coloUrl(key), new Response(stored, { headers }));
}

function hit(found, key, started, now) {
	const ttl = Math.floor((found.created + config.fresh - now) / 1000);
	const metrics = `"performance_metrics":{"processing_time":${now - started}.0,"cache_hit":true,"cache_tier":"${found.tier}","queue_time":0.0,"tokens_per_second":null}}`;
	return answered(found.before + metrics, key, `lede-edge; hit; ttl=${ttl}; detail=${found.tier}`);
}

function answered(body, key, cacheStatus) {
	const headers = {
		"content-type": "application/json", etag: `W/"${key}"`, "cache-control": "no-store", "cache-status": cacheStatus,
	};
	return { status: 200, headers, body };
}

async function forward({ request, env, ctx, trace, record }, { key, canonical, keep }) {
	const now = Date.now();
	const timeout = Number(env.ORIGIN_TIMEOUT_MS);
	const body = encoder.encode(canonical);
	const headers = {
		...(await signature(["POST", GENERATE, body], `tenant=${record.tenant}; priority=normal; epoch=0`)),
		"content-type": "application/json",
		"x-deadline-ms": String(now + timeout),
		"x-request-id": trace.id,
		traceparent: trace.parent,
	};
	const cacheControl = request.headers.get("cache-control");
	if (cacheControl !== null) headers["cache-control"] = cacheControl;
	const init = { method: "POST", headers, body, redirect: "manual", signal: AbortSignal.timeout(timeout) };
	const response = await fetch(env.ORIGINS + GENERATE, init);
	if (response.status !== 200) throw new Problem(502, "bad_gateway", "the origin has no answer");
	if (Number(response.headers.get("content-length") ?? Infinity) > ANSWER_BYTES_MAX) {
		throw new Problem(502, "bad_gateway", "the origin's answer is too long");
	}
	const answer = await response.text();
	const content = JSON.parse(answer);
	if (typeof content.caption !== "string" || !Array.isArray(content.variants)) {
		throw new Problem(502, "bad_gateway", "the origin's answer is not of the contract");
	}
	const stored = keep && content.model === env.MODEL && content.policy_version === "2025-12";
	if (stored) store(key, now, answer, env, ctx);
	const origins = response.headers.get("cache-status");
	const ours = `lede-edge; fwd=uri-miss${stored ? "; stored" : ""}`;
	return answered(answer, key, origins === null ? ours : `${origins}, ${ours}`);
}

function store(key, created, answer, env, ctx) {
	keepInIsolate(key, split(created, answer));
	const stored = `${created}\n${answer}`;
	ctx.waitUntil(writeColo(key, stored));
	// Only what is asked for again is worth a write.
	const times = (lookUps.get(key) ?? 0) + 1;
	if (lookUps.size >= LOOK_UPS_MAX) lookUps.clear();
	lookUps.set(key, times);
	if (times >= POPULAR_AFTER) {
		const expirationTtl = (config.fresh + config.error) / 1000;
		ctx.waitUntil(env.CAPTIONS.put(`yardstick:${key}`, stored, { expirationTtl }));
	}
}

async function signature([method, path, body], claims) {
	const now = Date.now();
	const nonce = randomHex(16);
	const bodyHash = hex(await sha256(body));
	const message = `lede-signature/2\n${config.keyId}\n${method}\n${path}\n${bodyHash}\n${claims}\n${now}\n${nonce}\n`;
	const tag = await crypto.subtle.sign("HMAC", config.signingKey, encoder.encode(message));
	return {
		"x-lede-key-id": config.keyId, "x-lede-claims": claims, "x-lede-timestamp-ms": String(now), "x-lede-nonce": nonce,
		"x-lede-signature": `v2=${hex(tag)}`,
	};
}

function requestId(sent) {
	return sent !== null && /^[\w-]{8,64}$/.test(sent) ? sent : randomHex(16);
}

function traceparent(sent) {
	const sound = sent !== null && /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(sent);
	return sound ? sent : `00-${randomHex(16)}-${randomHex(8)}-00`;
}

function sha256(bytes) {
	return crypto.subtle.digest("SHA-256", bytes);
}

function randomHex(length) {
	return hex(crypto.getRandomValues(new Uint8Array(length)));
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(buffer) {
	let digits = "";
	for (const byte of buffer instanceof Uint8Array ? buffer : new Uint8Array(buffer)) digits += HEX[byte];
	return digits;
}

function unhex(digits) {
	return digits.match(/../g).map((pair) => Number.parseInt(pair, 16));
}

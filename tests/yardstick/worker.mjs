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

const encoder = new TextEncoder();
const entries = new Map();
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
	const keys = env.API_KEY_HASHES.split(",").map((entry) => entry.split("="));
	const [keyId, secret] = env.EDGE_SIGNING_KEY.split("=");
	const algorithm = { name: "HMAC", hash: "SHA-256" };
	const signingKey = await crypto.subtle.importKey("raw", Uint8Array.from(unhex(secret)), algorithm, false, ["sign"]);
	const tiers = new Set((env.YARDSTICK_TIERS ?? "isolate,colo,workers_kv").split(","));
	const seconds = (name) => Number(env[name]) * 1000;
	return {
		keys, keyId, signingKey, tiers,
		fresh: seconds("CACHE_FRESH_S"), revalidate: seconds("CACHE_STALE_WHILE_REVALIDATE_S"), error: seconds("CACHE_STALE_IF_ERROR_S"),
	};
}

async function generate(request, env, ctx, started, trace) {
	if (new URL(request.url).pathname !== GENERATE) throw new Problem(404, "not_found", "no such path");
	if (request.method !== "POST") throw new Problem(405, "method_not_allowed", "send a POST");
	const tenant = await authenticate(request.headers.get("authorization"));
	const wanted = validate(await readJson(request));
	const canonical = JSON.stringify(wanted);
	const key = hex(await sha256(encoder.encode(`lede-caption/2\n${env.MODEL}\n2025-12\n${env.CACHE_EPOCH}\n${canonical}`)));
	const directives = request.headers.get("cache-control") ?? "";
	const found = directives.includes("no-cache") ? undefined : await lookUp(key, env, ctx);
	const now = Date.now();
	if (found !== undefined && now < found.created + config.fresh) return hit(found, key, started, now);
	return forward({ request, env, ctx, trace, tenant }, { key, canonical, keep: !directives.includes("no-store") });
}

async function authenticate(authorization) {
	if (authorization === null || !/^bearer /i.test(authorization)) {
		throw new Problem(401, "missing_api_key", "send the key as Authorization: Bearer <API key>");
	}
	const hash = hex(await sha256(encoder.encode(authorization.slice(7).trim())));
	let tenant;
	for (const [name, known] of config.keys) {
		if (equal(known, hash)) tenant = name;
	}
	if (tenant === undefined) throw new Problem(401, "invalid_api_key", "this API key is not known");
	return tenant;
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
	if (config.tiers.has("isolate")) {
		const entry = entries.get(key);
		if (entry !== undefined) {
			entries.delete(key);
			entries.set(key, entry);
			return { ...entry, tier: "isolate" };
		}
	}
	if (config.tiers.has("colo")) {
		const stored = await caches.default.match(coloUrl(key));
		if (stored !== undefined) return keepInIsolate(key, { ...read(await stored.text()), tier: "colo" });
	}
	if (config.tiers.has("workers_kv")) {
		const stored = await env.CAPTIONS.get(`yardstick:${key}`, { type: "text", cacheTtl: 60 });
		if (stored !== null) {
			const entry = keepInIsolate(key, { ...read(stored), tier: "workers_kv" });
			if (config.tiers.has("colo")) ctx.waitUntil(writeColo(key, stored));
			return entry;
		}
	}
	return undefined;
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
	if (config.tiers.has("isolate")) {
		if (entries.size >= ENTRIES_MAX) entries.delete(entries.keys().next().value);
		entries.set(key, entry);
	}
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

async function forward({ request, env, ctx, trace, tenant }, { key, canonical, keep }) {
	const now = Date.now();
	const timeout = Number(env.ORIGIN_TIMEOUT_MS);
	const body = encoder.encode(canonical);
	const headers = {
		...(await signature(tenant, body, now)),
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
	if (config.tiers.has("colo")) ctx.waitUntil(writeColo(key, stored));
	if (config.tiers.has("workers_kv_writes")) {
		const expirationTtl = (config.fresh + config.error) / 1000;
		ctx.waitUntil(env.CAPTIONS.put(`yardstick:${key}`, stored, { expirationTtl }));
	}
}

async function signature(tenant, body, now) {
	const claims = `tenant=${tenant}; priority=normal; epoch=0`;
	const nonce = randomHex(16);
	const bodyHash = hex(await sha256(body));
	const message = `v2\nPOST\n${GENERATE}\n${bodyHash}\n${claims}\n${now}\n${nonce}`;
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

// The playground: one form, one request at a time, its answer as it is written.
//
// Everything a service says goes into the page as text, never as markup. The key stays in this tab: in the field and
// in the session's storage, not in the address and not in the command to copy.

const KEY = "lede_api_key";
const DESCRIPTION_CHARS_MAX = 2000;
const POST_CHARACTERS_MAX = 2200;
const POST_HASHTAGS_MAX = 5;
const COPIED_SHOWN_MS = 2000;
const PATH = "/api/v14/generate";
const TIERS = {
	isolate: "memory at the edge",
	colo: "this data centre's cache",
	workers_kv: "Workers KV",
	hot: "the origin's memory",
};

const find = (id) => document.getElementById(id);
const [form, result, description, key, generate, stop] =
	["form", "result", "description", "key", "generate", "stop"].map(find);
const number = new Intl.NumberFormat("en");

/** The request that is under way, if any, and what its answer is so far. */
let asking = null;
let answer = null;
let shown = 0;
let waiting = null;

// --- What is asked -------------------------------------------------------------------------------------------------

function request() {
	const values = new FormData(form);
	const integer = (name) => {
		const text = values.get(name).trim();
		return /^-?\d+$/.test(text) ? Number(text) : text || null;
	};
	return {
		content_description: description.value,
		style: values.get("style"),
		hashtag_count: integer("hashtag_count"),
		variants: integer("variants"),
		emoji: values.get("emoji"),
		call_to_action: values.get("call_to_action"),
		optimization_level: values.get("optimization_level"),
	};
}

function curl() {
	const body = JSON.stringify(request(), null, 2).replaceAll("'", "'\\''");
	return [
		`curl -N ${location.origin}${PATH} \\`,
		'  -H "authorization: Bearer $LEDE_API_KEY" \\',
		"  -H 'content-type: application/json' \\",
		"  -H 'accept: text/event-stream' \\",
		`  -d '${body}'`,
	].join("\n");
}

// --- Asking --------------------------------------------------------------------------------------------------------

async function ask() {
	if (asking || waiting) return;
	clearProblem();
	asking = new AbortController();
	const began = performance.now();
	answer = { drafts: [], variants: [], response: null, firstMs: null };
	shown = 0;
	enter("writing");
	say("Writing");
	try {
		const response = await fetch(PATH, {
			method: "POST",
			headers: {
				authorization: `Bearer ${key.value.trim()}`,
				"content-type": "application/json",
				accept: "text/event-stream, application/json",
			},
			body: JSON.stringify(request()),
			signal: asking.signal,
		});
		await receive(response, began);
		if (!answer.response) throw { title: "The answer broke off", detail: "The connection ended before the caption was complete. Try again." };
		finish(response.headers, performance.now() - began);
	} catch (failure) {
		fail(failure);
	} finally {
		asking = null;
	}
}

async function receive(response, began) {
	const type = response.headers.get("content-type") ?? "";
	if (!type.startsWith("text/event-stream")) {
		const body = await response.json().catch(() => ({}));
		if (!response.ok) throw problemOf(body, response);
		answer.response = body;
		answer.variants = body.variants;
		return;
	}
	for await (const { name, data } of events(response.body)) {
		answer.firstMs ??= performance.now() - began;
		take(name, JSON.parse(data), response);
	}
}

function take(name, data, response) {
	if (name === "draft") answer.drafts[data.variant] = (answer.drafts[data.variant] ?? "") + data.text;
	else if (name === "draft_reset") answer.drafts[data.variant] = "";
	else if (name === "variant") answer.variants[data.index] = data.variant;
	else if (name === "done") [answer.response, answer.variants] = [data, data.variants];
	else if (name === "error") throw problemOf(data, response);
	else return;
	show();
}

/** The events of a stream (the text/event-stream format of the HTML standard), as far as Lede uses it. */
async function* events(body) {
	let rest = "";
	const lines = { name: "message", data: [] };
	for await (const text of chunks(body)) {
		rest += text;
		let end;
		while ((end = rest.search(/\r\n|\n|\r(?!$)/)) >= 0) {
			const line = rest.slice(0, end);
			rest = rest.slice(end + (rest.startsWith("\r\n", end) ? 2 : 1));
			const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
			if (field === "event") lines.name = value;
			else if (field === "data") lines.data.push(value);
			else if (line === "" && lines.data.length) {
				yield { name: lines.name, data: lines.data.join("\n") };
				[lines.name, lines.data] = ["message", []];
			}
		}
	}
}

async function* chunks(body) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		yield value;
	}
}

const problemOf = (body, response) => ({
	title: body.title ?? `The service answered ${response.status}`,
	detail: body.detail ?? "It did not say why.",
	errors: body.errors ?? [],
	id: body.request_id ?? response.headers.get("x-request-id"),
	status: body.status ?? response.status,
	retryAfterS: Number(response.headers.get("retry-after") ?? body.retry_after_s ?? 0),
});

// --- Showing the answer --------------------------------------------------------------------------------------------

function enter(state) {
	const writing = state === "writing";
	result.dataset.state = state;
	result.setAttribute("aria-busy", writing);
	if (!writing && document.activeElement === stop) generate.focus();
	stop.hidden = !writing;
	generate.setAttribute("aria-disabled", writing || state === "limited");
	find("generate-label").textContent = writing ? "Writing…" : "Generate";
	find("outcome").hidden = state !== "done";
	find("warnings").hidden = true;
	if (writing) {
		find("scene").textContent = description.value;
		if (result.getBoundingClientRect().top > innerHeight) result.scrollIntoView({ behavior: scrolling() });
	}
	show();
}

function show() {
	const variant = answer?.variants[shown];
	const draft = answer?.drafts[shown] ?? "";
	const caption = variant?.caption ?? draft;
	const hook = variant?.hook ?? caption;
	const folded = hook.length < caption.length && find("more").getAttribute("aria-expanded") !== "true";
	find("hook").textContent = folded ? hook : caption;
	find("more").hidden = hook.length >= caption.length;
	find("more").textContent = folded ? "… more" : " less";
	find("caption").hidden = !caption && result.dataset.state !== "writing";
	find("empty").hidden = !find("caption").hidden;
	find("hashtags").hidden = folded || !variant?.hashtags.length;
	find("hashtags").textContent = variant?.hashtags.join(" ") ?? "";
	showTabs(Math.max(answer?.variants.length ?? 0, answer?.drafts.length ?? 0));
	find("characters").textContent = variant ? of(variant.counts.characters, POST_CHARACTERS_MAX) : "";
	find("hashtag-count").textContent = variant ? of(variant.counts.hashtags, POST_HASHTAGS_MAX) : "";
}

const of = (count, most) => `${number.format(count)} of ${number.format(most)}`;

function showTabs(count) {
	const tabs = find("variants-tabs");
	tabs.hidden = count < 2;
	while (tabs.children.length > count) tabs.lastChild.remove();
	while (tabs.children.length < count) {
		const [tab, index] = [document.createElement("button"), tabs.children.length];
		tab.type = "button";
		tab.textContent = index + 1;
		tab.setAttribute("aria-label", `Variant ${index + 1}`);
		tab.addEventListener("click", () => {
			shown = index;
			show();
		});
		tabs.append(tab);
	}
	[...tabs.children].forEach((tab, index) => tab.setAttribute("aria-pressed", index === shown));
}

function finish(headers, tookMs) {
	enter("done");
	const { warnings, performance_metrics: metrics } = answer.response;
	find("tier").textContent = tier(headers.get("cache-status") ?? "", metrics);
	find("took").textContent = took(headers.get("server-timing") ?? "", tookMs);
	const cells = quota(headers.get("ratelimit") ?? "");
	find("quota-fact").hidden = cells === null;
	find("quota").textContent = `${number.format(cells)} cells`;
	find("warnings").hidden = !warnings.length;
	find("warnings").replaceChildren(...warnings.map(({ detail }) => item(detail)));
	say(`Caption ready. ${find("characters").textContent} characters, ${find("hashtag-count").textContent} hashtags`);
}

function tier(cacheStatus, { cache_hit: hit, cache_tier: name }) {
	const lastHit = cacheStatus.split(",").findLast((member) => /;\s*hit\b/.test(member)) ?? "";
	const stale = Number(/ttl=(-?\d+)/.exec(lastHit)?.[1] ?? 0) < 0;
	const from = hit ? TIERS[name] ?? name ?? "a cache" : "the model, just now";
	return stale ? `${from} (stale, being renewed)` : from;
}

function took(serverTiming, tookMs) {
	const edgeMs = /(?:edge|total);dur=([\d.]+)/.exec(serverTiming)?.[1];
	const parts = [`${number.format(Math.round(tookMs))} ms`];
	if (answer.firstMs !== null) parts.push(`first words after ${number.format(Math.round(answer.firstMs))}`);
	if (edgeMs !== undefined) parts.push(`${number.format(Math.round(edgeMs))} at the edge`);
	return parts.join(", ");
}

/** The least that any of the policies leaves, if the answer tells. */
function quota(rateLimit) {
	const left = [...rateLimit.matchAll(/;\s*r=(\d+)/g)].map((match) => Number(match[1]));
	return left.length ? Math.min(...left) : null;
}

// --- Showing what went wrong ---------------------------------------------------------------------------------------

function fail(failure) {
	if (failure?.name === "AbortError") {
		enter(answer.drafts.some(Boolean) ? "stopped" : "empty");
		say("Stopped");
		return;
	}
	const unreachable = { title: "The service cannot be reached", detail: "Check your connection and try again." };
	const problem = failure?.title ? failure : unreachable;
	enter("problem");
	find("problem").hidden = false;
	find("problem-title").textContent = problem.title;
	find("problem-detail").textContent = problem.errors?.length ? "See what is marked." : problem.detail;
	find("problem-id").textContent = problem.id ? `request ${problem.id}` : "";
	const elsewhere = (problem.errors ?? []).filter((error) => !showAtField(error));
	find("problem-errors").replaceChildren(...elsewhere.map(({ pointer, detail }) => item(`${pointer} ${detail}`)));
	if (problem.status === 401 || problem.status === 403) mark(key, find("key-error"), problem.detail);
	form.querySelector("[aria-invalid=true]")?.focus();
	if (problem.retryAfterS > 0) wait(problem.retryAfterS);
}

/** Puts an error next to the field that its JSON pointer names. */
function showAtField({ pointer, detail }) {
	const name = pointer.split("/")[1] ?? "";
	const field = name === "content_description" ? description : form.elements[name];
	const place = find(name === "content_description" ? "description-error" : `${name}-error`);
	if (!field || !place) return false;
	if (field instanceof Element) {
		mark(field, place, detail);
		field.closest("details")?.setAttribute("open", "");
	} else place.textContent = detail;
	return true;
}

function mark(field, place, detail) {
	field.setAttribute("aria-invalid", "true");
	place.textContent = detail;
}

function clearProblem() {
	find("problem").hidden = true;
	for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
	for (const place of form.querySelectorAll(".error")) place.textContent = "";
}

/** Counts down where the eyes are; ears are told at the beginning and at the end. */
function wait(seconds) {
	const until = Date.now() + seconds * 1000;
	const tick = () => {
		const left = Math.ceil((until - Date.now()) / 1000);
		if (left <= 0) {
			clearInterval(waiting);
			waiting = null;
			enter("problem");
			say("You can try again now");
			return;
		}
		find("generate-label").textContent = `Try again in ${left} s`;
	};
	enter("limited");
	say(`Try again in ${seconds} seconds`);
	waiting = setInterval(tick, 250);
	tick();
}

// --- Small things --------------------------------------------------------------------------------------------------

const scrolling = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth");
const say = (text) => (find("status").textContent = text);

function item(text) {
	const entry = document.createElement("li");
	entry.textContent = text;
	return entry;
}

async function copy(button, text) {
	const label = button.dataset.label ??= button.textContent;
	const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
	button.textContent = copied ? "Copied" : "Copying is not allowed here";
	say(button.textContent);
	setTimeout(() => (button.textContent = label), COPIED_SHOWN_MS);
}

function refresh() {
	const length = [...description.value].length;
	find("description-count").textContent = `${number.format(length)} of ${number.format(DESCRIPTION_CHARS_MAX)}`;
	find("curl").textContent = curl();
}

/** `#key=…` is a way to hand somebody a key; it must not stay in the address or the history. */
function takeKey() {
	const handed = new URLSearchParams(location.hash.slice(1)).get("key");
	if (handed) {
		sessionStorage.setItem(KEY, handed);
		history.replaceState(null, "", location.pathname + location.search);
	}
	key.value = sessionStorage.getItem(KEY) ?? "";
}

form.addEventListener("submit", (event) => {
	event.preventDefault();
	ask();
});
form.addEventListener("input", refresh);
document.addEventListener("keydown", (event) => {
	if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
	else if (event.key === "Escape") asking?.abort();
});
for (const idea of document.querySelectorAll("[data-idea]")) {
	idea.addEventListener("click", () => {
		description.value = idea.dataset.idea;
		refresh();
		description.focus();
	});
}
stop.addEventListener("click", () => asking?.abort());
key.addEventListener("input", () => sessionStorage.setItem(KEY, key.value.trim()));
find("show-key").addEventListener("click", ({ currentTarget: button }) => {
	const visible = key.type === "password";
	key.type = visible ? "text" : "password";
	button.setAttribute("aria-pressed", visible);
});
find("more").addEventListener("click", ({ currentTarget: button }) => {
	button.setAttribute("aria-expanded", button.getAttribute("aria-expanded") !== "true");
	show();
});
find("copy").addEventListener("click", ({ currentTarget: button }) => copy(button, answer.variants[shown].post_text));
find("copy-curl").addEventListener("click", ({ currentTarget: button }) => copy(button, find("curl").textContent));
const tellOffline = () => (find("offline").hidden = navigator.onLine);
addEventListener("online", tellOffline);
addEventListener("offline", tellOffline);
addEventListener("hashchange", takeKey);
takeKey();
tellOffline();
refresh();

// The playground as a person uses it, against the real edge and the real origin.
import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, test } from "node:test";
import { apiKey, faults, launch, url } from "./browser.mjs";

const PHONE = { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true };
let browser, context, page, complaints;

before(async () => (browser = await launch()));
after(() => browser.close());
afterEach(async () => {
	assert.deepEqual(complaints, [], "the browser's console has complaints");
	await context.close();
});
beforeEach(() => open());

async function open(options = {}, path = `/#key=${apiKey}`) {
	await context?.close();
	context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...options });
	page = await context.newPage();
	complaints = [];
	page.on("pageerror", (error) => complaints.push(error.message));
	page.on("console", (line) => line.type() === "error" && !/status of (4|5)\d\d/.test(line.text()) && complaints.push(line.text()));
	await page.goto(url + path);
}

const state = (name) => page.waitForSelector(`#result[data-state=${name}]`);
const text = (selector) => page.locator(selector).innerText();

async function generate(description) {
	await page.fill("#description", description);
	await page.click("#generate");
}

test("a key in the address is taken and removed from it at once", async () => {
	assert.equal(page.url(), `${url}/`);
	assert.equal(await page.inputValue("#key"), apiKey);
	await page.goto(`${url}/`);
	assert.equal(await page.inputValue("#key"), apiKey, "kept for this tab");
	assert.equal(await page.getAttribute("#key", "type"), "password");
	await page.click("#show-key");
	assert.equal(await page.getAttribute("#key", "type"), "text");
	assert.ok(!(await text("#as-curl")).includes(apiKey));
	assert.deepEqual(await faults(page, "empty"), []);
});

test("a caption is written, previewed and copied, with where it came from and how long it took", async () => {
	await page.fill("#description", "Beautiful sunset over the ocean");
	await page.check("text=inspirational", { force: true });
	await page.click("#generate");
	await state("done");
	const caption = await page.evaluate(() => document.getElementById("hook").textContent);
	assert.ok(caption.length > 20, caption);
	assert.match(await text("#characters"), /^\d+ of 2,200$/);
	assert.equal(await text("#hashtag-count"), "5 of 5");
	assert.match(await text("#tier"), /the model|Workers KV|origin|edge|data centre/);
	assert.match(await text("#took"), /^[\d,]+ ms/);
	assert.match(await text("#status"), /^Caption ready/);
	assert.deepEqual(await faults(page, "done"), []);
	await page.click("#copy");
	await page.waitForSelector("#copy:text('Copied')");
	const copied = await page.evaluate(() => navigator.clipboard.readText());
	assert.ok(copied.startsWith(caption) && copied.includes("\n\n#"), copied);
});

test("the same again comes from a cache and says from which", async () => {
	await generate("A ferry at dawn");
	await state("done");
	await page.waitForTimeout(500);
	await page.click("#generate");
	await page.waitForFunction(() => !document.getElementById("tier").innerText.includes("the model"));
	assert.match(await text("#tier"), /Workers KV|edge|data centre/);
});

test("several variants can be looked through, with the keyboard alone", async () => {
	await page.focus("#description");
	await page.keyboard.type("Fresh sourdough from our bakery");
	await page.click("summary:text('More')");
	await page.fill("#variants", "3");
	await page.selectOption("#call_to_action", "comment");
	await page.focus("#description");
	await page.keyboard.press("Control+Enter");
	await state("done");
	const captions = new Set();
	for (const tab of await page.locator("#variants-tabs button").all()) {
		await tab.focus();
		await page.keyboard.press("Enter");
		assert.equal(await tab.getAttribute("aria-pressed"), "true");
		captions.add(await text("#caption"));
	}
	assert.equal(captions.size, 3);
	assert.deepEqual(await faults(page, "variants"), []);
});

test("a fault is told next to its field, and the field has the focus", async () => {
	await page.click("summary:text('More')");
	await page.fill("#variants", "9");
	await generate("");
	await state("problem");
	assert.match(await text("#variants-error"), /from 1 to 8/);
	assert.match(await text("#description-error"), /1 to 2,?000 characters|required/);
	assert.equal(await page.evaluate(() => document.activeElement.id), "description");
	assert.equal(await page.getAttribute("#variants", "aria-invalid"), "true");
	assert.match(await text("#problem-id"), /^request [0-9a-f-]{16,}/);
	assert.deepEqual(await faults(page, "problem"), []);
	await page.fill("#variants", "1");
	await generate("A ferry at dawn");
	await state("done");
	assert.equal(await page.locator("[aria-invalid=true]").count(), 0);
});

test("a key that is not known is told at the key", async () => {
	await page.fill("#key", "lede_test_ffffffffffffffffffffffffffffffff");
	await generate("A ferry at dawn");
	await state("problem");
	assert.equal(await text("#problem-title"), "The API key is not known");
	assert.equal(await page.evaluate(() => document.activeElement.id), "key");
	assert.deepEqual(await faults(page, "unknown-key"), []);
});

test("over the quota it counts down and can be tried again afterwards", async () => {
	const problem = { type: "urn:lede:problem:rate_limited", title: "The quota is used up", status: 429, code: "rate_limited", detail: "your quota is used up", retryable: true, retry_after_s: 3, request_id: "0123456789abcdef" };
	const headers = { "content-type": "application/problem+json", "retry-after": "3" };
	await page.route("**/generate", (route) => route.fulfill({ status: 429, headers, body: JSON.stringify(problem) }), { times: 1 });
	await generate("A ferry at dawn");
	await state("limited");
	assert.match(await text("#generate"), /^Try again in [123] s/);
	assert.equal(await page.getAttribute("#generate", "aria-disabled"), "true");
	assert.deepEqual(await faults(page, "limited"), []);
	await page.waitForSelector("#generate[aria-disabled=false]");
	await page.click("#generate");
	await state("done");
});

test("writing can be stopped", async () => {
	await page.route("**/generate", async (route) => {
		await new Promise((resolve) => setTimeout(resolve, 5000));
		await route.abort().catch(() => {});
	});
	await generate("A ferry at dawn");
	await state("writing");
	assert.deepEqual(await faults(page, "writing"), []);
	await page.click("#stop");
	await state("empty");
	assert.equal(await page.evaluate(() => document.activeElement.id), "generate");
});

test("words appear as they are streamed, and a draft that is void goes", async () => {
	const done = { ...(await answer()), caption: "The end." };
	const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
	const body = [
		": a remark\n\n",
		event("start", { id: "cap", model: "m", variants: 1 }),
		event("draft", { variant: 0, text: "Wrong" }),
		event("draft_reset", { variant: 0 }),
		event("draft", { variant: 0, text: "Right" }),
		event("later_invention", {}),
		event("done", done),
	].join("");
	await page.route("**/generate", (route) => route.fulfill({ status: 200, headers: { "content-type": "text/event-stream" }, body }));
	const seen = page.evaluate(() => new Promise((resolve) => {
		const texts = [];
		const hook = document.getElementById("hook");
		new MutationObserver(() => texts.push(hook.textContent)).observe(hook, { childList: true, characterData: true, subtree: true });
		setTimeout(() => resolve(texts), 1500);
	}));
	await generate("A ferry at dawn");
	await state("done");
	const texts = await seen;
	assert.ok(texts.indexOf("Wrong") >= 0 && texts.indexOf("Right") > texts.indexOf("Wrong"), texts.join(" | "));
	assert.equal(texts.at(-1), done.variants[0].hook);
});

test("without a connection it says so", async () => {
	await context.setOffline(true);
	await page.waitForSelector("#offline:not([hidden])");
	await generate("A ferry at dawn");
	await state("problem");
	assert.equal(await text("#problem-title"), "The service cannot be reached");
	assert.deepEqual(await faults(page, "offline"), []);
	complaints = complaints.filter((line) => !/ERR_INTERNET_DISCONNECTED/.test(line));
});

for (const [name, options] of [["phone", PHONE], ["dark", { colorScheme: "dark" }], ["phone-dark", { ...PHONE, colorScheme: "dark" }]]) {
	test(`it can be read and used: ${name}`, async () => {
		await open(options);
		await generate("My dog asleep on the sofa after a long walk in the rain");
		await state("done");
		await page.click("#as-curl summary");
		const sideways = await page.evaluate((width) => document.documentElement.scrollWidth - width, page.viewportSize().width);
		assert.ok(sideways <= 0, `${sideways} px too wide`);
		assert.deepEqual(await faults(page, name), []);
	});
	test(`the documentation can be read: ${name}`, async () => {
		await open(options, "/docs");
		const sideways = await page.evaluate((width) => document.documentElement.scrollWidth - width, page.viewportSize().width);
		assert.ok(sideways <= 0, `${sideways} px too wide`);
		assert.deepEqual(await faults(page, `docs-${name}`), []);
	});
}

test("the documentation leads somewhere with every link of its own", async () => {
	await open({}, "/docs");
	const lost = await page.evaluate(() => [...document.querySelectorAll("a[href^='#']")].map((link) => link.hash).filter((hash) => !document.getElementById(hash.slice(1))));
	assert.deepEqual(lost, []);
	assert.deepEqual(await faults(page, "docs"), []);
});

test("a page is small, asks nobody else, and is there at once", async () => {
	const asked = [];
	page.on("request", (request) => asked.push(request.url()));
	await page.reload();
	const { bytes, paintMs } = await page.evaluate(async () => {
		const paint = await new Promise((resolve) => new PerformanceObserver((list) => resolve(list.getEntries().at(-1))).observe({ type: "largest-contentful-paint", buffered: true }));
		const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
		return { bytes: entries.reduce((sum, entry) => sum + entry.decodedBodySize, 0), paintMs: paint.startTime };
	});
	assert.deepEqual(asked.filter((address) => !address.startsWith(url)), []);
	assert.ok(bytes < 60_000, `${bytes} bytes`);
	console.log(`playground: ${bytes} bytes before compression, largest paint after ${Math.round(paintMs)} ms`);
});

async function answer() {
	const response = await fetch(`${url}/api/v14/generate`, {
		method: "POST",
		headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
		body: JSON.stringify({ content_description: "A ferry at dawn" }),
	});
	return response.json();
}

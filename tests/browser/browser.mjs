// A Chromium for the suites: what is unpacked in LEDE_CHROMIUM, started with its own libraries and fonts.
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const axe = require.resolve("axe-core/axe.min.js");
const { LEDE_CHROMIUM: folder, LEDE_SCREENSHOTS: screenshots } = process.env;
export const { LEDE_URL: url, LEDE_API_KEY: apiKey } = process.env;
/** Of a page that is longer, only what a window shows: a software renderer has no larger surface. */
const SCREENSHOT_HEIGHT_MAX = 8000;
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

mkdirSync(screenshots, { recursive: true });

export const launch = () =>
	chromium.launch({
		executablePath: join(folder, "chromium"),
		args: ["--no-sandbox", "--disable-gpu", "--no-zygote", "--font-render-hinting=none"],
		env: {
			...process.env,
			LD_LIBRARY_PATH: join(folder, "al2023", "lib"),
			FONTCONFIG_PATH: join(folder, "fonts"),
		},
	});

/** The accessibility faults of a page as it stands, in words; the picture is for people to look at. */
export async function faults(page, name) {
	const height = await page.evaluate(() => document.documentElement.scrollHeight);
	await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: height <= SCREENSHOT_HEIGHT_MAX });
	// The page's own policy would refuse a script that is not its own; this one is the test's.
	await page.evaluate(require("node:fs").readFileSync(axe, "utf8"));
	const { violations } = await page.evaluate((rules) => window.axe.run({ runOnly: rules }), RULES);
	return violations.flatMap(({ id, help, nodes }) => nodes.map(({ target }) => `${id}: ${help} (${target.join(" ")})`));
}

// Unpacks the Chromium of @sparticuz/chromium, with the libraries and fonts that it needs, into the folder that
// TMPDIR names: `chromium`, `al2023/lib`, `fonts`.
process.env.AWS_LAMBDA_JS_RUNTIME = "nodejs22.x";
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();

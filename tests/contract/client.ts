import createClient from "openapi-fetch";
import type { components, paths } from "./lede.d.ts";

declare const process: { argv: string[] };

const [, , baseUrl, apiKey] = process.argv;
const lede = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${apiKey}` } });

const style: components["schemas"]["Style"] = "playful";
const { data } = await lede.POST("/api/v14/generate", {
	body: { content_description: "My dog asleep on the sofa", style, variants: 2 },
});
if (!data || typeof data === "string") throw new Error("no caption");
const captions: string[] = data.variants.map((variant) => variant.caption);
console.log(`caption: ${captions.join(" | ")}`);

const { error } = await lede.POST("/api/v14/generate", { body: { content_description: "My dog", variants: 9 } });
console.log(`refused: ${error?.errors?.map(({ pointer }) => pointer).join()}`);

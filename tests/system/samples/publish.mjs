// Checks docs/samples/layout.mjs: first by the vectors, then it publishes each line of its input to a real Redis.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Publisher, parsed, partitionOf, prefixOf, streamOf } from "../../../docs/samples/layout.mjs";

const { createClient } = createRequire(import.meta.url)("redis");
const [url, file] = process.argv.slice(2);
const vectors = JSON.parse(readFileSync(file, "utf8"));
const wrong = [];
for (const { app, partition } of vectors.apps)
  for (const [partitions, expected] of Object.entries(partition))
    if (partitionOf({ partitions: Number(partitions), spread: [] }, app) !== expected) wrong.push([app, partitions]);
for (const { app, channel, partition } of vectors.channels)
  for (const [partitions, expected] of Object.entries(partition))
    if (partitionOf({ partitions: Number(partitions), spread: [app] }, app, channel) !== expected) wrong.push([app, channel]);
const spread = parsed(JSON.stringify(vectors.spread.layout));
for (const { app, channel, stream } of vectors.spread.streams)
  if (streamOf(spread, app, false, channel) !== stream) wrong.push([app, channel, stream]);
const layout = parsed(JSON.stringify(vectors.layout));
for (const { app, inlet, own, pressure } of vectors.streams) {
  const found = [streamOf(layout, app), streamOf(layout, app, true), `${prefixOf(layout, app)}pressure`];
  if (String(found) !== String([inlet, own, pressure])) wrong.push(found);
}
if (streamOf(parsed(null), "demo") !== "carillon:events") wrong.push("without a layout");
console.log(JSON.stringify({ wrong }));

const redis = createClient({ url });
await redis.connect();
const publisher = new Publisher(redis);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(await publisher.publish(JSON.parse(line)).catch((fault) => `fault: ${fault.message}`));
}
await redis.quit();

// APNs by Node's http2, for tests: answers each notification as mix.py says. Ends with its standard input.
//   node server.mjs CERTIFICATE KEY   prints its port, then at the end of its input an account in JSON

import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const EPOCH = 1_700_000_000_000;
const WAITS = 3600;
const REASONS = ["BadDeviceToken", "DeviceTokenNotForTopic", "BadCollapseId", null];
const account = { requests: 0, mixed: 0, connections: 0 };

function letters(number) {
  return [...String(number)].map((digit) => "abcdefghij"[digit]).join("");
}

function reply(number) {
  const kind = (number * 19) % 100;
  if (kind < 60) return [200];
  if (kind < 75) return [410, { reason: "Unregistered", timestamp: EPOCH + number }];
  if (kind < 85) return [400, { reason: REASONS[number % 4] ?? `Bad${letters(number)}` }];
  if (kind < 93) return [429, { reason: "TooManyRequests" }, number % WAITS];
  return [503, { reason: "ServiceUnavailable" }, number % WAITS];
}

function answer(stream, headers, payload) {
  const number = parseInt(headers[":path"].slice("/3/device/".length), 16);
  const agree = parseInt(headers["apns-id"].slice(-12), 16) === number && JSON.parse(payload).number === number;
  account.requests += 1;
  account.mixed += agree ? 0 : 1;
  const [status, document, retryAfter] = agree ? reply(number) : [400, { reason: "Mixed" }];
  const fields = { ":status": status, "apns-id": headers["apns-id"] };
  if (retryAfter !== undefined) fields["retry-after"] = String(retryAfter);
  stream.respond(fields, { endStream: document === undefined });
  if (document !== undefined) stream.end(JSON.stringify(document));
}

const [certificate, key] = process.argv.slice(2).map((path) => readFileSync(path));
const server = createSecureServer({ cert: certificate, key, settings: { maxConcurrentStreams: 500 } });
server.on("session", () => (account.connections += 1));
server.on("stream", (stream, headers) => {
  const parts = [];
  stream.on("error", () => {});
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => answer(stream, headers, Buffer.concat(parts)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => {
  console.log(JSON.stringify(account));
  process.exit(0);
});

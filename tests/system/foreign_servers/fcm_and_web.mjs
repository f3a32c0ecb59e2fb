// FCM and all push services by Node's http2, for tests: answers as fcm_and_web.py says. Ends with its standard input.
//   node fcm_and_web.mjs CERTIFICATE KEY BROWSERS   prints its port, then at the end of its input an account in JSON
//   BROWSERS: [[private key, shared secret], ...] in JSON, both in base64url

import { createDecipheriv, createECDH, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const account = { requests: 0, distinct: 0, mixed: 0 };
const WAITS = 3600;
const seen = new Set();
const browsers = JSON.parse(process.argv[4]).map(([key, auth]) => {
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(Buffer.from(key, "base64url"));
  return { pair, auth: Buffer.from(auth, "base64url") };
});

function letters(number) {
  return [...String(number)].map((digit) => "abcdefghij"[digit]).join("");
}

function hmac(key, ...parts) {
  return parts.reduce((made, part) => made.update(part), createHmac("sha256", key)).digest();
}

// RFC 8291
function decrypted({ pair, auth }, body) {
  const [salt, point, text] = [body.subarray(0, 16), body.subarray(21, 86), body.subarray(86)];
  const ikm = hmac(hmac(auth, pair.computeSecret(point)), "WebPush: info\0", pair.getPublicKey(), point, "\x01");
  const prk = hmac(salt, ikm);
  const key = hmac(prk, "Content-Encoding: aes128gcm\0\x01").subarray(0, 16);
  const nonce = hmac(prk, "Content-Encoding: nonce\0\x01").subarray(0, 12);
  const decipher = createDecipheriv("aes-128-gcm", key, nonce).setAuthTag(text.subarray(-16));
  const padded = Buffer.concat([decipher.update(text.subarray(0, -16)), decipher.final()]);
  return JSON.parse(padded.subarray(0, padded.lastIndexOf(2)));
}

function numbersOfFcm(body) {
  const { token, android } = JSON.parse(body).message;
  return [parseInt(token.slice(6, 22), 10), parseInt(android.data.id.slice(-12), 16), Number(android.data.badge)];
}

function numbersOfWeb(headers, body) {
  const number = parseInt(headers[":path"].slice("/wpush/".length), 10);
  return [number, parseInt(headers.topic, 10), decrypted(browsers[number % browsers.length], body).app_badge];
}

function fcm(number) {
  const kind = (number * 19) % 100;
  if (kind < 60) return [200, { name: `projects/p/messages/${number}` }];
  if (kind < 75) return [404, error("UNREGISTERED"), { "retry-after": String(number % WAITS) }];
  if (kind < 85) return [400, error("INVALID_ARGUMENT", `message.n${number}`)];
  return [503, error("UNAVAILABLE"), { "retry-after": String(number % WAITS) }];
}

function error(code, field) {
  const types = "type.googleapis.com/google";
  const details = [{ "@type": `${types}.firebase.fcm.v1.FcmError`, errorCode: code }];
  if (field) details.push({ "@type": `${types}.rpc.BadRequest`, fieldViolations: [{ field }] });
  return { error: { details } };
}

function web(number) {
  const kind = (number * 19) % 100;
  if (kind < 60) return [201, undefined, { location: `/m/${number}` }];
  if (kind < 75) return [410, { reason: `Gone${letters(number)}` }];
  if (kind < 85) return [404, { reason: `Bad${letters(number)}` }];
  return [503, undefined, { "retry-after": String(number % WAITS) }];
}

function answer(stream, headers, body) {
  const isFcm = headers[":path"].startsWith("/v1/projects/");
  const numbers = isFcm ? numbersOfFcm(body) : numbersOfWeb(headers, body);
  const agree = numbers.every((one) => one === numbers[0]);
  account.requests += 1;
  account.mixed += agree ? 0 : 1;
  account.distinct = seen.add(numbers[0]).size;
  const [status, document, fields] = !agree ? [400] : isFcm ? fcm(numbers[0]) : web(numbers[0]);
  stream.respond({ ":status": status, ...fields }, { endStream: document === undefined });
  if (document !== undefined) stream.end(JSON.stringify(document));
}

const [certificate, key] = process.argv.slice(2, 4).map((path) => readFileSync(path));
const server = createSecureServer({ cert: certificate, key, settings: { maxConcurrentStreams: 100 } });
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

// The chat server's half of the peer: expands from its own memory, and adds one job a message with BullMQ's `addBulk`.
//
// node publisher.cjs SOCKET CHANNELS: reads events, one JSON document a line, from connections to a Unix socket. CHANNELS is a
// JSON file: {channel: {name, tokens: {user: token}}}.
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const readline = require("node:readline");
const { Queue } = require("bullmq");
const Redis = require("ioredis");

const [socket, channelsFile] = process.argv.slice(2);
// As many as a publisher of Carillon sends in one call.
const BULK = 200;
const OPTIONS = { removeOnComplete: true, removeOnFail: 1000, attempts: 5, backoff: { type: "exponential", delay: 1000 } };

const channels = JSON.parse(fs.readFileSync(channelsFile, "utf8"));
const connection = new Redis(process.env.PEER_REDIS_URL, { maxRetriesPerRequest: null });
const queue = new Queue("peer", { connection });
const gone = new Set();
const news = connection.duplicate();
news.subscribe("peer:gone");
news.on("message", (_, token) => gone.add(token));

function jobOf(event) {
  const channel = channels[event.channel.id];
  const tokens = [];
  for (const [user, token] of channel.tokens) {
    if (user !== event.sender.id && !gone.has(token)) tokens.push(token);
  }
  const data = {
    title: event.sender.name,
    subtitle: channel.name,
    body: event.message.text,
    thread: event.channel.id,
    event: event.id,
    message: event.message.id,
    expires: Math.floor(Date.parse(event.at) / 1000) + 3600,
    tokens,
  };
  return { name: "push", data, opts: OPTIONS };
}

for (const channel of Object.values(channels)) channel.tokens = Object.entries(channel.tokens);

async function take(stream) {
  let waiting = [];
  const add = async () => {
    const jobs = waiting.map(jobOf).filter((job) => job.data.tokens.length);
    const count = waiting.length;
    waiting = [];
    if (jobs.length) await queue.addBulk(jobs);
    await connection.incrby("peer:published", count);
  };
  for await (const line of readline.createInterface({ input: stream })) {
    if (line) waiting.push(JSON.parse(line));
    // An empty line ends a call of the benchmark's publisher.
    if (waiting.length === BULK || (!line && waiting.length)) await add();
  }
}

net.createServer(take).listen(socket);

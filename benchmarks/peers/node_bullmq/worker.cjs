// One of the peer's worker processes: takes jobs from BullMQ and sends each to its devices with @parse/node-apn.
//
// A device that is gone is reported to the chat server. What was refused for the time being, or not answered, is tried again by
// the job's next attempt.
"use strict";

const apn = require("@parse/node-apn");
const { Worker } = require("bullmq");
const Redis = require("ioredis");

const environment = process.env;
const CONCURRENCY = Number(environment.PEER_CONCURRENCY);
const PASSING = new Set([408, 429, 500, 502, 503, 504]);

const provider = new apn.Provider({
  token: { key: environment.PEER_KEY, keyId: environment.PEER_KEY_ID, teamId: environment.PEER_TEAM },
  address: environment.PEER_HOST,
  port: Number(environment.PEER_PORT),
  ca: environment.PEER_CA,
  production: true,
});
const connection = new Redis(environment.PEER_REDIS_URL, { maxRetriesPerRequest: null });
const news = connection.duplicate();

function notificationOf(data) {
  const note = new apn.Notification();
  note.topic = environment.PEER_TOPIC;
  note.pushType = "alert";
  note.priority = 10;
  note.expiry = data.expires;
  note.collapseId = data.message;
  note.alert = data.subtitle
    ? { title: data.title, subtitle: data.subtitle, body: data.body }
    : { title: data.title, body: data.body };
  note.sound = "default";
  note.threadId = data.thread;
  note.mutableContent = true;
  note.payload = { carillon: { event: data.event, message: data.message, channel: data.thread } };
  return note;
}

async function push(job) {
  const { failed } = await provider.send(notificationOf(job.data), job.data.tokens);
  const again = [];
  for (const one of failed) {
    if (one.status === 410 || one.status === "410") await news.publish("peer:gone", one.device);
    else if (one.error || PASSING.has(Number(one.status))) again.push(one.device);
    else await connection.incr("peer:refused");
  }
  if (again.length) {
    await connection.incrby("peer:repeated", again.length);
    await job.updateData({ ...job.data, tokens: again });
    throw new Error("some are tried again");
  }
}

const worker = new Worker("peer", push, { connection, concurrency: CONCURRENCY });
worker.on("error", (fault) => console.error(fault));
process.on("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});

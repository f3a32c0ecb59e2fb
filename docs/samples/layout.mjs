// Publishes an event to its partition, with the package `redis` (node-redis). docs/contract.md has the rules.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

/** The layout that `GET carillon:layout` answered; null: none is there, so there is one partition without a tag. */
export function parsed(value) {
  if (value === null) return { generation: 1, partitions: 1, tags: [], closed: false, spread: [] };
  const { generation, partitions, tags, closed = false, spread = [], ...more } = JSON.parse(value);
  const unknown = Object.keys(more);
  if (unknown.length) throw new Error(`carillon:layout has ${unknown}: it is of a later release, update this program`);
  return { generation, partitions, tags, closed, spread };
}

const OF_CHANNELS = new Set([
  ...["channel.read", "channel.updated", "member.added", "member.removed", "members.replaced"],
  ...["message.deleted", "message.new", "message.updated", "ptt.speaking"],
]);

/** The channel that an event is about; null: none, it goes to the app's home. Only for spread apps it makes a difference. */
export function channelOf(event) {
  return OF_CHANNELS.has(event.type) ? event.channel.id : null;
}

/** The number of the partition that the app lives in, or a channel of it. */
export function partitionOf(layout, app, channel = null) {
  const hashed = channel !== null && layout.spread.includes(app) ? `${app}\0${channel}` : app;
  return createHash("sha256").update(hashed, "utf8").digest().readUInt32BE(0) % layout.partitions;
}

/** What the names of the keys of that partition begin with. */
export function prefixOf(layout, app, channel = null) {
  return layout.tags.length ? `carillon:{${layout.tags[partitionOf(layout, app, channel)]}}:` : "carillon:";
}

export function streamOf(layout, app, own = false, channel = null) {
  const inlet = `${prefixOf(layout, app, channel)}events`;
  return own || layout.spread.includes(app) ? `${inlet}:${app}` : inlet;
}

export class Publisher {
  #layout;
  #until = 0;

  /** `redis`: a connected client. `timeout`: milliseconds that a call waits while the partitions are changed. */
  constructor(redis, { timeout = 5000, own = false } = {}) {
    Object.assign(this, { redis, timeout, own });
  }

  /** Puts the event on its stream; returns the entry's id. It may be published again: its `id` makes that harmless. */
  async publish(event) {
    const ends = Date.now() + this.timeout;
    for (;;) {
      const layout = await this.#read();
      if (!layout.closed) {
        try {
          const stream = streamOf(layout, event.app, this.own, channelOf(event));
          return await this.redis.xAdd(stream, "*", { event: JSON.stringify(event) });
        } catch (fault) {
          // The stream was closed with the layout of before; nothing was written.
          if (!String(fault.message).startsWith("WRONGTYPE")) throw fault;
        }
      }
      this.#until = 0;
      if (Date.now() > ends) throw new Error("the partitions are being changed: publish the event again");
      await sleep(100);
    }
  }

  async #read() {
    if (Date.now() >= this.#until) {
      this.#layout = parsed(await this.redis.get("carillon:layout"));
      this.#until = Date.now() + 2000;
    }
    return this.#layout;
  }
}

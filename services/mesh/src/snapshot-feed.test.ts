import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { SnapshotFeed } from "./snapshot-feed.ts";

const nothing = { version: 0n, sha256: new Uint8Array() };

function snapshot(version: bigint, mark = Number(version)): mesh.Snapshot {
  return create(mesh.SnapshotSchema, { version, sha256: new Uint8Array([mark]) });
}

function reader(feed: SnapshotFeed, known: { version: bigint; sha256: Uint8Array } = nothing) {
  const end = new AbortController();
  const stream = feed.follow(known, end.signal);
  const next = async () => (await stream.next()).value as mesh.Snapshot;
  return { next, end };
}

describe("the snapshot feed", () => {
  test("sends the newest at once, then each newer one, the same object to everybody", async () => {
    const feed = new SnapshotFeed();
    feed.publish(snapshot(1n));
    const [one, two] = [reader(feed), reader(feed)];
    const first = await one.next();
    expect(await two.next()).toBe(first);
    const later = one.next();
    feed.publish(snapshot(2n));
    expect((await later).version).toBe(2n);
  });

  test("makes readers wait for the first snapshot, or says why there will be none", async () => {
    const feed = new SnapshotFeed();
    const waiting = reader(feed).next();
    feed.publish(snapshot(1n));
    expect((await waiting).version).toBe(1n);
    const broken = new SnapshotFeed();
    const disappointed = reader(broken).next();
    broken.fail(new HmsError("INTERNAL", "no table"));
    await expect(disappointed).rejects.toMatchObject({ message: "no table" });
  });

  test("gives slow readers only the newest", async () => {
    const feed = new SnapshotFeed();
    feed.publish(snapshot(1n));
    const slow = reader(feed);
    await slow.next();
    for (let version = 2n; version <= 50n; version += 1n) feed.publish(snapshot(version));
    expect((await slow.next()).version).toBe(50n);
  });

  test("does not repeat what the reader knows", async () => {
    const feed = new SnapshotFeed();
    feed.publish(snapshot(7n));
    const next = reader(feed, { version: 7n, sha256: new Uint8Array([7]) }).next();
    feed.publish(snapshot(8n));
    expect((await next).version).toBe(8n);
  });

  test("sends its own to readers from another history: ahead of it, or with another content", async () => {
    const feed = new SnapshotFeed();
    feed.publish(snapshot(7n));
    expect((await reader(feed, { version: 99n, sha256: new Uint8Array() }).next()).version).toBe(7n);
    expect((await reader(feed, { version: 7n, sha256: new Uint8Array([1]) }).next()).version).toBe(7n);
  });

  test("never goes back", async () => {
    const feed = new SnapshotFeed();
    feed.publish(snapshot(3n));
    feed.publish(snapshot(2n));
    expect(feed.newest?.version).toBe(3n);
  });

  test("lets a reader go when its signal aborts", async () => {
    const feed = new SnapshotFeed();
    feed.publish(snapshot(1n));
    const { next, end } = reader(feed);
    await next();
    const waiting = next();
    end.abort(new HmsError("CANCELLED", "gone"));
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

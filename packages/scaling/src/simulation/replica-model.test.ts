import { expect, test } from "vitest";
import { ReplicaModel } from "./replica-model.ts";

const abilities = { requestsPerSecond: 100, serviceSeconds: 0.1, startSeconds: 3, patienceSeconds: 10 };

test("what one replica can do is there at once for its service time, and nothing waits", () => {
  expect(new ReplicaModel(abilities, 2).second(100)).toEqual({
    concurrency: 10,
    cpu: 0.5,
    ready: 2,
    waiting: 0,
    lost: 0,
  });
});

test("what comes beyond that waits, counts as being there, and leaves when its patience is over", () => {
  const model = new ReplicaModel(abilities, 1);
  expect(model.second(300)).toMatchObject({ concurrency: 110, cpu: 1, waiting: 200, lost: 0 });
  const seconds = Array.from({ length: 10 }, () => model.second(300));
  expect(seconds.at(-1)).toMatchObject({ waiting: 1000, lost: 200 });
});

test("a new replica takes requests after its start, one that is let go none at once", () => {
  const model = new ReplicaModel(abilities, 1);
  model.scaleTo(2);
  expect([1, 2, 3, 4].map(() => model.second(0).ready)).toEqual([1, 1, 1, 2]);
  model.scaleTo(1);
  expect(model.second(0).ready).toBe(1);
});

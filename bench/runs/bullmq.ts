import { FlowProducer, type Job, Queue, QueueEvents, Worker } from "bullmq";
import { askFor, Count, timed } from "./callers.ts";
import type { ContenderFolder, RunContender } from "./contender.ts";
import { startRedis } from "./redis.ts";

const STEPS_AT_ONCE = 100;
const JOB = { removeOnComplete: true } as const;

/** BullMQ on Redis; caller and worker are one process. Null: there is no Redis. */
export async function openBullMq({ folder }: ContenderFolder): Promise<RunContender | null> {
  const redis = await startRedis(folder);
  if (!redis) return null;
  await using stack = new AsyncDisposableStack();
  stack.defer(() => redis.stop());
  // What is asked for while Redis is away would wait for ever otherwise.
  const connection = { host: "127.0.0.1", port: redis.port, maxRetriesPerRequest: null };
  const closing = <T extends { close(): Promise<unknown> }>(owned: T): T =>
    stack.adopt(owned, async () => void (await owned.close()));
  const queue = closing(new Queue("jobs", { connection }));
  const flows = closing(new FlowProducer({ connection }));
  const events = closing(new QueueEvents("jobs", { connection }));
  await events.waitUntilReady();
  const count = new Count();
  let began = 0;
  const noop = async () => {
    began = performance.now();
  };
  const worker = closing(new Worker("jobs", noop, { connection, concurrency: STEPS_AT_ONCE }));
  worker.on("completed", () => count.add());
  await worker.waitUntilReady();
  const play = (flow: Parameters<FlowProducer["add"]>[0]) =>
    timed(async () => {
      const { job } = await flows.add(flow);
      await (job as Job).waitUntilFinished(events);
    });
  const step = { name: "step", queueName: "jobs" } as const;
  const owned = stack.move();
  return {
    version: `BullMQ 6.7.0, ${STEPS_AT_ONCE} steps at once, Redis with appendfsync everysec; one process`,
    drain: (jobs) =>
      timed(async () => {
        const all = count.next(jobs);
        await askFor(jobs, () => queue.add("job", {}, JOB));
        await all;
      }),
    startLatencies: async (jobs) => {
      const found: number[] = [];
      for (let n = 0; n < jobs; n += 1) {
        const one = count.next(1);
        const from = performance.now();
        await queue.add("job", {}, JOB);
        await one;
        found.push(began - from);
      }
      return found;
    },
    // A job comes after its children: the first step is the innermost.
    chain: (steps) => {
      let flow: Parameters<FlowProducer["add"]>[0] = step;
      for (let n = 1; n < steps; n += 1) flow = { ...step, children: [flow] };
      return play(flow);
    },
    fanOut: (steps) => play({ ...step, children: Array.from({ length: steps }, () => step) }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

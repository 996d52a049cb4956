import { agent } from "@hms/contracts";
import { componentPrincipal, HmsError, implement, Kernel, type ServiceImplementation } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { createProcessRuntime } from "./process-runtime.ts";

type Agent = ServiceImplementation<typeof agent.AgentService>;

/** The runtime on an agent that answers as scripted. */
function runtimeOn(own: Partial<Agent>) {
  const who = componentPrincipal("test");
  const kernel = new Kernel({
    identity: { authenticate: () => who },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record() {} },
  });
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const all = Object.fromEntries(agent.AgentService.methods.map((method) => [method.localName, unused]));
  kernel.register(implement(agent.AgentService, { ...all, ...own } as Agent));
  return createProcessRuntime(kernel.client(agent.AgentService, who));
}

const away = () => new HmsError("UNAVAILABLE", "The agent restarts.");
const release = { environment: "default", service: "a", digest: `sha256:${"ab".repeat(32)}` };

describe("the process runtime", () => {
  test("waits for an agent that restarts", async () => {
    let calls = 0;
    const runtime = runtimeOn({
      startReplica: ({ spec }) => {
        calls += 1;
        if (calls < 3) throw away();
        return { replica: { spec: spec as agent.ReplicaSpec, port: 20_000 } };
      },
    });
    expect(await runtime.startReplica({ replicaId: "default/a/1/1-x" })).toMatchObject({ port: 20_000 });
    expect(calls).toBe(3);
  });

  test("tells of replicas that vanished while the agent was away", async () => {
    let watches = 0;
    const end = new AbortController();
    const runtime = runtimeOn({
      async *watchReplicas() {
        watches += 1;
        for (const replicaId of watches === 1 ? ["a", "b"] : ["b"]) yield { replica: { spec: { replicaId } } };
        yield { synced: true };
        if (watches === 1) throw away();
        await new Promise(() => {});
      },
    });
    const seen: string[] = [];
    for await (const { replica, removed, synced } of runtime.watchReplicas(end.signal)) {
      seen.push(synced ? "synced" : `${replica?.spec?.replicaId}${removed ? " removed" : ""}`);
      if (seen.length === 6) break;
    }
    end.abort();
    expect(seen).toEqual(["a", "b", "synced", "b", "a removed", "synced"]);
  });

  test("knows a release that is not there any more from an agent that is not", async () => {
    const missing = new HmsError("FAILED_PRECONDITION", "It is not on this machine.", { reason: "RELEASE_MISSING" });
    const answering = (error?: HmsError) =>
      runtimeOn({
        async *runTask() {
          if (error) throw error;
          yield { event: { case: "exit", value: { code: 0 } } } as never;
        },
      });
    const { signal } = new AbortController();
    expect(await answering().hasRelease(release, signal)).toBe(true);
    expect(await answering(missing).hasRelease(release, signal)).toBe(false);
    await expect(answering(away()).hasRelease(release, signal)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

import type { deployment } from "@hms/contracts";
import type { Client } from "@hms/kernel";
import { waitFor } from "@hms/testkit";

/** Waits until a step of this title is under way in the rollout that runs of the service echo. */
export async function stepUnderWay(client: Client<typeof deployment.DeploymentService>, title: RegExp): Promise<void> {
  const end = new AbortController();
  const running = async () => {
    const { service } = await client.getService({ environment: "default", service: "echo" });
    return service?.rolloutId || undefined;
  };
  try {
    const rolloutId = await waitFor(running, { describe: "a rollout" });
    for await (const { event } of client.watchRollout({ rolloutId }, { signal: end.signal })) {
      if (event.case === "stepStarted" && title.test(event.value.title)) return;
      if (event.case === "ended") throw new Error(`it ended before ${title}`);
    }
  } finally {
    end.abort();
  }
}

import { setTimeout as pause } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";

const PAUSE_MS = 1000;

/** Who is followed, and what is done with it. */
interface Following {
  readonly mesh: Pick<Client<typeof mesh.MeshService>, "watchSnapshots">;
  readonly signal: AbortSignal;
  /** Hears of each picture; may take its time. */
  readonly changed: (content: mesh.SnapshotContent) => Promise<void>;
  readonly failed: (failure: HmsError) => void;
}

/** Follows the mesh until the signal aborts, whether it comes or goes; while it is away the last picture holds. */
export async function followMesh(following: Following): Promise<void> {
  const { signal, failed } = following;
  while (!signal.aborted) {
    try {
      await followOnce(following);
    } catch (error) {
      const failure = HmsError.from(error);
      // A mesh that is away, or not there yet, is no news.
      if (!signal.aborted && failure.code !== "UNAVAILABLE") failed(failure);
    }
    await pause(PAUSE_MS, undefined, { signal, ref: false }).catch(() => {});
  }
}

async function followOnce({ mesh: client, signal, changed }: Following): Promise<void> {
  const request = { nodeId: "registry", observer: true };
  for await (const { snapshot } of client.watchSnapshots(request, { signal })) {
    if (snapshot) await changed(fromBinary(mesh.SnapshotContentSchema, snapshot.content));
  }
}

import { HmsError } from "@hms/kernel";
import { EffectFailedError, type EffectHandler } from "./effect-scene.ts";

/** Starts replicas; those that run already are left as they are. */
export const startReplicas: EffectHandler = async ({ parts, effect, signal }) => {
  await Promise.all(
    effect.ids.map(async (id) => {
      try {
        await parts.replicas.start(id);
      } catch (error) {
        const { code, message } = HmsError.from(error);
        if (signal.aborted || code === "UNAVAILABLE" || code === "DEADLINE_EXCEEDED") throw error;
        const remedy = "Mend what the message says, then try again.";
        throw new EffectFailedError({
          reason: `Replica ${id} could not be started: ${message}`,
          remedy,
          replicaId: id,
        });
      }
    }),
  );
  return {};
};

/** Ends replicas; resolves when nothing of them is left. */
export const stopReplicas: EffectHandler = async ({ parts, state, effect, signal }) => {
  const deleteLogs = state.kind === "remove";
  const stopped = Promise.all(effect.ids.map((id) => parts.replicas.stop(id, deleteLogs)));
  await Promise.race([stopped, aborted(signal)]);
  return {};
};

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Takes the service out of the mesh. */
export const unregisterService: EffectHandler = async ({ parts, state, signal }) => {
  await parts.traffic.remove(state, signal);
  return {};
};

/** Deletes logs and releases of a service that is removed. */
export const forgetService: EffectHandler = async ({ parts, state }) => {
  const { environment, service } = state;
  const ids = await parts.replicaIds(state);
  for (const id of ids) await parts.runtime.stopReplica(id, { deleteLogs: true });
  await parts.runtime.pruneReleases({ environment, service, keepDigests: [] });
  return {};
};

import { type IdentitySource, Kernel, type ServiceRegistration } from "@hms/kernel";
import { createPartIdentity } from "@hms/parts";
import { type FrameServer, serveFrames } from "@hms/wire";
import type { HostAnswer, HostQuestion, HostScene } from "./host-messages.ts";

/** Opens the services of a scene in the host; the stack ends with the scene. */
export type OpenHosted = (
  options: never,
  stack: AsyncDisposableStack,
) => readonly ServiceRegistration[] | Promise<readonly ServiceRegistration[]>;

/** The main function of a program that hosts services for tests, one scene after another or side by side. */
export function hostServices(open: OpenHosted): void {
  const scenes = new Map<number, AsyncDisposableStack>();
  const answer = async (question: HostQuestion): Promise<HostAnswer> => {
    const { id } = question;
    try {
      if (question.scene === undefined) {
        await scenes.get(id)?.disposeAsync();
        return { id };
      }
      const stack = new AsyncDisposableStack();
      scenes.set(id, stack);
      const { address } = await openScene(question.scene, open, stack);
      return { id, address };
    } catch (error) {
      return { id, failure: String(error instanceof Error ? error.stack : error) };
    }
  };
  process.on("message", async (question: HostQuestion) => process.send?.(await answer(question)));
  // Whoever asked for this process has gone.
  process.on("disconnect", () => process.exit());
}

async function openScene(scene: HostScene, open: OpenHosted, stack: AsyncDisposableStack): Promise<FrameServer> {
  const { address, tls, key, part, options } = scene;
  const registrations = await open(options as never, stack);
  const identity = createPartIdentity({ key: Buffer.from(key, "hex"), parts: [part], installation: "test" });
  const kernel = knownMay(identity, registrations);
  const identities = tls && { key: () => tls.key, cert: () => tls.cert, ca: () => tls.ca };
  const server = await serveFrames(kernel, { address, graceMs: 500, ...(identities ? { tls: identities } : {}) });
  return stack.use(server);
}

/** A kernel in which every known principal may do everything. */
export function knownMay(identity: IdentitySource, registrations: readonly ServiceRegistration[]): Kernel {
  const kernel = new Kernel({
    identity,
    policy: {
      decide: ({ principal }) =>
        principal.kind === "anonymous" ? { allowed: false, reason: "nobody known" } : { allowed: true },
    },
    audit: { accepts: true, record: () => {} },
  });
  for (const registration of registrations) kernel.register(registration);
  return kernel;
}

import { anonymous, HmsError, implement, Kernel, type ServiceImplementation } from "@hms/kernel";
import type { EchoContract } from "./echo-contract.ts";

/** What an instance does with the methods that a test is about. */
export type EchoHandlers = Partial<ServiceImplementation<EchoContract>>;

/** The kernel of an instance that everybody may call; methods without a handler are UNIMPLEMENTED. */
export function kernelOf(contract: EchoContract, own: EchoHandlers): Kernel {
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const all = Object.fromEntries(contract.methods.map(({ localName }) => [localName, unused]));
  kernel.register(implement(contract, { ...all, ...own } as ServiceImplementation<EchoContract>));
  return kernel;
}

/** There are as many as methods; what callers name otherwise is not remembered. */
const MOST = 2000;
const known = new Map<string, string>();

const kebab = (name: string) => name.replace(/(?<=[a-z0-9])[A-Z]|(?<!^)[A-Z](?=[a-z])/g, "-$&").toLowerCase();

/**
 * The code of an event by its method: the contract's domain, the service if it is called differently, what was done.
 * "hms.sys.deployment.v1.DeploymentService/Deploy" is "deployment.deploy", "hms.identity.v1.KeyService/CreateKey"
 * "identity.key.create-key". It is as stable as the contract's names are.
 */
export function eventCode(method: string): string {
  const before = known.get(method);
  if (before !== undefined) return before;
  const [, domain = "", service = "", deed = ""] = /(\w+)(?:\.v\d+\w*)?\.(\w+)\/(\w+)$/.exec(method) ?? [];
  const subject = kebab(service.replace(/(?<=.)Service$/, ""));
  const code = deed === "" ? "" : [domain, ...(subject === domain ? [] : [subject]), kebab(deed)].join(".");
  if (known.size < MOST) known.set(method, code);
  return code;
}

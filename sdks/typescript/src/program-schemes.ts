import { type ChannelSchemes, connectSchemes, frameSchemes, preferring } from "@hms/direct-calls";
import type { TlsIdentity } from "@hms/wire";
import { readConfigFile } from "./config-file.ts";
import { disabledSchemes, type Settings, tlsOf } from "./settings.ts";

/** Who this program is over TLS; undefined if it has no certificate. */
export function tlsIdentity({ tls }: Pick<Settings, "tls">): (TlsIdentity & { expectedId?: string }) | undefined {
  if (tls === undefined) return undefined;
  const { key, cert, ca, expectedId } = tls;
  return { key: () => key, cert: () => cert, ca: () => ca, ...(expectedId === undefined ? {} : { expectedId }) };
}

type SchemeSettings = Pick<Settings, "tls" | "transport" | "disabled">;

/** How a program with these settings calls instances by their addresses. */
export function schemesOf(settings: SchemeSettings, codec: "protobuf" | "json"): ChannelSchemes {
  const tls = tlsIdentity(settings);
  const all = { ...frameSchemes({ codec, ...(tls ? { tls } : {}) }), ...connectSchemes() };
  const enabled = Object.entries(all).filter(([name]) => !settings.disabled.includes(name));
  return preferring(Object.fromEntries(enabled), settings.transport);
}

/**
 * How a program with this configuration file calls instances; without one, as any program does.
 * @throws HmsError as `readConfigFile` does
 */
export function configuredSchemes(configPath: string | undefined): ChannelSchemes {
  const { transport = {} } = configPath === undefined ? {} : readConfigFile(configPath);
  const settings = {
    tls: tlsOf(transport.tls),
    transport: transport.default ?? "auto",
    disabled: disabledSchemes(transport),
  };
  return schemesOf(settings, "protobuf");
}

import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hostEnvironment, type InstanceNetwork } from "@hms/config";

/** Where all installations of a test run look for the ports and addresses of others. */
const places = () => join(hostEnvironment().stateHome, "hms-sys");

/** Keeps an installation's ports and addresses from all others of this test run, also while it is stopped. */
export function keepPlace(instance: string, network: InstanceNetwork): void {
  mkdirSync(join(places(), instance), { recursive: true });
  writeFileSync(join(places(), instance, "network.json"), JSON.stringify(network));
}

/** Gives them back. */
export function leavePlace(instance: string): void {
  rmSync(join(places(), instance), { recursive: true, force: true });
}

/** A state folder at another path, in which installations see the others of this test run, and are seen by them. */
export function linkStateHome(stateHome: string): string {
  mkdirSync(stateHome, { recursive: true });
  symlinkSync(places(), join(stateHome, "hms-sys"));
  return stateHome;
}

import type { Configuration, Provider } from "oidc-provider";

type Features = NonNullable<Configuration["features"]>;

/** The parts of the device flow that show pages. */
export type DeviceFlowFeature = Required<NonNullable<Features["deviceFlow"]>>;

/** A client as pages get to see it. */
export type Client = Parameters<NonNullable<DeviceFlowFeature["userCodeConfirmSource"]>>[2];

/** An authorization that waits for a person. */
export type Interaction = Awaited<ReturnType<Provider["interactionDetails"]>>;

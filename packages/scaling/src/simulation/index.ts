export { rushPlot, withFigures } from "./comparison-page.ts";
export { comparePolicies } from "./policy-comparison.ts";

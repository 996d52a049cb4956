import { styleText } from "node:util";

type Paint = (text: string) => string;

/** Colours for words; every state is also a word or a sign, never a colour alone. */
export interface Painter {
  good: Paint;
  bad: Paint;
  warn: Paint;
  dim: Paint;
  strong: Paint;
}

/** Paints, or leaves every text as it is. */
export function createPainter(enabled: boolean): Painter {
  const paint = (style: Parameters<typeof styleText>[0]): Paint =>
    enabled ? (text) => styleText(style, text, { validateStream: false }) : (text) => text;
  return { good: paint("green"), bad: paint("red"), warn: paint("yellow"), dim: paint("dim"), strong: paint("bold") };
}

/** Amounts as objects write them: `256Mi`, `1Gi`, `500M`, or plain bytes. */
const FACTORS: Record<string, number> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
};

/** In bytes; null where it is no amount. */
export function quantity(text: string | number | null | undefined): number | null {
  if (text === null || text === undefined) return null;
  if (typeof text === 'number') return text;
  const found = /^(\d+(?:\.\d+)?)\s*([kMGT]|[KMGT]i)?B?$/.exec(text.trim());
  const factor = FACTORS[found?.[2] ?? ''];
  return found === null || factor === undefined ? null : Number(found[1]) * factor;
}

/** Addresses that links may lead to: nothing but the web, whatever data says. */
export function isWeb(url: string | null | undefined): url is string {
  if (url == null) return false;
  try {
    return ['http:', 'https:'].includes(new URL(url).protocol);
  } catch {
    return false;
  }
}

/** Where an app will be reached, as far as other apps' addresses tell how. */
export function expectedAddress(app: string, domain: string, others: readonly (string | null | undefined)[]): string {
  const known = others.find(isWeb);
  if (known === undefined) return `http://${app}.${domain}`;
  const { protocol, port } = new URL(known);
  return `${protocol}//${app}.${domain}${port === '' ? '' : `:${port}`}`;
}

/** An address without its scheme, as people read it. */
export function shortAddress(url: string): string {
  return url.replace(/^https?:\/\//, '').replace(/\/$/, '');
}

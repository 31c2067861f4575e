// Puts FILE.br and FILE.gz beside each file of the build that gets smaller by it: the platform serves them as they are.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const folder = new URL('../dist/', import.meta.url).pathname;
/** What is compressed already. */
const PACKED = /\.(woff2|png|jpg|br|gz)$/;

for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (!entry.isFile() || PACKED.test(path)) continue;
  const bytes = readFileSync(path);
  const packed = {
    br: brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } }),
    gz: gzipSync(bytes, { level: 9 }),
  };
  for (const [suffix, content] of Object.entries(packed)) {
    if (content.length < bytes.length) writeFileSync(`${path}.${suffix}`, content);
  }
}

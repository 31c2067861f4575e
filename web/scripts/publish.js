// Puts FILE.br and FILE.gz beside each file of the build that gets smaller by it, because the platform serves them as
// they are, and then the whole in the place of the build before: one that is ended half-way leaves that.
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const place = new URL('../dist', import.meta.url).pathname;
const folder = `${place}.new`;
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

rmSync(place, { recursive: true, force: true });
renameSync(folder, place);

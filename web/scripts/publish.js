// Puts FILE.br and FILE.gz beside each file of the build that gets smaller by it, because the platform serves them as
// they are, and then the whole in the place of the build before: one that is ended half-way leaves that.
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const place = new URL('../dist', import.meta.url).pathname;
const folder = `${place}.new`;
/** The most bytes of code, compressed, that somebody waits for before the first page: 250 kB. */
const FIRST_LOAD = 250_000;
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

const index = readFileSync(join(folder, 'index.html'), 'utf8');
const first = [...index.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)].map(([, file]) => join(folder, file));
const sent = first.map((file) => statSync(existsSync(`${file}.br`) ? `${file}.br` : file).size);
const bytes = sent.reduce((sum, size) => sum + size, 0);
process.stdout.write(`code of the first page: ${bytes} bytes\n`);
if (first.length === 0 || bytes > FIRST_LOAD) {
  process.stderr.write(`that is none, or more than ${FIRST_LOAD}: load what is heavy on demand\n`);
  process.exit(1);
}

rmSync(place, { recursive: true, force: true });
renameSync(folder, place);

/**
 * The files of a ZIP archive, each opened on its own.
 *
 * Theory of operation: the directory at the archive's end (APPNOTE 4.3.12) tells all names, sizes and places; a file's
 * bytes are cut out of the archive and inflated as they are read, so that no more than a piece of it is in memory.
 * Archives with passwords, in parts, of more than 4 GiB, or with other methods than deflate are refused in words.
 */
import { BadSource, type Gathered, MOST_FILES, type SourceFile } from './source_files';
import { isNever } from './source_ignore';

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const MOST_COMMENT = 65_535;
const FULL_32 = 0xffffffff;
/** An archive does not unpack to more. */
const MOST_BYTES = 8 * 1024 ** 3;

interface Entry {
  path: string;
  method: number;
  compressed: number;
  size: number;
  offset: number;
  mode: number | undefined;
  modified: Date | undefined;
}

const broken = (why: string) => new BadSource(`This is no ZIP archive that can be read: ${why}.`);

/** The files of an archive, without the folder that all of them are in, if there is one. */
export async function openZip(archive: Blob, name: string): Promise<Gathered> {
  const entries = await directory(archive);
  const strip = commonTop(entries.map(({ path }) => path));
  const files: SourceFile[] = [];
  const leftOut: string[] = [];
  for (const entry of entries) {
    const path = entry.path.slice(strip.length);
    if (path.split('/').some(isNever) || path.startsWith('__MACOSX/')) leftOut.push(path);
    else files.push({ ...entry, path, open: () => opened(archive, entry) });
  }
  if (files.length > MOST_FILES) {
    throw new BadSource(`The archive has more than ${MOST_FILES.toLocaleString()} files.`);
  }
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  if (bytes > MOST_BYTES) throw new BadSource('The archive unpacks to more than 8 GiB.');
  return { name, files, bytes, leftOut: leftOut.slice(0, 50), leftOutCount: leftOut.length, by: null };
}

/** The folder that all paths are in, with its slash; empty when there is none. */
export function commonTop(paths: readonly string[]): string {
  const real = paths.filter((path) => !path.startsWith('__MACOSX/'));
  const slash = real[0]?.indexOf('/') ?? -1;
  if (slash < 0) return '';
  const top = real[0]?.slice(0, slash + 1) ?? '';
  return real.every((path) => path.startsWith(top)) ? top : '';
}

async function directory(archive: Blob): Promise<Entry[]> {
  const tailAt = Math.max(0, archive.size - END_BYTES - MOST_COMMENT);
  const tail = await view(archive, tailAt, archive.size);
  let end = tail.byteLength - END_BYTES;
  while (end >= 0 && tail.getUint32(end, true) !== END) end -= 1;
  if (end < 0) throw broken('its end is missing');
  const count = tail.getUint16(end + 10, true);
  const size = tail.getUint32(end + 12, true);
  const at = tail.getUint32(end + 16, true);
  if (at === FULL_32 || size === FULL_32 || count === 0xffff) {
    throw new BadSource('ZIP archives of this size are not read here. Make it a .tar.gz, or drop the folder itself.');
  }
  if (at + size > archive.size) throw broken('its directory lies outside of it');
  const all = await view(archive, at, at + size);
  const entries: Entry[] = [];
  for (let place = 0, n = 0; n < count; n += 1) {
    if (place + ENTRY_BYTES > all.byteLength || all.getUint32(place, true) !== ENTRY) {
      throw broken('its directory is damaged');
    }
    const [nameLength, extra, comment] = [28, 30, 32].map((field) => all.getUint16(place + field, true)) as [
      number,
      number,
      number,
    ];
    const next = place + ENTRY_BYTES + nameLength + extra + comment;
    if (next > all.byteLength) throw broken('its directory is damaged');
    const entry = entryAt(all, place, nameLength);
    if (entry !== undefined) entries.push(entry);
    place = next;
  }
  if (entries.length === 0) throw new BadSource('There are no files in this archive.');
  return entries;
}

/** Undefined for a folder, and for what is no file. */
function entryAt(all: DataView, place: number, nameLength: number): Entry | undefined {
  const flags = all.getUint16(place + 8, true);
  const method = all.getUint16(place + 10, true);
  const bytes = new Uint8Array(all.buffer, all.byteOffset + place + ENTRY_BYTES, nameLength);
  const path = new TextDecoder(flags & 0x800 ? 'utf-8' : 'windows-1252').decode(bytes).replaceAll('\\', '/');
  if (path.endsWith('/')) return undefined;
  const names = path.split('/');
  if (path.startsWith('/') || names.some((name) => name === '..' || name === '')) {
    throw new BadSource(`The archive has a file with the path ${path}, which would lead out of the source.`);
  }
  if ((flags & 1) !== 0) throw new BadSource('The archive is protected by a password. Unpack it and drop the folder.');
  if (method !== 0 && method !== 8) {
    throw new BadSource('The archive is compressed in a way that is not read here. Unpack it and drop the folder.');
  }
  const unix = all.getUint16(place + 4, true) >> 8 === 3 ? all.getUint32(place + 38, true) >>> 16 : 0;
  const kind = unix & 0o170000;
  // Links and devices.
  if (kind !== 0 && kind !== 0o100000) return undefined;
  return {
    path: names.filter((name) => name !== '.').join('/'),
    method,
    compressed: all.getUint32(place + 20, true),
    size: all.getUint32(place + 24, true),
    offset: all.getUint32(place + 42, true),
    mode: unix === 0 ? undefined : (unix & 0o111) !== 0 ? 0o755 : 0o644,
    modified: undefined,
  };
}

function opened(archive: Blob, entry: Entry): ReadableStream<Uint8Array> {
  let inner: ReadableStreamDefaultReader<Uint8Array> | undefined;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      inner ??= (await bytesOf(archive, entry)).getReader();
      const { done, value } = await inner.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel(reason) {
      await inner?.cancel(reason);
    },
  });
}

async function bytesOf(archive: Blob, entry: Entry): Promise<ReadableStream<Uint8Array>> {
  const local = await view(archive, entry.offset, entry.offset + LOCAL_BYTES);
  if (local.byteLength < LOCAL_BYTES || local.getUint32(0, true) !== LOCAL)
    throw broken('a file is not where it should be');
  const begin = entry.offset + LOCAL_BYTES + local.getUint16(26, true) + local.getUint16(28, true);
  const bytes = archive.slice(begin, begin + entry.compressed).stream();
  return entry.method === 0 ? bytes : bytes.pipeThrough(new DecompressionStream('deflate-raw'));
}

async function view(archive: Blob, from: number, to: number): Promise<DataView> {
  return new DataView(await archive.slice(from, to).arrayBuffer());
}

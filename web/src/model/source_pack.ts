/**
 * Packing a source's files into what the platform takes: a tar, compressed with gzip.
 *
 * Theory of operation: files are read, packed and compressed piece by piece, each stage waiting for the next. What
 * comes out is gathered in blobs, which browsers keep on disk when they are large.
 */
import { createTarDecoder, createTarPacker, type TarHeader } from 'modern-tar';
import { BadSource, type Gathered, type SourceFile } from './source_files';
import { isNever } from './source_ignore';
import { commonTop } from './source_zip';

/** Pieces are put into a blob from so many bytes on. */
const PIECE = 4 * 1024 * 1024;
/** Scripts are found by their first bytes, in files up to this size: browsers do not tell what may be executed. */
const SCRIPT = 1024 * 1024;

export interface PackOptions {
  signal: AbortSignal;
  /** Bytes of files that are packed. */
  onBytes?: (bytes: number) => void;
}

/** Packs files. */
export async function pack({ files }: Pick<Gathered, 'files'>, options: PackOptions): Promise<Blob> {
  const { readable, controller } = createTarPacker();
  const compressed = gathered(readable.pipeThrough(gzip()), options.signal);
  // Told by `write` below, which fails with it.
  compressed.catch(() => undefined);
  try {
    let packed = 0;
    for (const file of files) {
      options.signal.throwIfAborted();
      const header: TarHeader = {
        name: file.path,
        size: file.size,
        type: 'file',
        mode: file.mode ?? (await modeOf(file)),
      };
      if (file.modified !== undefined) header.mtime = file.modified;
      const target = controller.add(header);
      const count = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, out) {
          packed += chunk.byteLength;
          options.onBytes?.(packed);
          out.enqueue(chunk);
        },
      });
      await file
        .open()
        .pipeThrough(count)
        .pipeTo(target, { signal: options.signal })
        .catch((cause: unknown) => {
          if (options.signal.aborted) throw cause;
          throw new BadSource(`${file.path} could not be read. It may have changed meanwhile: choose it again.`, {
            cause,
          });
        });
    }
    controller.finalize();
  } catch (error) {
    controller.error(error);
    throw error;
  }
  return compressed;
}

async function modeOf(file: SourceFile): Promise<number> {
  if (file.size < 2 || file.size > SCRIPT) return 0o644;
  const reader = file.open().getReader();
  const { value } = await reader.read().catch(() => ({ value: undefined }));
  await reader.cancel().catch(() => undefined);
  return value?.[0] === 0x23 && value[1] === 0x21 ? 0o755 : 0o644;
}

function gzip(): ReadableWritablePair<Uint8Array, Uint8Array> {
  // The types of streams know buffers that are shared, and those of compression do not.
  return new CompressionStream('gzip') as unknown as ReadableWritablePair<Uint8Array, Uint8Array>;
}

function gunzip(): ReadableWritablePair<Uint8Array, Uint8Array> {
  return new DecompressionStream('gzip') as unknown as ReadableWritablePair<Uint8Array, Uint8Array>;
}

async function gathered(stream: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<Blob> {
  const blobs: Blob[] = [];
  let pieces: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    signal.throwIfAborted();
    if (value !== undefined) {
      pieces.push(new Uint8Array(value));
      size += value.byteLength;
    }
    if (done || size >= PIECE) {
      blobs.push(new Blob(pieces));
      pieces = [];
      size = 0;
    }
    if (done) return new Blob(blobs, { type: 'application/gzip' });
  }
}

/**
 * A tar without what is never sent, and without the folder that everything in it is in, as the archives that code
 * hosts make have one; the archive as it is where it has neither. What cannot be read here is left to the platform to
 * judge.
 */
export async function withoutTop(archive: File, compressed: boolean, options: PackOptions): Promise<Blob> {
  const open = () =>
    (compressed
      ? (archive.stream() as ReadableStream<Uint8Array>).pipeThrough(gunzip())
      : archive.stream()
    ).pipeThrough(createTarDecoder());
  const paths: string[] = [];
  try {
    for await (const entry of iterate(open(), options.signal)) {
      if (entry.header.type !== 'directory') paths.push(entry.header.name.replace(/^\.\//, ''));
      await entry.body.cancel();
    }
  } catch (error) {
    if (options.signal.aborted) throw error;
    return archive;
  }
  const top = commonTop(paths);
  if (top === '' && !paths.some(isOmitted)) return archive;
  const { readable, controller } = createTarPacker();
  const result = gathered(readable.pipeThrough(gzip()), options.signal);
  result.catch(() => undefined);
  try {
    let packed = 0;
    for await (const { header, body } of iterate(open(), options.signal)) {
      const name = header.name.replace(/^\.\//, '').slice(top.length);
      if (name === '' || header.type === 'pax-global-header' || isOmitted(name)) {
        await body.cancel();
        continue;
      }
      const { pax: _, ...plain } = header;
      const link =
        header.type === 'link' ? { linkname: header.linkname?.replace(/^\.\//, '').slice(top.length) ?? '' } : {};
      await body.pipeTo(controller.add({ ...plain, ...link, name }), { signal: options.signal });
      packed += header.size;
      options.onBytes?.(packed);
    }
    controller.finalize();
  } catch (error) {
    controller.error(error);
    throw error;
  }
  return result;
}

const isOmitted = (path: string) => path.split('/').some(isNever);

/** Not every browser can walk a stream with `for await`. */
async function* iterate<T>(stream: ReadableStream<T>, signal: AbortSignal): AsyncGenerator<T> {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    signal.throwIfAborted();
    if (done) return;
    yield value;
  }
}

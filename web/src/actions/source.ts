/** From a drop, a choice, an address or a template to a source of the platform. */
import { useMutation } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState } from 'react';
import { client, data } from '../model/client';
import type { NewSource, Source } from '../model/schema';
import { isAbort, upload } from '../model/source';
import { archiveKind, BadSource, type Folder, type Gathered, gather, sourceFile } from '../model/source_files';

/** What somebody gave: a folder, or an archive. */
export type Given = { is: 'folder'; folder: Folder } | { is: 'archive'; file: File };

export type UploadState =
  | { phase: 'idle' }
  | { phase: 'reading'; files: number }
  | { phase: 'packing'; done: number; of: number; files: number }
  | { phase: 'uploading'; done: number; of: number }
  | { phase: 'failed'; error: unknown };

/** What was packed, for the words beside it and for packing it again with a file more. */
export interface Packed {
  name: string;
  gathered: Gathered | undefined;
  given: Given;
  /** With what `.gitignore` leaves out. */
  everything: boolean;
}

export interface UploadWish {
  project: string;
  given: Given;
  everything: boolean;
  /** Files that are not in it and should be, such as a Dockerfile. */
  more?: { path: string; text: string }[];
}

/** Packs and sends a source, with how far it is, and a way to end it. Leaving the page ends it too. */
export function useUpload(onDone: (source: Source, packed: Packed) => void) {
  const [state, setState] = useState<UploadState>({ phase: 'idle' });
  const running = useRef<AbortController>(undefined);
  const done = useRef(onDone);
  done.current = onDone;
  useEffect(() => () => running.current?.abort(), []);

  const start = useCallback(async (wish: UploadWish) => {
    running.current?.abort();
    const controller = new AbortController();
    running.current = controller;
    const { signal } = controller;
    const tell = throttled((state: UploadState) => {
      if (!signal.aborted) setState(state);
    });
    try {
      setState({ phase: 'reading', files: 0 });
      const { blob, packed } = await packedFrom(wish, signal, tell);
      setState({ phase: 'uploading', done: 0, of: blob.size });
      const source = await upload(wish.project, blob, {
        signal,
        onBytes: (done) => tell({ phase: 'uploading', done, of: blob.size }),
      });
      signal.throwIfAborted();
      done.current(source, packed);
      setState({ phase: 'idle' });
    } catch (error) {
      if (running.current !== controller) return;
      setState(isAbort(error) || signal.aborted ? { phase: 'idle' } : { phase: 'failed', error });
    }
  }, []);
  const cancel = useCallback(() => {
    running.current?.abort();
    setState({ phase: 'idle' });
  }, []);
  return { state, start, cancel };
}

async function packedFrom(wish: UploadWish, signal: AbortSignal, tell: (state: UploadState) => void) {
  const { given, everything } = wish;
  // What packs is loaded when there is something to pack.
  const [{ pack, withoutTop }, { openZip }] = await Promise.all([
    import('../model/source_pack'),
    import('../model/source_zip'),
  ]);
  if (given.is === 'archive') {
    const { file } = given;
    const kind = archiveKind(file.name);
    if (kind === undefined) throw new BadSource(`${file.name} is no archive that Coracle can read.`);
    const packed: Packed = { name: file.name, gathered: undefined, given, everything };
    if (kind === 'tar.zst') return { blob: file, packed };
    if (kind !== 'zip') {
      const onBytes = (done: number) => tell({ phase: 'packing', done, of: Math.max(done, file.size), files: 0 });
      return { blob: await withoutTop(file, kind === 'tar.gz', { signal, onBytes }), packed };
    }
    const found = await openZip(file, file.name);
    packed.gathered = found;
    return { blob: await packWith(pack, found, wish, signal, tell), packed };
  }
  const found = await gather(given.folder, {
    everything,
    signal,
    onFound: (files) => tell({ phase: 'reading', files }),
  });
  if (found.files.length === 0) throw new BadSource('There are no files in this folder, or all of them are left out.');
  const packed: Packed = { name: found.name, gathered: found, given, everything };
  return { blob: await packWith(pack, found, wish, signal, tell), packed };
}

async function packWith(
  pack: typeof import('../model/source_pack').pack,
  found: Gathered,
  wish: UploadWish,
  signal: AbortSignal,
  tell: (state: UploadState) => void,
): Promise<Blob> {
  const more = (wish.more ?? []).map(({ path, text }) => sourceFile(path, new File([text], path)));
  const paths = new Set(more.map(({ path }) => path));
  const files = [...found.files.filter(({ path }) => !paths.has(path)), ...more];
  const progress = (done: number): UploadState => ({ phase: 'packing', done, of: found.bytes, files: files.length });
  tell(progress(0));
  return pack({ files }, { signal, onBytes: (done) => tell(progress(done)) });
}

/** Progress is shown so often, in milliseconds: more than the eye takes in would only slow it down. */
const SHOWN = 60;

function throttled(tell: (state: UploadState) => void): (state: UploadState) => void {
  let last = 0;
  let phase = '';
  return (state) => {
    const now = performance.now();
    if (state.phase === phase && now - last < SHOWN) return;
    last = now;
    phase = state.phase;
    tell(state);
  };
}

/** Lets the platform fetch a repository or a template. */
export function useFetchSource() {
  return useMutation({
    mutationFn: ({ project, source }: { project: string; source: NewSource }) =>
      data(client.POST('/api/v1/projects/{project}/sources', { params: { path: { project } }, body: source })),
    // The password of a repository is not kept in memory after the page let go of it.
    gcTime: 0,
  });
}

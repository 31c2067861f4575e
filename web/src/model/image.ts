/** The registry's images: what is in it, how it came about, and who relies on it. */
import { useQuery } from '@tanstack/react-query';
import { client, data } from './client';
import { useFresh } from './fresh';
import { allOf, pageQuery } from './page';
import type { ImageDetail, ImageStep, ImageTag, ImageUse, Live, Repository } from './schema';

export const IMAGES = ['images'] as const;

export function useRepositories() {
  useFresh(IMAGES, 'Image');
  return useQuery({
    queryKey: [...IMAGES, 'all'],
    queryFn: (): Promise<Repository[]> =>
      allOf((after) => client.GET('/api/v1/images', { params: { query: pageQuery(after) } })),
  });
}

export function useImages(repository: string) {
  // Who uses an image changes with releases, builds and pods.
  useFresh([...IMAGES, 'of', repository], 'Image', 'Release', 'Build');
  return useQuery({
    queryKey: [...IMAGES, 'of', repository],
    queryFn: (): Promise<ImageTag[]> =>
      allOf((after) =>
        client.GET('/api/v1/images/{repository}', { params: { path: { repository }, query: pageQuery(after) } }),
      ),
  });
}

export function useImage(repository: string, reference: string) {
  useFresh([...IMAGES, 'one', repository], 'Image', 'Release');
  return useQuery({
    queryKey: [...IMAGES, 'one', repository, reference],
    queryFn: (): Promise<ImageDetail> =>
      data(client.GET('/api/v1/image', { params: { query: { repository, reference } } })),
  });
}

/** The project whose pull secret opens a repository: the first part of its name. */
export function repositoryProject(repository: string): string {
  return repository.split('/')[0] ?? '';
}

/** Which host a reference leads to; `127.0.0.1:7070/default/hello` → `127.0.0.1:7070`. */
export function registryHost(reference: string | undefined, fallback: string): string {
  return reference?.split('/')[0] || fallback;
}

/** What uses an image, in words. */
export function wordsOfUse(use: ImageUse): string {
  const what =
    use.release != null
      ? `Release v${use.release}`
      : use.build != null
        ? `Build ${use.build}`
        : use.pod != null
          ? `Pod ${use.pod}`
          : 'Something';
  return use.app == null ? what : `${what} of ${use.app}`;
}

export const LIVE_WORDS: Record<Live, string> = {
  live: 'runs now',
  deploying: 'is being deployed',
  earlier: 'can be rolled back to',
  no: 'came from here',
};

export interface Protection {
  /** `free`: goes at once; `insist`: only where somebody insists; `never`: it is in use. */
  level: 'free' | 'insist' | 'never';
  by: ImageUse[];
}

/** What keeps an image from being deleted. A tag that is one of several never does: the image stays. */
export function protection(used: readonly ImageUse[] | undefined): Protection {
  const by = (used ?? []).filter((use) => use.live !== 'no');
  const running = by.some((use) => use.live === 'live' || use.live === 'deploying');
  return { level: running ? 'never' : by.length > 0 ? 'insist' : 'free', by };
}

export interface Instruction {
  word: string;
  rest: string;
}

const WORDS =
  /^(FROM|RUN|COPY|ADD|ENV|CMD|ENTRYPOINT|LABEL|EXPOSE|WORKDIR|USER|VOLUME|ARG|SHELL|HEALTHCHECK|STOPSIGNAL|ONBUILD)\s+/i;

/** A step of the history as it stood in the Dockerfile, as far as that can be told. */
export function instruction(step: ImageStep): Instruction {
  let text = (step.created_by ?? '').trim();
  // The classic builder wrote the shell before everything; BuildKit marks its own steps.
  text = text.replace(/\s*#\s*buildkit\s*$/, '');
  const nop = /^\/bin\/sh -c #\(nop\)\s*/.exec(text);
  if (nop !== null) text = text.slice(nop[0].length);
  const word = WORDS.exec(text);
  if (word !== null) {
    const rest = text.slice(word[0].length);
    return { word: (word[1] ?? '').toUpperCase(), rest: rest.replace(/^\/bin\/sh -c\s+/, '') };
  }
  const shell = /^(?:\|\d+\s+.*?)?\/bin\/sh -c\s+/.exec(text);
  if (shell !== null) return { word: 'RUN', rest: text.slice(shell[0].length) };
  if (text === '') return { word: '', rest: step.comment ?? 'A layer of which nothing was written down.' };
  return { word: '', rest: text };
}

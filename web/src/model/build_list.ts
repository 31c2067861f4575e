/** Builds of all apps in one list: what each was made from, and how long it took. */
import type { Build } from './schema';

export const isGoing = (build: Build): boolean => build.status.phase === 'queued' || build.status.phase === 'running';

/** How long a build took or has taken so far, in milliseconds; null before its start. */
export function took(build: Build, now: number): number | null {
  const { started, finished } = build.status;
  if (started == null) return null;
  return Math.max(0, (finished == null ? now : new Date(finished).getTime()) - new Date(started).getTime());
}

/** What a build was made from, in words. Commit subjects are others' text and stay text. */
export function sourceWords(build: Build): string {
  const { source } = build.spec;
  switch (source.type) {
    case 'upload':
      return 'Uploaded files';
    case 'git':
      return `${source.url} at ${source.ref ?? source.commit.id.slice(0, 10)}: ${source.commit.subject}`;
    case 'template':
      return `Template ${source.template}`;
  }
}

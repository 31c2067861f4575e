/** Building a Git repository again: its newest commit, fetched anew. */
import { useMutation } from '@tanstack/react-query';
import { live } from '../model/cache';
import { client, data } from '../model/client';
import type { AppRef } from '../model/objects';
import { ApiProblem } from '../model/problem';
import type { NewGitSource, Source } from '../model/schema';
import { done } from './notify';

/** A source that is neither fetched nor refused after so many milliseconds is given up here. */
const PATIENCE = 10 * 60_000;

const settled = (source: Source): boolean => source.status.phase === 'ready' || source.status.phase === 'failed';

/** Waits until a source is fetched, as the stream tells; `make` makes it, so that nothing is told in between. */
function fetched(project: string, make: () => Promise<Source>): Promise<Source> {
  return new Promise((resolve, reject) => {
    let wanted: string | undefined;
    const told = new Map<string, Source>();
    const timer = setTimeout(() => end(() => reject(new Error('The repository was not fetched in time.'))), PATIENCE);
    const stop = live.onNotices((notices) => {
      for (const { object } of notices) {
        if (object.kind !== 'Source' || object.metadata.project !== project) continue;
        // The stream tells whole objects; their kind says which.
        const source = object as unknown as Source;
        told.set(source.metadata.name, source);
        check();
      }
    });
    const end = (how: () => void) => {
      clearTimeout(timer);
      stop();
      how();
    };
    const check = () => {
      const source = wanted === undefined ? undefined : told.get(wanted);
      if (source !== undefined && settled(source)) end(() => resolve(source));
    };
    make().then(
      (source) => {
        wanted = source.metadata.name;
        if (!told.has(wanted)) told.set(wanted, source);
        check();
      },
      (error: unknown) => end(() => reject(error)),
    );
  });
}

function refused(source: Source): ApiProblem {
  return new ApiProblem({
    type: 'about:blank',
    title: 'The repository could not be fetched',
    status: 422,
    code: 'invalid_source',
    detail: source.status.reason ?? 'It could not be fetched.',
  });
}

export function useRebuild() {
  return useMutation({
    mutationFn: async ({ ref, git }: { ref: AppRef; git: NewGitSource }) => {
      const source = await fetched(ref.project, () =>
        data(
          client.POST('/api/v1/projects/{project}/sources', {
            params: { path: { project: ref.project } },
            body: { git },
          }),
        ),
      );
      if (source.status.phase === 'failed') throw refused(source);
      return data(
        client.POST('/api/v1/projects/{project}/apps/{app}/builds', {
          params: { path: ref },
          body: { source: source.metadata.name },
          headers: { 'Content-Type': 'application/json' },
        }),
      );
    },
    // The password of a repository is not kept in memory.
    gcTime: 0,
    onSuccess: (build) => done(`Build b${build.spec.number} has begun.`),
  });
}

/** Disks that outlive pods. */
import { useQueries } from '@tanstack/react-query';
import { client } from './client';
import { useProjects } from './collections';
import { useFresh } from './fresh';
import { allOf, pageQuery } from './page';
import type { Volume } from './schema';

export const VOLUMES = ['volumes'] as const;

/** All volumes that the caller may see, in one project or in all. */
export function useVolumes(project?: string): { volumes: Volume[] | undefined; error: Error | null } {
  const projects = useProjects()?.map(({ metadata }) => metadata.name);
  // A volume also changes with the pods that mount it.
  useFresh(VOLUMES, 'Volume', 'Pod');
  const wanted = project === undefined ? projects : [project];
  return useQueries({
    queries: (wanted ?? []).map((project) => ({
      queryKey: [...VOLUMES, project],
      queryFn: () =>
        allOf((after) =>
          client.GET('/api/v1/projects/{project}/volumes', { params: { path: { project }, query: pageQuery(after) } }),
        ),
    })),
    combine: (answers) => ({
      volumes:
        wanted === undefined || answers.some((answer) => answer.isPending)
          ? undefined
          : answers.flatMap((answer) => answer.data ?? []),
      error: answers.find((answer) => answer.error !== null)?.error ?? null,
    }),
  });
}

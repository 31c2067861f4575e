/** Projects, for pages that need one. */
import { useProjects } from './collections';
import { may, useMe } from './me';
import type { Project, Role } from './schema';

/** A project's spec may be absent as a whole where nothing of it was said. */
export function description(project: Project): string {
  const spec: Partial<Project['spec']> = project.spec;
  return spec.description ?? '';
}

/** The names of the projects in which the caller has a role, by name. */
export function useProjectsFor(role: Role): string[] | undefined {
  const me = useMe();
  return useProjects()
    ?.filter(({ metadata }) => metadata.deleting == null && may(me, role, metadata.name))
    .map(({ metadata }) => metadata.name);
}

/** The project that is meant when none is named: the one that every platform begins with, else the first. */
export function usual(projects: readonly string[] | undefined, wanted?: string): string | undefined {
  if (wanted !== undefined && (projects === undefined || projects.includes(wanted))) return wanted;
  return projects?.find((name) => name === 'default') ?? projects?.[0];
}

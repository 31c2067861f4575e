import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { AppRef } from '../../model/objects';

const route = getRouteApi('/inside/projects/$project/apps/$app');

/** The app that the page is of. */
export function useAppRef(): AppRef {
  const { project, app } = route.useParams();
  return useMemo(() => ({ project, app }), [project, app]);
}

/**
 * Every page and its address. What a page shows is in its address: a link leads others to the same view. Each page's
 * code is loaded when somebody goes there.
 */

import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
} from '@tanstack/react-router';
import { cache } from '../model/cache';
import { meQuery } from '../model/me';
import { ApiProblem } from '../model/problem';
import { NotFound } from '../view/not_found';
import { Loading, ProblemAlert } from '../view/page';
import * as search from './search';
import { Shell } from './shell';

const root = createRootRouteWithContext<{ cache: QueryClient }>()({ notFoundComponent: NotFound });

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: search.login,
  component: lazyRouteComponent(() => import('../pages/login')),
});

/** Everything behind the login. */
const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  beforeLoad: async ({ context, location }) => {
    try {
      await context.cache.ensureQueryData(meQuery());
    } catch (error) {
      if (error instanceof ApiProblem && error.code === 'unauthenticated') {
        throw redirect({ to: '/login', search: location.href === '/' ? {} : { next: location.href } });
      }
      throw error;
    }
  },
  component: Shell,
});

const overview = createRoute({
  getParentRoute: () => inside,
  path: '/',
  validateSearch: search.range,
  component: lazyRouteComponent(() => import('../pages/overview')),
});
const welcome = createRoute({
  getParentRoute: () => inside,
  path: '/welcome',
  component: lazyRouteComponent(() => import('../pages/welcome')),
});
const create = createRoute({
  getParentRoute: () => inside,
  path: '/new',
  validateSearch: search.create,
  component: lazyRouteComponent(() => import('../pages/new')),
});
const apps = createRoute({
  getParentRoute: () => inside,
  path: '/apps',
  validateSearch: search.apps,
  component: lazyRouteComponent(() => import('../pages/apps')),
});
const app = createRoute({
  getParentRoute: () => inside,
  path: '/projects/$project/apps/$app',
  component: lazyRouteComponent(() => import('../pages/app/app')),
});
const appOverview = createRoute({
  getParentRoute: () => app,
  path: '/',
  component: lazyRouteComponent(() => import('../pages/app/overview')),
});
const appReleases = createRoute({
  getParentRoute: () => app,
  path: '/releases',
  validateSearch: search.releases,
  component: lazyRouteComponent(() => import('../pages/app/releases')),
});
const appBuilds = createRoute({
  getParentRoute: () => app,
  path: '/builds',
  component: lazyRouteComponent(() => import('../pages/app/builds')),
});
const appBuild = createRoute({
  getParentRoute: () => app,
  path: '/builds/$build',
  component: lazyRouteComponent(() => import('../pages/app/build')),
});
const appLogs = createRoute({
  getParentRoute: () => app,
  path: '/logs',
  validateSearch: search.logs,
  component: lazyRouteComponent(() => import('../pages/app/logs')),
});
const appMetrics = createRoute({
  getParentRoute: () => app,
  path: '/metrics',
  validateSearch: search.range,
  component: lazyRouteComponent(() => import('../pages/app/metrics')),
});
const appEnv = createRoute({
  getParentRoute: () => app,
  path: '/env',
  component: lazyRouteComponent(() => import('../pages/app/env')),
});
const appProcesses = createRoute({
  getParentRoute: () => app,
  path: '/processes',
  component: lazyRouteComponent(() => import('../pages/app/processes')),
});
const appDomains = createRoute({
  getParentRoute: () => app,
  path: '/domains',
  component: lazyRouteComponent(() => import('../pages/app/domains')),
});
const appVolumes = createRoute({
  getParentRoute: () => app,
  path: '/volumes',
  component: lazyRouteComponent(() => import('../pages/app/volumes')),
});
const appTerminal = createRoute({
  getParentRoute: () => app,
  path: '/terminal',
  validateSearch: search.terminal,
  component: lazyRouteComponent(() => import('../pages/app/terminal')),
});
const appEvents = createRoute({
  getParentRoute: () => app,
  path: '/events',
  component: lazyRouteComponent(() => import('../pages/app/events')),
});
const appSettings = createRoute({
  getParentRoute: () => app,
  path: '/settings',
  component: lazyRouteComponent(() => import('../pages/app/settings')),
});
const pods = createRoute({
  getParentRoute: () => inside,
  path: '/pods',
  validateSearch: search.pods,
  component: lazyRouteComponent(() => import('../pages/pods')),
});
const pod = createRoute({
  getParentRoute: () => inside,
  path: '/projects/$project/pods/$pod',
  validateSearch: search.pod,
  component: lazyRouteComponent(() => import('../pages/pod')),
});
const nodes = createRoute({
  getParentRoute: () => inside,
  path: '/nodes',
  component: lazyRouteComponent(() => import('../pages/nodes')),
});
const node = createRoute({
  getParentRoute: () => inside,
  path: '/nodes/$node',
  validateSearch: search.range,
  component: lazyRouteComponent(() => import('../pages/node')),
});
const builds = createRoute({
  getParentRoute: () => inside,
  path: '/builds',
  validateSearch: search.builds,
  component: lazyRouteComponent(() => import('../pages/builds')),
});
const images = createRoute({
  getParentRoute: () => inside,
  path: '/images',
  validateSearch: search.list,
  component: lazyRouteComponent(() => import('../pages/images')),
});
const image = createRoute({
  getParentRoute: () => inside,
  path: '/repositories/$',
  validateSearch: search.image,
  component: lazyRouteComponent(() => import('../pages/image')),
});
const volumes = createRoute({
  getParentRoute: () => inside,
  path: '/volumes',
  validateSearch: search.list,
  component: lazyRouteComponent(() => import('../pages/volumes')),
});
const activity = createRoute({
  getParentRoute: () => inside,
  path: '/activity',
  validateSearch: search.activity,
  component: lazyRouteComponent(() => import('../pages/activity')),
});
const people = createRoute({
  getParentRoute: () => inside,
  path: '/people',
  validateSearch: search.people,
  component: lazyRouteComponent(() => import('../pages/people')),
});
const tokens = createRoute({
  getParentRoute: () => inside,
  path: '/tokens',
  validateSearch: search.tokens,
  component: lazyRouteComponent(() => import('../pages/tokens')),
});
const projects = createRoute({
  getParentRoute: () => inside,
  path: '/projects',
  validateSearch: search.projects,
  component: lazyRouteComponent(() => import('../pages/projects')),
});
const settings = createRoute({
  getParentRoute: () => inside,
  path: '/settings',
  component: lazyRouteComponent(() => import('../pages/settings')),
});
const reference = createRoute({
  getParentRoute: () => inside,
  path: '/reference',
  validateSearch: search.reference,
  component: lazyRouteComponent(() => import('../pages/reference')),
});

const tree = root.addChildren([
  login,
  inside.addChildren([
    overview,
    welcome,
    create,
    apps,
    app.addChildren([
      appOverview,
      appReleases,
      appBuilds,
      appBuild,
      appLogs,
      appMetrics,
      appEnv,
      appProcesses,
      appDomains,
      appVolumes,
      appTerminal,
      appEvents,
      appSettings,
    ]),
    pods,
    pod,
    nodes,
    node,
    builds,
    images,
    image,
    volumes,
    activity,
    people,
    tokens,
    projects,
    settings,
    reference,
  ]),
]);

export const router = createRouter({
  routeTree: tree,
  context: { cache },
  defaultPreload: 'intent',
  scrollRestoration: true,
  defaultPendingComponent: () => <Loading />,
  defaultErrorComponent: ({ error, reset }) => <ProblemAlert error={error} retry={reset} />,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}

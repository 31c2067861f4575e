/** What runs, and where: as cards, or as a list where there are many. */
import { Anchor, Button, Group, SegmentedControl, SimpleGrid, Text, Tooltip, VisuallyHidden } from '@mantine/core';
import { useInViewport } from '@mantine/hooks';
import { IconApps, IconLayoutGrid, IconList } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useCallback, useMemo } from 'react';
import { isWeb, shortAddress } from '../model/address';
import { useApps, useCollection } from '../model/collections';
import { may, useMe } from '../model/me';
import type { Collection } from '../model/objects';
import { useProjectsFor } from '../model/project';
import type { App, Release } from '../model/schema';
import { amount, newest, seriesOf, useUsage } from '../model/usage';
import { AppCard, podsOf } from '../view/app_card';
import { FilterBar, matches } from '../view/filter_bar';
import { LinkButton } from '../view/link_button';
import { EmptyState, Loading, Page } from '../view/page';
import { PhaseBadge } from '../view/phase';
import { Sparkline } from '../view/sparkline';
import { type Column, DataTable } from '../view/table';
import { Ago } from '../view/text';

const route = getRouteApi('/inside/apps');

/** From so many on a list is easier to read than cards. */
const MANY = 60;

const PHASES = [
  { value: '', label: 'All' },
  { value: 'running', label: 'Running' },
  { value: 'failed', label: 'Failed' },
];

export default function AppsPage() {
  const me = useMe();
  const { project, q, order = 'name', phase, view } = route.useSearch();
  const navigate = useNavigate({ from: '/apps' });
  const projects = useProjectsFor('viewer');
  const apps = useApps(project);
  const live = useLiveReleases();
  const mayDeploy = (useProjectsFor('developer') ?? []).length > 0;
  const shown = apps?.filter(
    (app) =>
      matches(q, app.metadata.name, app.metadata.project, app.status.url) &&
      (phase === undefined || app.status.phase === phase),
  );
  const asList = view === undefined ? (apps?.length ?? 0) > MANY : view === 'list';
  const columns = useMemo(() => columnsFor(live), [live]);
  const create = mayDeploy && (
    <LinkButton
      to="/new"
      search={{ project: project !== undefined && may(me, 'developer', project) ? project : undefined }}
    >
      New app
    </LinkButton>
  );
  return (
    <Page title="Apps" lead="Each app is a program that Coracle keeps running, with an address of its own.">
      {shown === undefined ? (
        <Loading rows={3} height={150} />
      ) : apps?.length === 0 && q === undefined ? (
        <EmptyState
          icon={<IconApps />}
          title={project === undefined ? 'No apps yet' : `No apps in ${project} yet`}
          action={create}
        >
          {mayDeploy
            ? 'Drop a folder, name a repository, or begin with a template: a few clicks later it has an address.'
            : 'Apps that somebody deploys in your projects appear here.'}
        </EmptyState>
      ) : (
        <>
          <FilterBar
            {...(projects === undefined ? {} : { projects })}
            project={project}
            onProject={(project) => void navigate({ search: (before) => ({ ...before, project }) })}
            words={q}
            onWords={(q) => void navigate({ search: (before) => ({ ...before, q }), replace: true })}
            placeholder="Find an app"
          >
            <SegmentedControl
              aria-label="State"
              data={PHASES}
              value={phase ?? ''}
              onChange={(value) =>
                void navigate({ search: (before) => ({ ...before, phase: value || undefined }), replace: true })
              }
            />
            <SegmentedControl
              aria-label="Show as"
              value={asList ? 'list' : 'cards'}
              onChange={(view) => void navigate({ search: (before) => ({ ...before, view }), replace: true })}
              data={[
                { value: 'cards', label: <ViewSign icon={<IconLayoutGrid size={16} />} word="Cards" /> },
                { value: 'list', label: <ViewSign icon={<IconList size={16} />} word="List" /> },
              ]}
            />
          </FilterBar>
          {shown.length === 0 ? (
            <EmptyState
              icon={<IconApps />}
              title="No app fits"
              action={
                <Button variant="light" onClick={() => void navigate({ search: { project, view } })}>
                  Show all
                </Button>
              }
            />
          ) : asList ? (
            <DataTable
              label="Apps"
              rows={shown}
              columns={columns}
              rowKey={appKey}
              order={order}
              onOrder={(order) => void navigate({ search: (before) => ({ ...before, order }), replace: true })}
            />
          ) : (
            <SimpleGrid cols={{ base: 1, xs: 2, lg: 3 }} spacing="md">
              {shown.map((app) => (
                <AppCard
                  key={appKey(app)}
                  app={app}
                  release={live?.get(appKey(app))}
                  project={project === undefined && (projects?.length ?? 0) > 1}
                  graph={<Graph app={app} />}
                />
              ))}
            </SimpleGrid>
          )}
        </>
      )}
    </Page>
  );
}

function ViewSign({ icon, word }: { icon: React.ReactNode; word: string }) {
  return (
    <Tooltip label={word}>
      <Group gap={0} h={20} align="center">
        {icon}
        <VisuallyHidden>{word}</VisuallyHidden>
      </Group>
    </Tooltip>
  );
}

const appKey = ({ metadata }: App) => `${metadata.project}/${metadata.name}`;

/** The newest release of each app that has been live. */
function useLiveReleases(): ReadonlyMap<string, Release> | undefined {
  return useCollection(
    'Release',
    useCallback((all: Collection<Release>) => {
      const live = new Map<string, Release>();
      for (const release of all.values()) {
        if (release.status.phase !== 'live') continue;
        live.set(`${release.metadata.project}/${release.spec.app}`, release);
      }
      return live;
    }, []),
  );
}

/** What was asked of an app in the last hour, or what it computed where nobody asks it anything. */
function Graph({ app }: { app: App }) {
  const { ref, inViewport } = useInViewport();
  const { name, project } = app.metadata;
  const usage = useUsage({ of: 'app', project: project ?? '', name }, '1h', inViewport).data;
  const requests = seriesOf(usage, 'requests');
  const asked = requests?.values.some((value) => value !== null && value > 0) ?? false;
  const series = asked ? requests : seriesOf(usage, 'cpu');
  const now = series === undefined ? null : newest(series.values);
  const words = series === undefined ? '' : `${amount(series.unit, now)}${asked ? ' requests' : ''}`;
  return (
    <Group ref={ref} gap="xs" wrap="nowrap" h={32}>
      {series !== undefined && now !== null && (
        <>
          <div style={{ flex: 1, minWidth: 0 }}>
            <Sparkline values={series.values} label={`Last hour, now ${words}`} width={400} height={32} />
          </div>
          <Text size="xs" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
            {words}
          </Text>
        </>
      )}
    </Group>
  );
}

function columnsFor(live: ReadonlyMap<string, Release> | undefined): Column<App>[] {
  return [
    {
      key: 'name',
      title: 'App',
      width: '2fr',
      order: ({ metadata }) => metadata.name,
      cell: ({ metadata }) => (
        <Anchor
          component={Link}
          to={`/projects/${encodeURIComponent(metadata.project ?? '')}/apps/${encodeURIComponent(metadata.name)}`}
          size="sm"
          fw={600}
        >
          {metadata.name}
        </Anchor>
      ),
    },
    {
      key: 'project',
      title: 'Project',
      width: '1fr',
      wide: true,
      order: ({ metadata }) => metadata.project ?? '',
      cell: ({ metadata }) => metadata.project,
    },
    {
      key: 'phase',
      title: 'State',
      width: '130px',
      order: ({ status }) => status.phase,
      cell: ({ status }) => <PhaseBadge phase={status.phase} />,
    },
    {
      key: 'pods',
      title: 'Pods',
      width: '80px',
      order: (app) => podsOf(app).wanted,
      cell: (app) => {
        const { ready, wanted } = podsOf(app);
        return `${ready} / ${wanted}`;
      },
    },
    {
      key: 'url',
      title: 'Address',
      width: '2fr',
      wide: true,
      order: ({ status }) => status.url ?? '',
      cell: ({ status }) =>
        isWeb(status.url) ? (
          <Anchor href={status.url} target="_blank" rel="noreferrer" size="sm">
            {shortAddress(status.url)}
          </Anchor>
        ) : (
          '–'
        ),
    },
    {
      key: 'deployed',
      title: 'Deployed',
      width: '160px',
      wide: true,
      order: (app) => live?.get(appKey(app))?.status.finished ?? '',
      cell: (app) => {
        const release = live?.get(appKey(app));
        return release === undefined ? (
          'never'
        ) : (
          <>
            v{release.spec.number}, <Ago at={release.status.finished ?? release.metadata.created} />
          </>
        );
      },
    },
  ];
}

/** How everything is: what needs attention, what is used, what happened. For who sees some projects: how those are. */
import { Anchor, Card, Grid, Group, SegmentedControl, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { IconActivity, IconApps, IconBox, IconServer, IconWorld } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { type ReactNode, useMemo, useState } from 'react';
import { useActivity } from '../model/activity';
import { useApps, useList, useNodes, usePods } from '../model/collections';
import { useMay, useMe } from '../model/me';
import { told } from '../model/node';
import { useProjectsFor } from '../model/project';
import type { App, Pod } from '../model/schema';
import { concerns, parts, useSystem } from '../model/system';
import {
  amount,
  METRIC_WORDS,
  RANGE_WORDS,
  RANGES,
  seriesOf,
  usageRange,
  useUsage,
  useUsageSample,
} from '../model/usage';
import { ActivityFeed } from '../view/activity_feed';
import { Chart, type ChartProps } from '../view/chart';
import { ConcernList } from '../view/concern_list';
import { LinkButton, LinkCard } from '../view/link_button';
import { Loading, Page, ProblemAlert } from '../view/page';
import { PartList } from '../view/part_list';
import { Stat } from '../view/stat';
import { Welcome } from './welcome';

const route = getRouteApi('/inside/');

/** So many things that happened are shown. */
const LATELY = 8;
/** What is only a step on the way to what people want to know of. */
const STEPS_BETWEEN = /^(session|source)\./;
/** So many apps are shown among those that use most. */
const BUSIEST = 6;

export default function OverviewPage() {
  const me = useMe();
  const platform = useMay('viewer');
  const developer = (useProjectsFor('developer') ?? []).length > 0;
  const apps = useApps();
  const pods = usePods();
  const nodes = useNodes();
  const builds = useList('Build');
  const releases = useList('Release');
  const system = useSystem(platform);
  const [all, setAll] = useState(false);
  const worries = useMemo(
    () =>
      apps && pods && nodes && builds && releases
        ? concerns({ apps, pods, nodes, builds, releases, system: system.data })
        : undefined,
    [apps, pods, nodes, builds, releases, system.data],
  );
  if (apps === undefined || pods === undefined || worries === undefined) {
    return (
      <Page title="Overview">
        <Loading rows={4} height={96} />
      </Page>
    );
  }
  if (apps.length === 0 && pods.length === 0 && developer) {
    return (
      <Page title="Welcome to Coracle" lead="Your own cloud: it takes what you made, and keeps it running.">
        {worries.length > 0 && <ConcernList concerns={worries} all={all} onAll={() => setAll(true)} />}
        <Welcome />
      </Page>
    );
  }
  return (
    <Page
      title="Overview"
      lead={
        platform
          ? 'How the platform and everything on it is.'
          : `How your projects are${me?.projects !== 'all' && me !== undefined ? `: ${me.projects.only.join(', ')}` : ''}.`
      }
      actions={
        developer && (
          <LinkButton to="/welcome" variant="default">
            Templates
          </LinkButton>
        )
      }
    >
      <Figures apps={apps} pods={pods} platform={platform} />
      <Grid gap="md">
        <Grid.Col span={{ base: 12, md: 7 }}>
          <Stack gap="lg">
            <Section title="Needs attention">
              <ConcernList concerns={worries} all={all} onAll={() => setAll(true)} />
            </Section>
            {platform ? <PlatformUse /> : <Busiest />}
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <Stack gap="lg">
            {platform && (
              <Section title="Parts of the platform">
                {system.error !== null ? (
                  <ProblemAlert error={system.error} retry={() => void system.refetch()} />
                ) : system.data === undefined ? (
                  <Loading rows={4} />
                ) : (
                  <PartList parts={parts(system.data)} />
                )}
              </Section>
            )}
            <Lately />
            {platform && <Busiest />}
          </Stack>
        </Grid.Col>
      </Grid>
    </Page>
  );
}

function Section({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  return (
    <Stack component="section" gap="xs" aria-label={title}>
      <Group justify="space-between" gap="xs">
        <Title order={2} size="h5">
          {title}
        </Title>
        {aside}
      </Group>
      {children}
    </Stack>
  );
}

const SIZE = 16;

function Figures({ apps, pods, platform }: { apps: readonly App[]; pods: readonly Pod[]; platform: boolean }) {
  const nodes = useNodes() ?? [];
  const sample = useUsageSample();
  const running = apps.filter(({ status }) => status.phase === 'running' || status.phase === 'sleeping').length;
  const failed = apps.filter(({ status }) => status.phase === 'failed').length;
  const kept = pods.filter(({ status }) => status.phase !== 'exited');
  const ready = kept.filter(({ status }) => status.phase === 'ready').length;
  const up = nodes.filter((node) => told(node).ready).length;
  const requests = sample?.apps.reduce((sum, app) => sum + (app.requests ?? 0), 0);
  const errors = sample?.apps.reduce((sum, app) => sum + (app.errors ?? 0), 0) ?? 0;
  return (
    <SimpleGrid cols={{ base: 2, md: platform ? 4 : 3 }} spacing="sm">
      <LinkCard to="/apps" search={failed > 0 ? { phase: 'failed' } : {}} padding="sm">
        <Stat
          label="Apps running"
          icon={<IconApps size={SIZE} />}
          value={`${running} of ${apps.length}`}
          note={failed > 0 ? `${failed} failed` : undefined}
          tone={failed > 0 ? 'bad' : 'plain'}
        />
      </LinkCard>
      <LinkCard to="/pods" padding="sm">
        <Stat
          label="Pods ready"
          icon={<IconBox size={SIZE} />}
          value={`${ready} of ${kept.length}`}
          note={ready < kept.length ? `${kept.length - ready} not ready` : undefined}
          tone={ready < kept.length ? 'poor' : 'plain'}
        />
      </LinkCard>
      {platform && (
        <LinkCard to="/nodes" padding="sm">
          <Stat
            label="Nodes ready"
            icon={<IconServer size={SIZE} />}
            value={`${up} of ${nodes.length}`}
            note={nodes.length === 1 ? nodes[0]?.metadata.name : undefined}
            tone={up < nodes.length ? 'bad' : 'plain'}
          />
        </LinkCard>
      )}
      <LinkCard to="/apps" padding="sm">
        <Stat
          label="Requests"
          icon={<IconWorld size={SIZE} />}
          value={amount('requests/s', requests)}
          note={errors > 0 ? `${amount('requests/s', errors)} answered with an error` : 'to all apps, now'}
          tone={errors > 0 ? 'poor' : 'plain'}
        />
      </LinkCard>
    </SimpleGrid>
  );
}

/** What is drawn, in this order; sent and received stand in one chart. */
const CHARTS = [['cpu'], ['memory'], ['requests', 'errors'], ['network_in', 'network_out']] as const;

function PlatformUse() {
  const { range: wanted } = route.useSearch();
  const navigate = useNavigate({ from: '/' });
  const range = usageRange(wanted);
  const usage = useUsage({ of: 'platform' }, range);
  const charts: ChartProps[] = CHARTS.flatMap((metrics) => {
    const series = metrics.map((metric) => seriesOf(usage.data, metric)).filter((it) => it !== undefined);
    const [first] = series;
    if (first === undefined || usage.data === undefined) return [];
    return [
      {
        title: first.name === 'network_in' ? 'Network' : METRIC_WORDS[first.name],
        from: usage.data.from,
        stepSeconds: usage.data.step_seconds,
        lines: series.map(({ name, values, limit }) => ({ label: METRIC_WORDS[name], values, limit: limit ?? null })),
        format: (value) => amount(first.unit, value),
      },
    ];
  });
  return (
    <Section
      title="Use"
      aside={
        <SegmentedControl
          size="xs"
          aria-label="How much of the past"
          value={range}
          onChange={(range) => void navigate({ search: (before) => ({ ...before, range }), replace: true })}
          data={RANGES.map((value) => ({ value, label: RANGE_WORDS[value] }))}
        />
      }
    >
      {usage.error !== null ? (
        <ProblemAlert error={usage.error} retry={() => void usage.refetch()} />
      ) : usage.data === undefined ? (
        <Loading rows={2} height={200} />
      ) : charts.length === 0 ? (
        <Card>
          <Text size="sm" c="dimmed">
            Nothing is measured yet. It begins with the first pod.
          </Text>
        </Card>
      ) : (
        <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="sm">
          {charts.map((chart) => (
            <Card key={chart.title} padding="sm">
              <Chart {...chart} height={140} />
            </Card>
          ))}
        </SimpleGrid>
      )}
    </Section>
  );
}

/** What uses most of the processors now. */
function Busiest() {
  const sample = useUsageSample();
  const apps = (sample?.apps ?? [])
    .filter(({ cpu }) => cpu != null)
    .sort((a, b) => (b.cpu ?? 0) - (a.cpu ?? 0))
    .slice(0, BUSIEST);
  if (apps.length === 0) return null;
  return (
    <Section title="Uses most now">
      <Card padding="sm">
        <Stack component="ul" gap={6} m={0} p={0} style={{ listStyle: 'none' }}>
          {apps.map(({ project, name, cpu, memory }) => (
            <Group key={`${project}/${name}`} component="li" justify="space-between" wrap="nowrap" gap="sm">
              <Anchor
                component={Link}
                to={`/projects/${encodeURIComponent(project)}/apps/${encodeURIComponent(name)}`}
                size="sm"
                truncate
              >
                {name}
              </Anchor>
              <Text size="xs" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
                {amount('cores', cpu)} · {amount('bytes', memory)}
              </Text>
            </Group>
          ))}
        </Stack>
      </Card>
    </Section>
  );
}

function Lately() {
  const activity = useActivity({});
  const events = activity.data?.pages
    .flatMap(({ items }) => items)
    .filter(({ spec }) => !STEPS_BETWEEN.test(spec.action))
    .slice(0, LATELY);
  return (
    <Section
      title="Lately"
      aside={
        <Anchor component={Link} to="/activity" size="sm">
          <Group gap={4}>
            <IconActivity size={14} aria-hidden /> All activity
          </Group>
        </Anchor>
      }
    >
      {activity.error !== null ? (
        <ProblemAlert error={activity.error} retry={() => void activity.refetch()} />
      ) : events === undefined ? (
        <Loading rows={3} />
      ) : (
        <ActivityFeed events={events} />
      )}
    </Section>
  );
}

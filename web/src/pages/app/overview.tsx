/** How an app is: what is being deployed, what runs, what it uses, and what happened lately. */
import { Alert, Anchor, Button, Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { IconAlertCircle, IconMoon, IconPlayerPlay, IconPlayerStop, IconRocket } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useStartApp } from '../../actions/app';
import { appPath, isStopped, startScales } from '../../model/app';
import { isGoing } from '../../model/build_list';
import { useApp, useAppPods, useBuilds, useReleases } from '../../model/collections';
import { advice, steps } from '../../model/deployment';
import { useMay } from '../../model/me';
import { processesOf } from '../../model/process';
import {
  baseRelease,
  imageOf,
  inRegistry,
  isDeploying,
  newestRelease,
  originWords,
  shortImage,
} from '../../model/release';
import type { App, Build, Pod, Release } from '../../model/schema';
import { seriesOf, useUsage } from '../../model/usage';
import { DeploymentSteps } from '../../view/deployment_steps';
import { Facts } from '../../view/facts';
import { LinkButton } from '../../view/link_button';
import { EmptyState, Loading } from '../../view/page';
import { PhaseBadge } from '../../view/phase';
import { PodLines, Readiness } from '../../view/process';
import { FailedRelease } from '../../view/release';
import { Section } from '../../view/section';
import { Ago, Copyable } from '../../view/text';
import { UsageTile } from '../../view/usage_tile';
import { AppActivity } from './app_activity';
import { useAppRef } from './app_ref';

export default function AppOverview() {
  const ref = useAppRef();
  const app = useApp(ref);
  const releases = useReleases(ref);
  const builds = useBuilds(ref);
  const pods = useAppPods(ref);
  if (app == null || releases === undefined || builds === undefined || pods === undefined) {
    return <Loading rows={3} height={130} />;
  }
  return <Overview app={app} releases={releases} builds={builds} pods={pods} />;
}

interface OverviewProps {
  app: App;
  releases: readonly Release[];
  builds: readonly Build[];
  pods: readonly Pod[];
}

function Overview({ app, releases, builds, pods }: OverviewProps) {
  const ref = useAppRef();
  const mayChange = useMay('developer', ref.project);
  const live = releases.find(({ spec }) => spec.number === app.status.release);
  const base = baseRelease(releases, app.status.release);
  if (base === undefined && builds.length === 0) {
    return (
      <EmptyState
        icon={<IconRocket />}
        title="Nothing was deployed yet"
        action={
          mayChange && (
            <LinkButton to="/new" search={ref}>
              Deploy something
            </LinkButton>
          )
        }
      >
        The app has a name and nothing to run. Deploy a folder, a Git repository, an image or a template to it.
      </EmptyState>
    );
  }
  return (
    <Stack>
      <Deployments {...{ app, releases, builds, pods }} />
      <Standing app={app} base={base} mayChange={mayChange} />
      {base !== undefined && <Uses />}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md" style={{ alignItems: 'start' }}>
        <Processes app={app} base={base} pods={pods} />
        <Stack>
          {base !== undefined && <CurrentRelease release={live ?? base} live={live !== undefined} />}
          <Section
            title="Latest events"
            actions={
              <Anchor component={Link} to={`${appPath(ref)}/events`} size="sm">
                All
              </Anchor>
            }
          >
            <AppActivity most={6} />
          </Section>
        </Stack>
      </SimpleGrid>
    </Stack>
  );
}

/** What is on its way, and what did not get there. */
function Deployments({ app, releases, builds, pods }: OverviewProps) {
  const ref = useAppRef();
  const newest = newestRelease(releases);
  const build = builds[0];
  const building = build !== undefined && isGoing(build) ? build : undefined;
  const deploying = newest !== undefined && isDeploying(newest) ? newest : undefined;
  if (building !== undefined || deploying !== undefined) {
    const origin = deploying?.spec.origin;
    const madeBy = origin?.from === 'build' ? builds.find(({ spec }) => spec.number === origin.build) : undefined;
    const scene = { app, pods, build: building ?? madeBy, release: building === undefined ? deploying : undefined };
    const of = building ?? madeBy;
    return (
      <Section
        title={
          deploying !== undefined && building === undefined
            ? `v${deploying.spec.number} is being deployed`
            : 'A new version is being built'
        }
        lead={
          <>
            Begun <Ago at={building?.metadata.created ?? deploying?.metadata.created} /> by{' '}
            {building?.spec.created_by ?? deploying?.spec.created_by}.
            {app.status.release != null && ` v${app.status.release} serves until the new one is ready.`}
          </>
        }
        actions={
          <Group gap="xs">
            {of !== undefined && (
              <Button component={Link} to={`${appPath(ref)}/builds/${of.metadata.name}`} variant="default" size="xs">
                Build log
              </Button>
            )}
            <Button component={Link} to={`${appPath(ref)}/logs`} variant="default" size="xs">
              Logs
            </Button>
          </Group>
        }
      >
        <DeploymentSteps steps={steps(scene)} />
      </Section>
    );
  }
  const served = app.status.release;
  const ended = build !== undefined && build.status.phase === 'failed' ? build : undefined;
  const newer = ended !== undefined && (newest === undefined || ended.metadata.created > newest.metadata.created);
  if (ended !== undefined && newer) {
    return (
      <Alert color="red" icon={<IconAlertCircle />} title={`Build b${ended.spec.number} failed`} role="alert">
        <Stack gap="xs" align="flex-start">
          <Text size="sm" style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>
            {ended.status.reason ?? 'Its log says why.'}
          </Text>
          <Text size="sm">{served == null ? '' : `v${served} goes on as before.`}</Text>
          <Button component={Link} to={`${appPath(ref)}/builds/${ended.metadata.name}`} size="xs" variant="default">
            Read its log
          </Button>
        </Stack>
      </Alert>
    );
  }
  if (newest?.status.phase === 'failed') {
    return (
      <FailedRelease release={newest}>
        <Text size="sm">{advice(newest.status.reason, newest.status.log ?? [])}</Text>
        <Text size="sm">{served == null ? 'Nothing of this app runs yet.' : `v${served} goes on as before.`}</Text>
        {served != null && served !== newest.spec.number && (
          <Group>
            <LinkButton
              to="/projects/$project/apps/$app/releases"
              params={ref}
              search={{ release: newest.metadata.name, against: `v${served}` }}
              size="xs"
              variant="default"
            >
              What is different from v{served}
            </LinkButton>
          </Group>
        )}
      </FailedRelease>
    );
  }
  return null;
}

/** In words why nothing answers, where nothing does. */
function Standing({ app, base, mayChange }: { app: App; base: Release | undefined; mayChange: boolean }) {
  const ref = useAppRef();
  const start = useStartApp();
  if (isStopped(app, base)) {
    return (
      <Alert color="gray" icon={<IconPlayerStop />} title="This app is stopped">
        <Stack gap="xs" align="flex-start">
          <Text size="sm">Somebody scaled it to no pods. Its data, variables and releases are still there.</Text>
          {mayChange && (
            <Button
              size="xs"
              leftSection={<IconPlayerPlay size={14} />}
              loading={start.isPending}
              onClick={() => start.mutate({ ...ref, scales: startScales(base) })}
            >
              Start
            </Button>
          )}
        </Stack>
      </Alert>
    );
  }
  if (app.status.phase === 'sleeping') {
    return (
      <Alert color="indigo" icon={<IconMoon />} title="This app sleeps">
        Nobody asked for it lately, so it has no pods. The first request wakes it up.
      </Alert>
    );
  }
  if (app.status.phase === 'failed' && app.status.reason != null && app.status.release != null) {
    return (
      <Alert color="red" icon={<IconAlertCircle />} title="It does not work as it should" role="alert">
        <Text size="sm" style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>
          {app.status.reason}
        </Text>
      </Alert>
    );
  }
  return null;
}

const TILES = [
  ['requests', 'Requests'],
  ['latency', 'Answer time'],
  ['cpu', 'Processors'],
  ['memory', 'Memory'],
] as const;

function Uses() {
  const ref = useAppRef();
  const { data } = useUsage({ of: 'app', project: ref.project, name: ref.app }, '1h');
  return (
    <section aria-label="What it uses">
      <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
        {TILES.map(([metric, title]) => (
          <UsageTile key={metric} title={title} series={seriesOf(data, metric)} />
        ))}
      </SimpleGrid>
      <Text size="xs" c="dimmed" mt={4} ta="end">
        The last hour.{' '}
        <Anchor component={Link} to={`${appPath(ref)}/metrics`} size="xs" underline="always">
          All metrics
        </Anchor>
      </Text>
    </section>
  );
}

function Processes({ app, base, pods }: { app: App; base: Release | undefined; pods: readonly Pod[] }) {
  const ref = useAppRef();
  const processes = processesOf(app, base, pods);
  // Pods of processes that a release does not have any more, while they stop.
  const left = pods.filter((pod) => !processes.some(({ name }) => name === pod.spec.process));
  return (
    <Section
      title="Processes and their pods"
      hint="A process is a command that is kept running, such as a web server. Each of its pods is one running copy."
      actions={
        <Anchor component={Link} to={`${appPath(ref)}/processes`} size="sm">
          Scale and change
        </Anchor>
      }
    >
      <Stack>
        {processes.map((process) => (
          <div key={process.name}>
            <Group justify="space-between" mb={6}>
              <Text fw={600} size="sm">
                {process.name}
              </Text>
              <Readiness process={process} />
            </Group>
            <PodLines project={ref.project} pods={process.pods} release={app.status.release ?? null} />
          </div>
        ))}
        {left.length > 0 && <PodLines project={ref.project} pods={left} release={app.status.release ?? null} />}
        {processes.length === 0 && left.length === 0 && (
          <Text size="sm" c="dimmed">
            Nothing runs yet.
          </Text>
        )}
      </Stack>
    </Section>
  );
}

function CurrentRelease({ release, live }: { release: Release; live: boolean }) {
  const ref = useAppRef();
  const { spec, metadata, status } = release;
  const image = imageOf(release);
  const place = inRegistry(image, ref.project);
  const { origin } = spec;
  return (
    <Section
      title={live ? `Release v${spec.number}` : `Newest release: v${spec.number}`}
      hint="A release is an image together with its settings. Each deploy makes a new one, and you can go back to any of them."
      actions={<PhaseBadge phase={status.phase ?? 'pending'} />}
    >
      <Facts
        facts={[
          {
            label: 'Made from',
            value:
              origin.from === 'build' ? (
                <Anchor component={Link} to={`${appPath(ref)}/builds/b${origin.build}`} size="sm">
                  {originWords(origin)}
                </Anchor>
              ) : (
                originWords(origin)
              ),
          },
          { label: 'By', value: spec.created_by },
          { label: 'When', value: <Ago at={metadata.created} /> },
          {
            label: 'Image',
            value:
              place === undefined ? (
                <Copyable value={image} shown={shortImage(image)} label="Copy the image’s name" />
              ) : (
                <Anchor
                  renderRoot={(props) => (
                    <Link
                      {...props}
                      to="/repositories/$"
                      params={{ _splat: place.repository }}
                      search={{ ref: place.ref }}
                    />
                  )}
                  size="sm"
                >
                  {shortImage(image)}
                </Anchor>
              ),
          },
        ]}
      />
      <Anchor component={Link} to={`${appPath(ref)}/releases`} size="sm" mt="sm" display="inline-block">
        All releases
      </Anchor>
    </Section>
  );
}

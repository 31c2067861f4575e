/** One pod: how it is, what it prints, a terminal in it, what happened to it. */
import { Alert, Anchor, Button, Card, SimpleGrid, Stack, Tabs, Text } from '@mantine/core';
import {
  IconBox,
  IconFileText,
  IconHistory,
  IconInfoCircle,
  IconJson,
  IconLock,
  IconRefresh,
  IconTerminal2,
  IconTrash,
} from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useActivity } from '../model/activity';
import { appPath } from '../model/app';
import { useOne } from '../model/collections';
import { canExec } from '../model/exec';
import { logSource, useLogFeed } from '../model/log_stream';
import { useMay } from '../model/me';
import { type PodRef, podPhase, podRef, useDescription } from '../model/pod';
import type { Pod } from '../model/schema';
import { amount, METRIC_WORDS, RANGES, seriesOf, useUsage } from '../model/usage';
import { ActivityRow } from '../view/activity';
import { Chart } from '../view/chart';
import { Facts } from '../view/facts';
import { JsonView } from '../view/json';
import { LogState } from '../view/log/log_state';
import { LogView } from '../view/log/log_view';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { PhaseBadge } from '../view/phase';
import { Ago, Copyable } from '../view/text';
import { PodConfirm, type PodQuestion } from './pod_confirm';
import { PodTerminal } from './pod_terminal';

const route = getRouteApi('/inside/projects/$project/pods/$pod');
const CRUMBS = [{ label: 'Pods', to: '/pods' }];
const ICON = 16;
/** Lines of the log that are asked for at first. */
const TAIL = 10_000;

export default function PodPage() {
  const { project, pod: name } = route.useParams();
  const pod = useOne('Pod', project, name);
  if (pod === undefined)
    return (
      <Page title={name} crumbs={CRUMBS}>
        <Loading />
      </Page>
    );
  if (pod === null)
    return (
      <Page title={name} crumbs={CRUMBS}>
        <EmptyState
          icon={<IconBox />}
          title="There is no such pod any more"
          action={
            <Button renderRoot={(props) => <Link {...props} to="/pods" search={{ project }} />} variant="light">
              The pods of {project}
            </Button>
          }
        >
          Pods come and go: with each release, and when one fails, an app’s pods are replaced by new ones of another
          name.
        </EmptyState>
      </Page>
    );
  return <PodView pod={pod} />;
}

function PodView({ pod }: { pod: Pod }) {
  const { project, pod: name } = podRef(pod);
  const { tab = 'overview' } = route.useSearch();
  const navigate = useNavigate({ from: '/projects/$project/pods/$pod' });
  const mayChange = useMay('developer', project);
  const [question, setQuestion] = useState<PodQuestion>();
  const app = pod.spec.app;
  return (
    <Page
      title={name}
      crumbs={CRUMBS}
      sign={<PhaseBadge phase={podPhase(pod)} size="lg" />}
      lead={
        app == null ? (
          `A pod of its own in ${project}`
        ) : (
          <>
            One of the pods of{' '}
            <Anchor component={Link} to={appPath({ project, app })} size="sm" underline="always">
              {app}
            </Anchor>
            {pod.spec.process == null ? '' : `, process ${pod.spec.process}`}
          </>
        )
      }
      actions={
        mayChange && (
          <>
            <Button
              variant="default"
              leftSection={<IconRefresh size={ICON} />}
              onClick={() => setQuestion({ what: 'restart', pods: [pod] })}
            >
              Restart
            </Button>
            <Button
              variant="light"
              color="red"
              leftSection={<IconTrash size={ICON} />}
              onClick={() => setQuestion({ what: 'delete', pods: [pod] })}
            >
              Delete
            </Button>
          </>
        )
      }
    >
      <Tabs
        value={tab}
        onChange={(value) => void navigate({ search: value === null || value === 'overview' ? {} : { tab: value } })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="overview" leftSection={<IconInfoCircle size={ICON} />}>
            Overview
          </Tabs.Tab>
          <Tabs.Tab value="logs" leftSection={<IconFileText size={ICON} />}>
            Logs
          </Tabs.Tab>
          <Tabs.Tab value="terminal" leftSection={<IconTerminal2 size={ICON} />}>
            Terminal
          </Tabs.Tab>
          <Tabs.Tab value="events" leftSection={<IconHistory size={ICON} />}>
            Events
          </Tabs.Tab>
          {mayChange && (
            <Tabs.Tab value="description" leftSection={<IconJson size={ICON} />}>
              Description
            </Tabs.Tab>
          )}
        </Tabs.List>
        <Tabs.Panel value="overview">
          <Overview pod={pod} />
        </Tabs.Panel>
        <Tabs.Panel value="logs">
          <PodLog project={project} pod={name} />
        </Tabs.Panel>
        <Tabs.Panel value="terminal">
          <PodShell pod={pod} />
        </Tabs.Panel>
        <Tabs.Panel value="events">
          <PodEvents project={project} pod={name} />
        </Tabs.Panel>
        <Tabs.Panel value="description">
          <Description pod={pod} />
        </Tabs.Panel>
      </Tabs>
      <PodConfirm question={question} onClose={() => setQuestion(undefined)} />
    </Page>
  );
}

/** What a command line is as people type it. */
function commandOf(command: string | readonly string[] | null | undefined): string | null {
  if (command == null) return null;
  return typeof command === 'string' ? command : command.join(' ');
}

function Overview({ pod }: { pod: Pod }) {
  const { spec, status, metadata } = pod;
  const { exit } = status;
  const troubled = ['failed', 'unready', 'exited'].includes(podPhase(pod));
  const env = Object.entries(spec.env ?? {});
  return (
    <Stack>
      {troubled && (
        <Alert color={podPhase(pod) === 'failed' ? 'red' : 'orange'} title={TROUBLE[podPhase(pod)]}>
          <Stack gap={6} align="flex-start">
            {status.reason != null && <Text size="sm">{status.reason}</Text>}
            <Button
              size="xs"
              variant="light"
              renderRoot={(props) => (
                <Link
                  {...props}
                  to="/projects/$project/pods/$pod"
                  params={{ project: metadata.project ?? '', pod: metadata.name }}
                  search={{ tab: 'logs' }}
                />
              )}
            >
              See what it printed last
            </Button>
          </Stack>
        </Alert>
      )}
      <Card>
        <Facts
          facts={[
            { label: 'Image', value: <Copyable value={spec.image} />, hint: 'The program with everything it needs.' },
            { label: 'Command', value: commandOf(spec.command) },
            { label: 'Release', value: spec.release == null ? null : `v${String(spec.release).replace(/^v/, '')}` },
            {
              label: 'Node',
              value: status.node,
              hint: 'The machine that it runs on.',
            },
            {
              label: 'Address',
              value: status.address == null ? null : <Copyable value={status.address} />,
              hint: 'Where other pods of the project reach it. It cannot be reached from outside.',
            },
            { label: 'Port', value: spec.port },
            {
              label: 'Restarts',
              value: String(status.restarts ?? 0),
              hint: 'How often it ended and was started again. More than a few mean that it fails.',
            },
            { label: 'Started', value: status.started == null ? null : <Ago at={status.started} /> },
            { label: 'Made', value: <Ago at={metadata.created} /> },
            {
              label: 'Last end',
              value:
                exit == null ? null : (
                  <>
                    exit status {exit.code} ({exit.cause.replaceAll('_', ' ')}), <Ago at={exit.at} />
                  </>
                ),
              hint: 'Status 0 means that it ended by itself and all was well.',
            },
            { label: 'At most', value: [spec.cpu && `${spec.cpu} CPU`, spec.memory].filter(Boolean).join(', ') },
            { label: 'When it ends', value: spec.restart === 'never' ? 'it is left ended' : 'it is started again' },
            {
              label: 'Variables',
              value: env.length === 0 ? null : env.map(([name]) => name).join(', '),
            },
          ]}
        />
      </Card>
      <PodUsage {...podRef(pod)} />
    </Stack>
  );
}

const TROUBLE: Record<string, string> = {
  failed: 'This pod has failed',
  unready: 'This pod runs but does not answer',
  exited: 'What ran in this pod has ended',
};

function PodUsage({ project, pod }: PodRef) {
  const range = RANGES[0] ?? '1h';
  const { data: usage, error } = useUsage({ of: 'pod', project, name: pod }, range);
  if (error !== null) return <ProblemAlert error={error} />;
  if (usage === undefined) return <Loading rows={2} height={160} />;
  const [cpu, memory] = [seriesOf(usage, 'cpu'), seriesOf(usage, 'memory')];
  const [received, sent] = [seriesOf(usage, 'network_in'), seriesOf(usage, 'network_out')];
  return (
    <SimpleGrid cols={{ base: 1, md: 3 }}>
      {[cpu, memory].map(
        (series) =>
          series !== undefined && (
            <Card key={series.name}>
              <Chart
                title={METRIC_WORDS[series.name]}
                from={usage.from}
                stepSeconds={usage.step_seconds}
                lines={[{ label: METRIC_WORDS[series.name], values: series.values, limit: series.limit ?? null }]}
                format={(value) => amount(series.unit, value)}
              />
            </Card>
          ),
      )}
      {received !== undefined && sent !== undefined && (
        <Card>
          <Chart
            title="Network"
            from={usage.from}
            stepSeconds={usage.step_seconds}
            lines={[received, sent].map(({ name, values }) => ({ label: METRIC_WORDS[name], values }))}
            format={(value) => amount(received.unit, value)}
          />
        </Card>
      )}
    </SimpleGrid>
  );
}

function PodLog({ project, pod }: PodRef) {
  const { log, state, resume } = useLogFeed(logSource({ project, pod, tail: TAIL }));
  return (
    <Stack gap="sm">
      {state.phase === 'failed' && <ProblemAlert error={state.error} retry={resume} />}
      <LogView
        log={log}
        label={`Log of ${pod}`}
        file={`${project}-${pod}`}
        state={<LogState phase={state.phase} />}
        empty={
          state.phase === 'opening'
            ? 'Opening the log…'
            : 'The pod has printed nothing yet. What it prints appears here.'
        }
      />
    </Stack>
  );
}

function PodShell({ pod }: { pod: Pod }) {
  const { project, pod: name } = podRef(pod);
  const may = useMay('developer', project);
  const [command, setCommand] = useState('auto');
  // A terminal that was opened stays when the pod ends, with what was printed in it.
  const [opened, setOpened] = useState(false);
  const can = canExec(podPhase(pod));
  if (can && !opened && may) setOpened(true);
  if (!may)
    return (
      <EmptyState icon={<IconLock />} title="A terminal takes the role of a developer">
        In a terminal commands run inside the pod. Ask an administrator of this platform for that role.
      </EmptyState>
    );
  if (!opened)
    return (
      <EmptyState icon={<IconTerminal2 />} title="The pod does not run">
        A terminal runs commands inside a running pod; this one is {podPhase(pod)}. The terminal opens as soon as it
        runs.
      </EmptyState>
    );
  return <PodTerminal project={project} pod={name} command={command} onCommand={setCommand} />;
}

function PodEvents({ project, pod }: PodRef) {
  const navigate = useNavigate();
  const events = useActivity({ project, kind: 'Pod', object: pod });
  if (events.error !== null) return <ProblemAlert error={events.error} />;
  if (events.data === undefined) return <Loading />;
  const items = events.data.pages
    .flatMap(({ items }) => items)
    .filter(({ spec }) => spec.kind === 'Pod' && spec.object === pod);
  if (items.length === 0)
    return (
      <EmptyState icon={<IconHistory />} title="Nothing happened to this pod yet">
        What people or the platform do to it is told here: restarts, commands, failures.
      </EmptyState>
    );
  return (
    <Stack gap={0}>
      <ul style={{ margin: 0, padding: 0 }}>
        {items.map((event) => (
          <ActivityRow
            key={event.metadata.uid ?? event.metadata.name}
            event={event}
            onActor={(actor) => void navigate({ to: '/activity', search: { actor } })}
            onObject={(q) => void navigate({ to: '/activity', search: { q } })}
          />
        ))}
      </ul>
      {events.hasNextPage && (
        <Button variant="subtle" loading={events.isFetchingNextPage} onClick={() => void events.fetchNextPage()}>
          Older
        </Button>
      )}
    </Stack>
  );
}

function Description({ pod }: { pod: Pod }) {
  const ref = podRef(pod);
  const version = `${podPhase(pod)} ${pod.status.restarts ?? 0} ${pod.status.started ?? ''}`;
  const { data, error, refetch } = useDescription(ref, version, useMay('developer', ref.project));
  if (error !== null) return <ProblemAlert error={error} retry={() => void refetch()} />;
  if (data === undefined) return <Loading rows={8} height={24} />;
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">
        What {data.engine} itself says of this pod, for people who know it. Values of variables and secrets are left
        out.
      </Text>
      <JsonView value={data.raw} label={`Description of ${ref.pod}`} />
    </Stack>
  );
}

/** A deployment as it goes on, until the app runs or it is plain why it does not. */
import { Alert, Anchor, Button, Card, Code, Group, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconExternalLink } from '@tabler/icons-react';
import { Link, useNavigate } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { useCancelBuild } from '../../actions/build_cancel';
import { celebrate } from '../../actions/celebrate';
import { isWeb } from '../../model/address';
import { useApp, useAppPods, useOne } from '../../model/collections';
import { advice, outcome, steps } from '../../model/deployment';
import type { LogBuffer } from '../../model/log';
import { buildLogSource, useLogFeed } from '../../model/log_stream';
import { DeploymentSteps } from '../../view/deployment_steps';
import { LinkButton } from '../../view/link_button';
import { LogState } from '../../view/log/log_state';
import { LogView } from '../../view/log/log_view';
import { Loading, Page } from '../../view/page';

export interface DeploymentProps {
  project: string;
  app: string;
  build: string | undefined;
  release: string | undefined;
  source: string | undefined;
}

export function Deployment(props: DeploymentProps) {
  const { project, app, build } = props;
  if (build === undefined) return <Following {...props} log={undefined} logState={null} />;
  return <WithLog key={`${project} ${app} ${build}`} {...props} build={build} />;
}

function WithLog(props: DeploymentProps & { build: string }) {
  const { log, state } = useLogFeed(buildLogSource(props.project, props.app, props.build));
  return <Following {...props} log={log} logState={<LogState phase={state.phase} />} />;
}

function Following(props: DeploymentProps & { log: LogBuffer | undefined; logState: React.ReactNode }) {
  const { project, app: name, build: buildName, release: releaseName, source, log, logState } = props;
  const navigate = useNavigate({ from: '/new' });
  const cancel = useCancelBuild();
  const app = useApp({ project, app: name });
  const pods = useAppPods({ project, app: name }) ?? [];
  const build = useOne('Build', project, buildName ?? '', name);
  const made = build?.status.release;
  const release = useOne('Release', project, releaseName ?? (made == null ? '' : `v${made}`), name);
  const known = app !== undefined && build !== undefined && release !== undefined;
  const scene = { build: buildName === undefined ? undefined : build, release, app, pods };
  const ended = outcome(scene);

  // Who watched it become live is led to the app; who comes later is told that it is.
  const watched = useRef(false);
  const url = app?.status.url;
  useEffect(() => {
    if (!known) return;
    if (ended === 'running') watched.current = true;
    else if (ended === 'live' && watched.current) {
      watched.current = false;
      celebrate(name, url);
      void navigate({ to: '/projects/$project/apps/$app', params: { project, app: name }, replace: true });
    }
  }, [known, ended, name, url, project, navigate]);

  if (!known) {
    return (
      <Page title={`Deploying ${name}`}>
        <Loading rows={3} height={80} />
      </Page>
    );
  }
  if (app === null || (buildName !== undefined && build === null)) {
    return (
      <Page title={`Deploying ${name}`}>
        <Alert color="orange" title="There is no such deployment" role="alert">
          It is older than what is kept, or the app was deleted.
        </Alert>
      </Page>
    );
  }
  const titles = {
    running: `Deploying ${name}`,
    live: `${name} is live`,
    failed: `${name} was not deployed`,
    cancelled: `The build of ${name} was cancelled`,
    superseded: `A newer release of ${name} took over`,
  };
  return (
    <Page
      title={titles[ended]}
      lead={ended === 'running' ? 'This goes on by itself, also when you leave this page.' : undefined}
      actions={
        <>
          {ended === 'running' && buildName !== undefined && build != null && build.status.phase !== 'succeeded' && (
            <Button
              variant="default"
              loading={cancel.isPending}
              onClick={() => cancel.mutate({ project, app: name, build: buildName })}
            >
              Cancel the build
            </Button>
          )}
          <Button
            component={Link}
            to={`/projects/${encodeURIComponent(project)}/apps/${encodeURIComponent(name)}`}
            variant={ended === 'live' ? 'filled' : 'default'}
          >
            To the app
          </Button>
        </>
      }
    >
      <Card>
        <DeploymentSteps steps={steps(scene)} />
      </Card>
      {ended === 'live' && (
        <Alert color="green" icon={<IconCircleCheck />} title="It runs">
          {isWeb(url) ? (
            <Anchor href={url} target="_blank" rel="noreferrer" fw={600}>
              {url} <IconExternalLink size={14} aria-hidden />
            </Anchor>
          ) : (
            'It works in the background.'
          )}
        </Alert>
      )}
      {ended === 'failed' && (
        <Failure
          reason={release?.status.phase === 'failed' ? release.status.reason : build?.status.reason}
          lines={release?.status.log ?? []}
          log={log}
          again={source === undefined ? { project, app: name } : { project, app: name, source }}
          serving={app.status.release != null}
        />
      )}
      {log !== undefined && buildName !== undefined && (
        <LogView
          log={log}
          label={`Log of build ${buildName}`}
          file={`${name}-${buildName}`}
          state={logState}
          empty={
            <Text size="sm" c="dimmed">
              {build?.status.phase === 'queued' ? 'The build waits for its turn.' : 'The log begins in a moment.'}
            </Text>
          }
          height="min(55vh, 520px)"
        />
      )}
    </Page>
  );
}

/** So many lines are shown beside a reason. */
const LAST = 8;

function Failure(props: {
  reason: string | null | undefined;
  /** Of the pod at fault. */
  lines: readonly string[];
  log: LogBuffer | undefined;
  again: { project: string; app: string; source?: string };
  serving: boolean;
}) {
  const { reason, lines, log, again, serving } = props;
  const shown = lines.length > 0 ? lines.slice(-LAST) : lastOf(log);
  return (
    <Alert color="red" role="alert" icon={<IconAlertTriangle />} title={reason ?? 'It did not work'}>
      <Stack gap="sm" align="stretch">
        {shown.length > 0 && (
          <div>
            <Text size="xs" c="dimmed" mb={4}>
              The last it said
            </Text>
            <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
              {shown.join('\n')}
            </Code>
          </div>
        )}
        <div>
          <Text size="sm" fw={600}>
            What to try next
          </Text>
          <Text size="sm">{advice(reason, shown)}</Text>
          {serving && (
            <Text size="sm">Nothing changed for those who use the app: the release before it goes on serving.</Text>
          )}
        </div>
        <Group>
          <LinkButton to="/new" search={again} size="xs">
            {again.source === undefined ? 'Try again' : 'Change the settings and try again'}
          </LinkButton>
          {again.source !== undefined && (
            <LinkButton to="/new" search={{ project: again.project, app: again.app }} size="xs" variant="default">
              Bring a mended source
            </LinkButton>
          )}
        </Group>
      </Stack>
    </Alert>
  );
}

function lastOf(log: LogBuffer | undefined): string[] {
  if (log === undefined) return [];
  const first = Math.max(0, log.length - LAST);
  return Array.from({ length: log.length - first }, (_, index) => log.at(first + index)?.plain ?? '');
}

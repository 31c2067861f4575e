/** What is around each page of an app: its name, state and address, what can be done with it, and the tabs. */
import { ActionIcon, Alert, Anchor, Button, CopyButton, Group, Menu, Tooltip } from '@mantine/core';
import {
  IconApps,
  IconArrowBackUp,
  IconCheck,
  IconCopy,
  IconDots,
  IconExternalLink,
  IconPlayerPlay,
  IconPlayerStop,
  IconRefresh,
  IconTrash,
  IconUpload,
} from '@tabler/icons-react';
import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useStartApp, useStopApp } from '../../actions/app';
import { useDeployAgain, useRollBack } from '../../actions/release';
import { isWeb, shortAddress } from '../../model/address';
import { appPath, isStopped, refOf, startScales, wishes } from '../../model/app';
import { useApp, useReleases } from '../../model/collections';
import { useMay } from '../../model/me';
import { baseRelease, previousRelease } from '../../model/release';
import type { App } from '../../model/schema';
import { Confirm } from '../../view/confirm';
import { LinkButton } from '../../view/link_button';
import { EmptyState, Loading, Page } from '../../view/page';
import { PhaseBadge } from '../../view/phase';
import { PageTabs } from '../../view/tabs';
import { useAppRef } from './app_ref';

/** The parts of an app's address and what they are called. */
const TABS: readonly (readonly [string, string])[] = [
  ['', 'Overview'],
  ['logs', 'Logs'],
  ['releases', 'Releases'],
  ['builds', 'Builds'],
  ['env', 'Environment'],
  ['processes', 'Processes'],
  ['metrics', 'Metrics'],
  ['domains', 'Domains'],
  ['volumes', 'Volumes'],
  ['terminal', 'Terminal'],
  ['events', 'Events'],
  ['settings', 'Settings'],
];

/** What only those may see who may change the app: variables hold secrets, and a terminal can do anything. */
const DEVELOPERS: readonly string[] = ['env', 'terminal'];

const CRUMBS = [{ label: 'Apps', to: '/apps' }];

export default function AppPage() {
  const ref = useAppRef();
  const app = useApp(ref);
  if (app === undefined) {
    return (
      <Page title={ref.app} crumbs={CRUMBS}>
        <Loading rows={3} height={110} />
      </Page>
    );
  }
  if (app === null) {
    return (
      <Page title={ref.app} crumbs={CRUMBS}>
        <EmptyState
          icon={<IconApps />}
          title="There is no such app"
          action={
            <Button component={Link} to="/apps" variant="light">
              All apps
            </Button>
          }
        >
          It may have been deleted, or it is in a project that you may not see.
        </EmptyState>
      </Page>
    );
  }
  return <AppFrame app={app} />;
}

function AppFrame({ app }: { app: App }) {
  const ref = useAppRef();
  const base = appPath(ref);
  const path = useLocation({ select: (location) => location.pathname });
  const rest = path.startsWith(base) ? (path.slice(base.length + 1).split('/')[0] ?? '') : '';
  const developer = useMay('developer', ref.project);
  const tabs = TABS.filter(([part]) => developer || !DEVELOPERS.includes(part)).map(([part, label]) => ({
    to: part === '' ? base : `${base}/${part}`,
    label,
  }));
  const deleting = app.metadata.deleting != null;
  const { url } = app.status;
  return (
    <Page
      title={ref.app}
      crumbs={CRUMBS}
      sign={<PhaseBadge phase={app.status.phase ?? 'stopped'} />}
      lead={
        <Group gap={6} component="span">
          <span>in project {ref.project}</span>
          {isWeb(url) && (
            <Group gap={2} wrap="nowrap" component="span" maw="100%">
              <span aria-hidden>·</span>
              <Anchor href={url} target="_blank" rel="noreferrer" size="sm" ml={4} style={{ overflowWrap: 'anywhere' }}>
                {shortAddress(url)}
              </Anchor>
              <CopyAddress url={url} />
            </Group>
          )}
        </Group>
      }
      actions={<AppActions app={app} />}
    >
      <PageTabs label={`Pages of ${ref.app}`} tabs={tabs} active={rest === '' ? base : `${base}/${rest}`} />
      {deleting && (
        <Alert color="orange" title="This app is being deleted">
          Its pods stop, and then everything that it has is gone.
        </Alert>
      )}
      <Outlet />
    </Page>
  );
}

function CopyAddress({ url }: { url: string }) {
  return (
    <CopyButton value={url}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? 'Copied' : 'Copy the address'}>
          <ActionIcon
            variant="subtle"
            color="gray"
            size="sm"
            onClick={copy}
            aria-label={copied ? 'Copied' : 'Copy the address'}
          >
            {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

function AppActions({ app }: { app: App }) {
  const ref = refOf(app);
  const mayChange = useMay('developer', ref.project) && app.metadata.deleting == null;
  const { url } = app.status;
  return (
    <>
      {isWeb(url) && (
        <Button
          component="a"
          href={url}
          target="_blank"
          rel="noreferrer"
          variant="default"
          size="sm"
          rightSection={<IconExternalLink size={15} />}
        >
          Open
        </Button>
      )}
      {mayChange && (
        <>
          <LinkButton to="/new" search={ref} size="sm" leftSection={<IconUpload size={15} />}>
            New version
          </LinkButton>
          <AppMenu app={app} />
        </>
      )}
    </>
  );
}

function AppMenu({ app }: { app: App }) {
  const ref = refOf(app);
  const navigate = useNavigate();
  const releases = useReleases(ref) ?? [];
  const base = baseRelease(releases, app.status.release);
  const earlier = previousRelease(releases, app.status.release);
  const stopped = isStopped(app, base);
  const stop = useStopApp();
  const start = useStartApp();
  const again = useDeployAgain();
  const back = useRollBack();
  const [asking, setAsking] = useState<'stop' | 'back'>();
  const close = () => {
    setAsking(undefined);
    back.reset();
  };
  return (
    <>
      <Menu position="bottom-end" withinPortal>
        <Menu.Target>
          <ActionIcon variant="default" size={36} aria-label={`More that can be done with ${ref.app}`}>
            <IconDots size={18} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item
            leftSection={<IconRefresh size={15} />}
            disabled={base === undefined || base.status.image == null}
            onClick={() => base !== undefined && again.mutate({ ref, base })}
          >
            Deploy {base === undefined ? 'it' : `v${base.spec.number}`} again
          </Menu.Item>
          <Menu.Item
            leftSection={<IconArrowBackUp size={15} />}
            disabled={earlier === undefined}
            onClick={() => setAsking('back')}
          >
            {earlier === undefined ? 'No earlier release to go back to' : `Go back to v${earlier.spec.number}`}
          </Menu.Item>
          {stopped ? (
            <Menu.Item
              leftSection={<IconPlayerPlay size={15} />}
              onClick={() => start.mutate({ ...ref, scales: startScales(base) })}
            >
              Start
            </Menu.Item>
          ) : (
            <Menu.Item
              leftSection={<IconPlayerStop size={15} />}
              disabled={base === undefined}
              onClick={() => setAsking('stop')}
            >
              Stop
            </Menu.Item>
          )}
          <Menu.Divider />
          <Menu.Item
            color="red"
            leftSection={<IconTrash size={15} />}
            onClick={() => void navigate({ to: `${appPath(ref)}/settings` })}
          >
            Delete…
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Confirm
        opened={asking === 'stop'}
        title={`Stop ${ref.app}`}
        verb="Stop it"
        busy={stop.isPending}
        error={stop.error}
        onClose={close}
        onConfirm={() => {
          const before = wishes(app, base);
          stop.mutate({ ...ref, processes: Object.keys(before), before }, { onSuccess: close });
        }}
      >
        All of its pods end, and its address answers no more until you start it again. Its data, variables and releases
        stay.
      </Confirm>
      <Confirm
        opened={asking === 'back' && earlier !== undefined}
        title={`Go back to v${earlier?.spec.number}`}
        verb="Go back"
        busy={back.isPending}
        error={back.error}
        onClose={close}
        onConfirm={() => {
          if (earlier === undefined) return;
          back.mutate({ ref, to: earlier.spec.number, live: app.status.release }, { onSuccess: close });
        }}
      >
        A new release is made with the image, the processes and the variables of v{earlier?.spec.number}. What runs now
        goes on until it is ready. Data on volumes stays as it is.
      </Confirm>
    </>
  );
}

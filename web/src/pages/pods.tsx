/** Every pod that one may see. */
import { Button, Checkbox, Group, Menu, Modal, Paper, Select, Text, VisuallyHidden } from '@mantine/core';
import { IconBox, IconPlus, IconRefresh, IconTrash } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useCallback, useMemo, useState } from 'react';
import { useCreatePod } from '../actions/pod';
import { usePods, useProjects } from '../model/collections';
import { bytes, count, cpu } from '../model/format';
import { may, useMe } from '../model/me';
import { NO_APP, type PodRow, passesFilter, podKey, podPhase, podRows } from '../model/pod';
import type { Pod, WhoAmI } from '../model/schema';
import { useUsageSample } from '../model/usage';
import { FilterBar, matches } from '../view/filter_bar';
import { EmptyState, Loading, Page } from '../view/page';
import { PhaseBadge } from '../view/phase';
import { PodForm } from '../view/pod';
import classes from '../view/pod.module.css';
import { PodNames, Since } from '../view/pod_cells';
import { type Column, DataTable } from '../view/table';
import { PodConfirm, type PodQuestion } from './pod_confirm';

const route = getRouteApi('/inside/pods');

type SearchName = 'project' | 'q' | 'order' | 'phase' | 'node' | 'app' | 'create';

export default function PodsPage() {
  const me = useMe();
  const search = route.useSearch();
  const { project, q, order, phase, node, app, create } = search;
  const navigate = useNavigate({ from: '/pods' });
  const put = useCallback(
    (name: SearchName, value: string | undefined) =>
      void navigate({
        search: ({ [name]: _before, ...others }) => (value === undefined ? others : { ...others, [name]: value }),
        replace: true,
      }),
    [navigate],
  );
  const projects = useProjects()?.map(({ metadata }) => metadata.name);
  const pods = usePods(project);
  const sample = useUsageSample();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [question, setQuestion] = useState<PodQuestion>();
  const made = useCreatePod();

  const rows = useMemo(() => podRows(pods ?? [], sample), [pods, sample]);
  const shown = useMemo(
    () =>
      rows.filter(
        ({ pod }) =>
          passesFilter(pod, { phase, node, app }) &&
          matches(q, pod.metadata.name, pod.metadata.project, pod.spec.app, pod.spec.image, pod.status.address),
      ),
    [rows, phase, node, app, q],
  );
  const picked = useMemo(() => shown.filter(({ key }) => chosen.has(key)).map(({ pod }) => pod), [shown, chosen]);
  const mine = useMemo(() => shown.filter(({ pod }) => mayChange(me, pod)), [shown, me]);
  const toggle = useCallback((key: string) => {
    setChosen((was) => {
      const next = new Set(was);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  }, []);
  const columns = useMemo(
    () =>
      columnsFor({
        me,
        chosen,
        toggle,
        ask: setQuestion,
        all: mine.length > 0 && mine.every(({ key }) => chosen.has(key)),
        some: chosen.size > 0,
        go: (to) => void navigate({ to }),
        toggleAll: (on) => setChosen(on ? new Set(mine.map(({ key }) => key)) : new Set()),
      }),
    [me, chosen, toggle, mine, navigate],
  );

  const mayCreateIn = (projects ?? []).filter((one) => may(me, 'developer', one));
  const add = mayCreateIn.length > 0 && (
    <Button leftSection={<IconPlus size={16} />} onClick={() => put('create', 'yes')}>
      Create pod
    </Button>
  );
  return (
    <Page
      title="Pods"
      lead="A pod is one running instance of a program. Apps make their pods by themselves and replace those that fail."
      actions={add}
    >
      {pods === undefined ? (
        <Loading />
      ) : pods.length === 0 && project === undefined ? (
        <EmptyState icon={<IconBox />} title="No pods yet" action={add}>
          Deploy an app and its pods appear here, or create a single pod from an image.
        </EmptyState>
      ) : (
        <>
          <FilterBar
            {...(projects ? { projects } : {})}
            project={project}
            onProject={(value) => put('project', value)}
            words={q}
            onWords={(value) => put('q', value)}
            placeholder="Find by name, app, image or address"
          >
            <Narrow
              label="Status"
              every="Any status"
              value={phase}
              values={phasesOf(pods)}
              onChange={(v) => put('phase', v)}
            />
            <Narrow label="App" every="Any app" value={app} values={appsOf(pods)} onChange={(v) => put('app', v)} />
            <Narrow
              label="Node"
              every="Any node"
              value={node}
              values={nodesOf(pods)}
              onChange={(v) => put('node', v)}
            />
          </FilterBar>
          {picked.length > 0 && (
            <Paper withBorder p="xs" role="status">
              <Group gap="sm">
                <Text size="sm" fw={600}>
                  {count(picked.length, 'pod')} chosen
                </Text>
                <Button
                  size="xs"
                  variant="default"
                  leftSection={<IconRefresh size={14} />}
                  onClick={() => setQuestion({ what: 'restart', pods: picked })}
                >
                  Restart
                </Button>
                <Button
                  size="xs"
                  variant="light"
                  color="red"
                  leftSection={<IconTrash size={14} />}
                  onClick={() => setQuestion({ what: 'delete', pods: picked })}
                >
                  Delete
                </Button>
                <Button size="xs" variant="subtle" onClick={() => setChosen(new Set())}>
                  Choose none
                </Button>
              </Group>
            </Paper>
          )}
          {shown.length === 0 ? (
            <EmptyState
              icon={<IconBox />}
              title="No pod is like that"
              action={
                <Button variant="light" onClick={() => void navigate({ search: {} })}>
                  Show all pods
                </Button>
              }
            >
              Nothing passes what you narrowed the list by.
            </EmptyState>
          ) : (
            <>
              <DataTable
                label="Pods"
                rows={shown}
                columns={columns}
                rowKey={(row) => row.key}
                order={order}
                onOrder={(value) => put('order', value)}
              />
              <Text size="xs" c="dimmed">
                {shown.length === rows.length
                  ? count(rows.length, 'pod')
                  : `${shown.length.toLocaleString()} of ${count(rows.length, 'pod')}`}
              </Text>
            </>
          )}
        </>
      )}
      <Modal
        opened={create !== undefined && mayCreateIn.length > 0}
        onClose={() => put('create', undefined)}
        title="Create a pod"
        size="lg"
      >
        <PodForm
          projects={mayCreateIn}
          project={project}
          busy={made.isPending}
          error={made.error}
          onCreate={(where, name, spec) =>
            made.mutate(
              { project: where, name, spec },
              {
                onSuccess: () =>
                  void navigate({ to: '/projects/$project/pods/$pod', params: { project: where, pod: name } }),
              },
            )
          }
          onClose={() => {
            made.reset();
            put('create', undefined);
          }}
        />
      </Modal>
      <PodConfirm
        question={question}
        onClose={(done) => {
          setQuestion(undefined);
          if (done) setChosen(new Set());
        }}
      />
    </Page>
  );
}

function Narrow(props: {
  label: string;
  every: string;
  value: string | undefined;
  values: readonly { value: string; label: string }[];
  onChange: (value: string | undefined) => void;
}) {
  const { label, every, value, values, onChange } = props;
  // What the address says stays visible, also when no pod is like that any more.
  const known = value === undefined || values.some((one) => one.value === value);
  if (values.length < 2 && value === undefined) return null;
  return (
    <Select
      aria-label={label}
      data={[{ value: '', label: every }, ...values, ...(known ? [] : [{ value, label: value }])]}
      value={value ?? ''}
      onChange={(next) => onChange(next || undefined)}
      allowDeselect={false}
      searchable={values.length > 8}
      w={150}
    />
  );
}

function distinct(values: readonly string[]): { value: string; label: string }[] {
  return [...new Set(values)].sort().map((value) => ({ value, label: value }));
}
const phasesOf = (pods: readonly Pod[]) => distinct(pods.map(podPhase));
const nodesOf = (pods: readonly Pod[]) => distinct(pods.flatMap(({ status }) => status.node ?? []));
const appsOf = (pods: readonly Pod[]) =>
  distinct(pods.map(({ spec }) => spec.app ?? NO_APP)).map(({ value, label }) => ({
    value,
    label: value === NO_APP ? 'Of no app' : label,
  }));

function mayChange(me: WhoAmI | undefined, pod: Pod): boolean {
  return may(me, 'developer', pod.metadata.project ?? undefined);
}

interface Choosing {
  me: WhoAmI | undefined;
  chosen: ReadonlySet<string>;
  toggle: (key: string) => void;
  ask: (question: PodQuestion) => void;
  all: boolean;
  some: boolean;
  toggleAll: (on: boolean) => void;
  go: (to: string) => void;
}

function columnsFor({ me, chosen, toggle, ask, all, some, toggleAll, go }: Choosing): Column<PodRow>[] {
  const can = me !== undefined && me.role !== 'viewer';
  const columns: Column<PodRow>[] = [
    {
      key: 'name',
      title: 'Name',
      width: '3fr',
      order: ({ pod }) => podKey(pod),
      cell: ({ pod }) => <PodNames pod={pod} go={go} />,
    },
    {
      key: 'status',
      title: 'Status',
      width: '104px',
      order: ({ pod }) => podPhase(pod),
      cell: ({ pod }) => (
        <span className={classes.middle} title={pod.status.reason ?? undefined}>
          <PhaseBadge phase={podPhase(pod)} still />
        </span>
      ),
    },
    {
      key: 'restarts',
      title: 'Restarts',
      width: '76px',
      wide: true,
      order: ({ pod }) => pod.status.restarts ?? 0,
      cell: ({ pod }) => pod.status.restarts ?? 0,
    },
    {
      key: 'cpu',
      title: 'CPU',
      width: '60px',
      wide: true,
      order: ({ used }) => used?.cpu ?? -1,
      cell: ({ used }) => <span title={cpu(used?.cpu)}>{cpu(used?.cpu).replace(' CPU', '')}</span>,
    },
    {
      key: 'memory',
      title: 'Memory',
      width: '84px',
      wide: true,
      order: ({ used }) => used?.memory ?? -1,
      cell: ({ used }) => (
        <span title={used?.memory_limit == null ? undefined : `of ${bytes(used.memory_limit)}`}>
          {bytes(used?.memory)}
        </span>
      ),
    },
    {
      key: 'node',
      title: 'Node',
      width: '1fr',
      wide: true,
      order: ({ pod }) => pod.status.node ?? '',
      cell: ({ pod }) => pod.status.node ?? '–',
    },
    {
      key: 'address',
      title: 'Address',
      width: '104px',
      wide: true,
      order: ({ pod }) => pod.status.address ?? '',
      cell: ({ pod }) => pod.status.address ?? '–',
    },
    {
      key: 'started',
      title: 'Started',
      width: '116px',
      wide: true,
      order: ({ pod }) => pod.status.started ?? '',
      cell: ({ pod }) => <Since at={pod.status.started} />,
    },
  ];
  if (!can) return columns;
  return [
    {
      key: 'choose',
      title: 'Choose',
      head: (
        <Checkbox
          size="xs"
          aria-label="Choose all pods that are shown"
          checked={all}
          indeterminate={some && !all}
          onChange={(event) => toggleAll(event.currentTarget.checked)}
        />
      ),
      width: '24px',
      cell: ({ key, pod }) =>
        mayChange(me, pod) && (
          <input
            type="checkbox"
            className={classes.box}
            aria-label={`Choose ${pod.metadata.name}`}
            checked={chosen.has(key)}
            onChange={() => toggle(key)}
          />
        ),
    },
    ...columns,
    {
      key: 'more',
      title: 'Actions',
      head: <VisuallyHidden>Actions</VisuallyHidden>,
      width: '32px',
      cell: ({ pod }) =>
        mayChange(me, pod) && (
          <span className={classes.middle}>
            <RowMenu pod={pod} ask={ask} />
          </span>
        ),
    },
  ];
}

/** Three dots, made once for all rows. */
const DOTS = (
  <svg width="16" height="16" viewBox="0 0 24 24" fill="currentColor" aria-hidden="true">
    <path d="M3 12a2 2 0 1 0 4 0a2 2 0 1 0 -4 0m7 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0m7 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0" />
  </svg>
);

/** The menu is made when somebody opens it: two thousand rows have two thousand of them. */
function RowMenu({ pod, ask }: { pod: Pod; ask: (question: PodQuestion) => void }) {
  const [opened, setOpened] = useState(false);
  const button = (
    <button
      type="button"
      className={classes.more}
      aria-label={`Actions for ${pod.metadata.name}`}
      aria-haspopup="menu"
      onClick={() => setOpened(true)}
    >
      {DOTS}
    </button>
  );
  if (!opened) return button;
  return (
    <Menu opened onChange={setOpened} withinPortal position="bottom-end">
      <Menu.Target>{button}</Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconRefresh size={14} />} onClick={() => ask({ what: 'restart', pods: [pod] })}>
          Restart…
        </Menu.Item>
        <Menu.Item
          color="red"
          leftSection={<IconTrash size={14} />}
          onClick={() => ask({ what: 'delete', pods: [pod] })}
        >
          Delete…
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** What an app's pods print, as they print it. */
import { Button, Group, MultiSelect, Select, Stack } from '@mantine/core';
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useCallback, useMemo, useRef, useSyncExternalStore } from 'react';
import { useAppPods } from '../../model/collections';
import type { LogBuffer, LogLine } from '../../model/log';
import { logSource, useLogFeed } from '../../model/log_stream';
import { LogState } from '../../view/log/log_state';
import { LogView } from '../../view/log/log_view';
import { ProblemAlert } from '../../view/page';

/** Without a wish: the last so many lines of each pod. */
const TAIL = 2000;
/** The most that is kept and that can be asked for. */
const MOST = 100_000;

const SINCE = [
  { value: '', label: 'The newest lines' },
  { value: '15m', label: 'Last 15 minutes' },
  { value: '1h', label: 'Last hour' },
  { value: '24h', label: 'Last day' },
  { value: 'all', label: 'All there is' },
];

export default function LogsPage() {
  const { project, app } = useParams({ from: '/inside/projects/$project/apps/$app/logs' });
  const search = useSearch({ from: '/inside/projects/$project/apps/$app/logs' });
  const navigate = useNavigate({ from: '/projects/$project/apps/$app/logs' });
  const since = SINCE.some(({ value }) => value === search.since) ? (search.since ?? '') : '';
  const source = logSource({
    project,
    app,
    ...(since === '' ? { tail: TAIL } : since === 'all' ? { tail: MOST } : { since }),
  });
  const { log, state, resume } = useLogFeed(source);
  const told = useNames(log);
  const pods = useAppPods({ project, app });

  const processes = useMemo(
    () => [...new Set([...told.processes, ...(pods ?? []).flatMap(({ spec }) => spec.process ?? [])])].sort(),
    [told.processes, pods],
  );
  const names = useMemo(
    () => [...new Set([...told.pods, ...(pods ?? []).map(({ metadata }) => metadata.name)])].sort(),
    [told.pods, pods],
  );
  const process = search.process;
  const chosen = useMemo(() => (search.pod ?? '').split(',').filter((name) => name !== ''), [search.pod]);
  const passes = useMemo(() => {
    if (process === undefined && chosen.length === 0) return undefined;
    const some = new Set(chosen);
    return (line: LogLine) =>
      (process === undefined || line.process === process) &&
      (some.size === 0 || (line.pod !== undefined && some.has(line.pod)));
  }, [process, chosen]);

  const narrow = useCallback(
    (name: 'q' | 'pod' | 'process' | 'since', value: string | undefined) =>
      void navigate({
        search: ({ [name]: _before, ...others }) => (value === undefined ? others : { ...others, [name]: value }),
        replace: true,
        resetScroll: false,
      }),
    [navigate],
  );

  return (
    <Stack gap="sm">
      {state.phase === 'failed' && <ProblemAlert error={state.error} retry={resume} />}
      <LogView
        key={source.url}
        log={log}
        label={`Log of ${app}`}
        file={`${project}-${app}`}
        state={<LogState phase={state.phase} />}
        empty={
          state.phase === 'opening'
            ? 'Opening the log…'
            : 'The app has printed nothing yet. What it prints appears here.'
        }
        passes={passes}
        words={search.q}
        onWords={(q) => narrow('q', q)}
        showPod={names.length > 1}
      >
        <Group gap={6}>
          {processes.length > 1 && (
            <Select
              size="xs"
              aria-label="Process"
              data={[{ value: '', label: 'All processes' }, ...processes]}
              value={process ?? ''}
              onChange={(value) => narrow('process', value || undefined)}
              allowDeselect={false}
              w={140}
            />
          )}
          {names.length > 1 && (
            <MultiSelect
              size="xs"
              aria-label="Pods"
              placeholder={chosen.length === 0 ? 'All pods' : ''}
              data={names}
              value={chosen}
              onChange={(value) => narrow('pod', value.length === 0 ? undefined : value.join(','))}
              clearable
              miw={160}
              maw={360}
            />
          )}
          <Select
            size="xs"
            aria-label="From when on"
            data={SINCE}
            value={since}
            onChange={(value) => narrow('since', value || undefined)}
            allowDeselect={false}
            w={150}
          />
          {(state.phase === 'ended' || state.phase === 'paused') && (
            <Button size="xs" variant="light" onClick={resume}>
              Go on
            </Button>
          )}
        </Group>
      </LogView>
    </Stack>
  );
}

interface Names {
  pods: readonly string[];
  processes: readonly string[];
}

/** Names of the pods and processes that told something, also of those that are gone. */
function useNames(log: LogBuffer): Names {
  const last = useRef<Names>({ pods: [], processes: [] });
  const read = () => {
    const now = log.names;
    if (now.pods.length !== last.current.pods.length || now.processes.length !== last.current.processes.length)
      last.current = now;
    return last.current;
  };
  return useSyncExternalStore(log.subscribe, read);
}

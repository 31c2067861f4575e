import { Anchor, Button, Group, Menu, Select, Stack, Text, TextInput } from '@mantine/core';
import { IconActivity, IconDownload } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { failed } from '../actions/notify';
import { activityCsv, passes, useActivity, wholeActivity } from '../model/activity';
import { useProjects } from '../model/collections';
import { useMay } from '../model/me';
import { ActivityRow } from '../view/activity';
import { FilterBar, matches } from '../view/filter_bar';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';

const route = getRouteApi('/inside/activity');

/** What things are done to, as the platform calls them. */
const KINDS = [
  'App',
  'Build',
  'Release',
  'Pod',
  'Volume',
  'Domain',
  'Image',
  'Registry',
  'Project',
  'Node',
  'User',
  'Token',
  'Settings',
  'Source',
];

export default function ActivityPage() {
  const { project, kind, actor, object, q } = route.useSearch();
  const navigate = useNavigate({ from: '/activity' });
  type Search = { project?: string; kind?: string; actor?: string; object?: string; q?: string };
  const put = (given: { [K in keyof Search]?: string | undefined }) =>
    void navigate({ search: (before) => ({ ...before, ...given }), replace: true });
  const filter = useMemo(
    () =>
      Object.fromEntries(Object.entries({ project, kind, actor, object }).filter(([, value]) => value !== undefined)),
    [project, kind, actor, object],
  );
  const activity = useActivity(filter);
  const projects = useProjects()?.map(({ metadata }) => metadata.name);
  const everything = useMay('admin');
  const save = useMutation({
    mutationFn: async (format: 'csv' | 'json') => {
      const events = await wholeActivity(filter);
      const text = format === 'csv' ? activityCsv(events) : JSON.stringify(events, null, 2);
      saveFile(`activity.${format}`, format === 'csv' ? 'text/csv' : 'application/json', text);
    },
    onError: failed,
  });
  const all = activity.data?.pages.flatMap((page) => page.items).filter((event) => passes(event, filter));
  const shown = all?.filter(({ metadata, spec }) =>
    matches(q, spec.actor, spec.action, spec.kind, spec.object, spec.message, metadata.project),
  );
  const narrowed = Object.keys(filter).length > 0 || q !== undefined;
  return (
    <Page
      title="Activity"
      lead={`Who did what, the newest first. New things appear by themselves.${everything ? '' : ' You see what concerns your projects.'}`}
      actions={
        <Menu position="bottom-end" withinPortal>
          <Menu.Target>
            <Button variant="default" leftSection={<IconDownload size={16} />} loading={save.isPending}>
              Save as a file
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Label>All of it, as filtered here</Menu.Label>
            <Menu.Item onClick={() => save.mutate('csv')}>For a spreadsheet (CSV)</Menu.Item>
            <Menu.Item onClick={() => save.mutate('json')}>For programs (JSON)</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      }
    >
      <FilterBar
        projects={projects ?? []}
        project={project}
        onProject={(project) => put({ project })}
        words={q}
        onWords={(q) => put({ q })}
        placeholder="Find words in what is shown"
      >
        <Select
          aria-label="Kind"
          data={[{ value: '', label: 'Everything' }, ...KINDS]}
          value={kind ?? ''}
          onChange={(value) => put({ kind: value || undefined })}
          allowDeselect={false}
          w={140}
        />
        <TextInput
          aria-label="By whom"
          placeholder="By whom"
          value={actor ?? ''}
          onChange={(event) => put({ actor: event.currentTarget.value || undefined })}
          w={140}
        />
        {object !== undefined && (
          <Button variant="default" size="sm" onClick={() => put({ object: undefined })}>
            Only {object} ×
          </Button>
        )}
      </FilterBar>
      {activity.error !== null ? (
        <ProblemAlert error={activity.error} retry={() => void activity.refetch()} />
      ) : shown === undefined ? (
        <Loading rows={8} />
      ) : shown.length === 0 ? (
        <EmptyState icon={<IconActivity />} title={narrowed ? 'Nothing like that happened' : 'Nothing happened yet'}>
          {narrowed ? (
            <Anchor
              component="button"
              type="button"
              onClick={() =>
                put({ project: undefined, kind: undefined, actor: undefined, object: undefined, q: undefined })
              }
            >
              Show everything
            </Anchor>
          ) : (
            'Whatever people and the platform do is written down here.'
          )}
        </EmptyState>
      ) : (
        <Stack gap={0} component="ol" m={0} p={0} style={{ listStyle: 'none' }} aria-label="Activity">
          {shown.map((event) => (
            <ActivityRow
              key={event.metadata.uid ?? event.metadata.name}
              event={event}
              onActor={(actor) => put({ actor })}
              onObject={(object) => put({ object })}
            />
          ))}
        </Stack>
      )}
      <Group justify="center">
        {activity.hasNextPage ? (
          <Button variant="default" loading={activity.isFetchingNextPage} onClick={() => void activity.fetchNextPage()}>
            Show older
          </Button>
        ) : (
          shown !== undefined &&
          shown.length > 0 && (
            <Text size="sm" c="dimmed">
              That is all that is kept.
            </Text>
          )
        )}
      </Group>
    </Page>
  );
}

function saveFile(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

/** What happened to one app, the newest first. */
import { Anchor, Button, Group, Stack, Text } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useActivity } from '../../model/activity';
import { isOf } from '../../model/app';
import { useApps } from '../../model/collections';
import { ActivityRow } from '../../view/activity';
import { Loading, ProblemAlert } from '../../view/page';
import { useAppRef } from './app_ref';

/** What an app's events are picked from: the API does not narrow them by project yet. */
const EVERYTHING = {};

/** `most`: only so many, without older ones. */
export function AppActivity({ most }: { most?: number }) {
  const ref = useAppRef();
  const navigate = useNavigate();
  const activity = useActivity(EVERYTHING);
  const names = useApps(ref.project)?.map(({ metadata }) => metadata.name);
  const all = activity.data?.pages.flatMap((page) => page.items);
  const mine = all?.filter((event) => isOf(ref, event, names ?? []));
  const shown = most === undefined ? mine : mine?.slice(0, most);
  if (activity.error !== null) return <ProblemAlert error={activity.error} retry={() => void activity.refetch()} />;
  if (shown === undefined) return <Loading rows={3} />;
  const narrow = (search: { actor?: string; object?: string }) =>
    void navigate({ to: '/activity', search: { project: ref.project, ...search } });
  return (
    <Stack gap="xs">
      {shown.length === 0 ? (
        <Text size="sm" c="dimmed">
          {activity.hasNextPage ? 'Nothing happened to this app lately.' : 'Nothing happened to this app yet.'}
        </Text>
      ) : (
        <Stack gap={0} component="ol" m={0} p={0} style={{ listStyle: 'none' }} aria-label="What happened">
          {shown.map((event) => (
            <ActivityRow
              key={event.metadata.uid ?? event.metadata.name}
              event={event}
              onActor={(actor) => narrow({ actor })}
              onObject={(object) => narrow({ object })}
            />
          ))}
        </Stack>
      )}
      {most === undefined &&
        (activity.hasNextPage ? (
          <Group justify="center">
            <Button
              variant="default"
              size="xs"
              loading={activity.isFetchingNextPage}
              onClick={() => void activity.fetchNextPage()}
            >
              Look for older ones
            </Button>
          </Group>
        ) : (
          shown.length > 0 && (
            <Text size="sm" c="dimmed" ta="center">
              That is all that is kept.{' '}
              <Anchor component="button" type="button" size="sm" onClick={() => narrow({})}>
                Everything of project {ref.project}
              </Anchor>
            </Text>
          )
        ))}
    </Stack>
  );
}

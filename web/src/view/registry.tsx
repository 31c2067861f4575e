/** The registry as a whole: the room that it takes, and how images get in and out. */
import { Alert, Button, Card, Code, Group, Loader, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { bytes, count } from '../model/format';
import type { RegistryState } from '../model/schema';
import { Bar } from './bar';
import { Ago } from './text';

interface RegistrySpaceProps {
  state: RegistryState;
  mayCollect: boolean;
  onCollect: () => void;
}

export function RegistrySpace({ state, mayCollect, onCollect }: RegistrySpaceProps) {
  const { collection, disk } = state;
  const running = collection.phase === 'running';
  return (
    <Card component="section" aria-label="Space">
      <Stack gap="sm">
        <Group justify="space-between" align="flex-start">
          <div>
            <Title order={2} size="h4">
              {bytes(state.bytes)} in {count(state.repositories, 'repository', 'repositories')}
            </Title>
            <Text size="sm" c="dimmed">
              {count(state.blobs, 'part')}. Parts that several images share are kept once.
            </Text>
          </div>
          {mayCollect && (
            <Button variant="light" size="xs" loading={running} onClick={onCollect}>
              Reclaim space
            </Button>
          )}
        </Group>
        <SimpleGrid cols={{ base: 1, sm: disk == null ? 1 : 2 }} spacing="md">
          {disk != null && (
            <Bar label="The disk that it is on" used={disk.total - disk.free} capacity={disk.total} format={bytes} />
          )}
          <div aria-live="polite">
            {running ? (
              <Group gap={8}>
                <Loader size={14} aria-hidden />
                <Text size="sm">
                  Looking for what nothing needs, since <Ago at={collection.started} />. Deploys and pushes go on.
                </Text>
              </Group>
            ) : (
              <Text size="sm">
                {state.reclaimable_bytes == null
                  ? 'How much could be reclaimed is found out by looking.'
                  : state.reclaimable_bytes === 0
                    ? 'Nothing can be reclaimed at the moment.'
                    : `${bytes(state.reclaimable_bytes)} can be reclaimed.`}{' '}
                {collection.finished != null && collection.phase === 'idle' && (
                  <Text span size="sm" c="dimmed">
                    Last time <Ago at={collection.finished} />, {bytes(collection.freed_bytes)} freed. It happens by
                    itself every day.
                  </Text>
                )}
              </Text>
            )}
          </div>
        </SimpleGrid>
        {collection.reason != null && (
          <Alert color={collection.phase === 'failed' ? 'red' : 'gray'} role="status">
            <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
              {collection.reason}
            </Text>
          </Alert>
        )}
      </Stack>
    </Card>
  );
}

interface PushAndPullProps {
  host: string;
  user: string;
  project: string;
  repository?: string;
}

/** How images get in and out by docker. */
export function PushAndPull({ host, user, project, repository }: PushAndPullProps) {
  const name = repository ?? `${project}/my-image`;
  return (
    <Stack gap="xs">
      <Text size="sm">
        Any program that speaks to a registry can push and pull here. Log in once, with your user name and a token of
        yours as the password.
      </Text>
      <Code block>{`docker login ${host} --username ${user}`}</Code>
      <Text size="sm">Then give an image a name that begins with a project of yours, and push it.</Text>
      <Code block>{`docker tag my-image ${host}/${name}:1\ndocker push ${host}/${name}:1`}</Code>
      <Text size="sm">And to pull it:</Text>
      <Code block>{`docker pull ${host}/${name}:1`}</Code>
    </Stack>
  );
}

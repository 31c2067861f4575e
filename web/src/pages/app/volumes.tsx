/** The volumes of an app: where they are mounted and what is in use of them. */
import { Anchor, Code, Stack, Table, Text } from '@mantine/core';
import { IconDatabase } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useApp, useReleases } from '../../model/collections';
import { bytes } from '../../model/format';
import { quantity } from '../../model/quantity';
import { baseRelease } from '../../model/release';
import { useVolumes } from '../../model/volume';
import { EmptyState, Loading, ProblemAlert } from '../../view/page';
import { Section } from '../../view/section';
import { useAppRef } from './app_ref';

const EXAMPLE = `[[volume]]
name = "data"
path = "/data"
size = "1Gi"`;

export default function AppVolumes() {
  const ref = useAppRef();
  const app = useApp(ref);
  const releases = useReleases(ref);
  const { volumes, error } = useVolumes(ref.project);
  if (app == null || releases === undefined) return <Loading rows={3} />;
  const mounts = baseRelease(releases, app.status.release)?.spec.config.volumes ?? [];
  if (mounts.length === 0) {
    return (
      <EmptyState icon={<IconDatabase />} title="This app has no volumes">
        <Stack gap="xs">
          <span>
            A volume is a disk that outlives pods. Without one, what the app writes to its disk is gone after the next
            deploy or restart. To get one, write this into the source’s coracle.toml and deploy again:
          </span>
          <Code block ta="start">
            {EXAMPLE}
          </Code>
        </Stack>
      </EmptyState>
    );
  }
  return (
    <Section
      title="Volumes"
      hint="A volume is a disk that outlives pods: what is written there is still there after a deploy or a restart."
      lead="All pods of the app see them."
    >
      {error !== null && <ProblemAlert error={error} />}
      <Table.ScrollContainer minWidth={480}>
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Volume</Table.Th>
              <Table.Th>Where the app sees it</Table.Th>
              <Table.Th>In use</Table.Th>
              <Table.Th>Pods that use it</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {mounts.map(({ name, path, size }) => {
              const there = volumes?.find((volume) => isMounted(volume.name, ref.app, name));
              const limit = quantity(there?.size ?? size);
              const used = there === undefined ? null : there.used_bytes;
              return (
                <Table.Tr key={name}>
                  <Table.Td>{name}</Table.Td>
                  <Table.Td>
                    <Code>{path}</Code>
                  </Table.Td>
                  <Table.Td>
                    {used == null ? '' : `${bytes(used)} `}
                    {limit === null
                      ? used == null
                        ? 'not limited'
                        : ''
                      : `${used == null ? 'up to' : 'of'} ${bytes(limit)}`}
                  </Table.Td>
                  <Table.Td>
                    {there === undefined || there.used_by.length === 0
                      ? '–'
                      : there.used_by.map((pod) => (
                          <div key={pod}>
                            <Anchor
                              component={Link}
                              to={`/projects/${encodeURIComponent(ref.project)}/pods/${encodeURIComponent(pod)}`}
                              size="sm"
                            >
                              {pod}
                            </Anchor>
                          </div>
                        ))}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      <Text size="xs" c="dimmed" mt="xs">
        They come with the source’s coracle.toml. Deleting the data of one is on the page of all{' '}
        <Anchor component={Link} to="/volumes" size="xs" underline="always">
          Volumes
        </Anchor>
        .
      </Text>
    </Section>
  );
}

/** The platform calls a volume by its app and its own name. */
function isMounted(volume: string, app: string, name: string): boolean {
  return volume === name || volume === `${app}-${name}`;
}

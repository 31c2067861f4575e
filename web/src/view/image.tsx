/** One image: what it is, its layers, how it came about, and who relies on it. All of its texts are others' words. */
import { Alert, Anchor, Badge, Card, Code, Group, List, SimpleGrid, Stack, Table, Text, Title } from '@mantine/core';
import { IconLock } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { bytes, count, shortDigest } from '../model/format';
import { instruction, LIVE_WORDS, type Protection, wordsOfUse } from '../model/image';
import type { ImageDetail, ImageUse } from '../model/schema';
import { Facts, Pairs } from './facts';
import classes from './image.module.css';
import { Ago, Copyable } from './text';

/** A command as it would be typed. */
const words = (parts: readonly string[] | null | undefined) =>
  parts == null || parts.length === 0 ? null : <Code style={{ overflowWrap: 'anywhere' }}>{parts.join(' ')}</Code>;

const SCOPE = 'section' as const;

export function ImageView({ image, reference }: { image: ImageDetail; reference: string }) {
  return (
    <Stack gap="md">
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Card component={SCOPE} aria-label="About this image">
          <Title order={2} size="h4" mb="sm">
            About this image
          </Title>
          <ImageFacts image={image} reference={reference} />
        </Card>
        <Card component={SCOPE} aria-label="How it runs">
          <Title order={2} size="h4" mb="sm">
            How it runs
          </Title>
          <RunFacts image={image} />
        </Card>
      </SimpleGrid>
      <Card component={SCOPE} aria-label="Used by">
        <Title order={2} size="h4" mb="sm">
          Who uses it
        </Title>
        <Uses uses={image.used_by ?? []} />
      </Card>
      <History image={image} />
      <Layers image={image} />
      <Card component={SCOPE} aria-label="Labels">
        <Title order={2} size="h4" mb="sm">
          Labels
        </Title>
        <Pairs pairs={Object.entries(image.labels ?? {})} none="Whoever made it wrote down no labels." />
      </Card>
    </Stack>
  );
}

function ImageFacts({ image, reference }: { image: ImageDetail; reference: string }) {
  return (
    <Facts
      facts={[
        { label: 'To pull it', value: <Copyable value={reference} /> },
        {
          label: 'Digest',
          hint: 'The fingerprint of its content. A tag can be moved to another image, a digest never means another one.',
          value: <Copyable value={image.digest} shown={`sha256:${shortDigest(image.digest)}…`} />,
        },
        {
          label: 'Tags',
          value:
            image.tags.length === 0 ? (
              'none'
            ) : (
              <Group gap={6}>
                {image.tags.map((tag) => (
                  <Badge key={tag} color="gray" style={{ maxWidth: '100%' }}>
                    {tag}
                  </Badge>
                ))}
              </Group>
            ),
        },
        { label: 'Size', value: bytes(image.bytes), hint: 'What is sent when a machine pulls it for the first time.' },
        { label: 'Made', value: image.created == null ? null : <Ago at={image.created} /> },
        {
          label: 'Made for',
          hint: 'Systems and processors that it runs on.',
          value: (
            <List listStyleType="none" size="sm" spacing={2}>
              {image.platforms.map((platform) => (
                <List.Item key={`${platform.platform} ${platform.digest}`}>
                  {platform.platform}
                  {image.platforms.length > 1 && `, ${bytes(platform.bytes)}`}
                </List.Item>
              ))}
            </List>
          ),
        },
        { label: 'Kind', value: <Code style={{ overflowWrap: 'anywhere' }}>{image.media_type}</Code> },
      ]}
    />
  );
}

function RunFacts({ image }: { image: ImageDetail }) {
  const list = (names: readonly string[] | undefined) =>
    names === undefined || names.length === 0 ? null : (
      <Group gap={6}>
        {names.map((name) => (
          <Code key={name}>{name}</Code>
        ))}
      </Group>
    );
  return (
    <Facts
      facts={[
        { label: 'Entrypoint', hint: 'The program that starts.', value: words(image.entrypoint) },
        { label: 'Command', hint: 'What that program is told, or the program itself.', value: words(image.cmd) },
        { label: 'In the folder', value: image.workdir ? <Code>{image.workdir}</Code> : null },
        {
          label: 'As the user',
          hint: 'Root may do more than an app needs; a user of its own is safer.',
          value: image.user ? <Code>{image.user}</Code> : 'root',
        },
        { label: 'Ports', value: list(image.ports) },
        {
          label: 'Environment',
          hint: 'Names of the settings that are in the image. Secrets do not belong there: whoever can pull it can read them.',
          value: list(image.env),
        },
      ]}
    />
  );
}

export function Uses({ uses }: { uses: readonly ImageUse[] }) {
  if (uses.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        Nothing on this platform uses it.
      </Text>
    );
  }
  return (
    <Stack gap={6} component="ul" m={0} p={0} style={{ listStyle: 'none' }}>
      {uses.map((use) => (
        <li key={`${use.project} ${use.app} ${use.release} ${use.build} ${use.pod}`}>
          <Group gap={8}>
            <Anchor component={Link} to={pathOfUse(use)} size="sm">
              {wordsOfUse(use)}
            </Anchor>
            <Text size="sm" c="dimmed">
              in {use.project}
            </Text>
            <Badge color={use.live === 'live' ? 'green' : use.live === 'deploying' ? 'blue' : 'gray'}>
              {LIVE_WORDS[use.live]}
            </Badge>
          </Group>
        </li>
      ))}
    </Stack>
  );
}

function pathOfUse({ project, app, release, build, pod }: ImageUse): string {
  const base = `/projects/${encodeURIComponent(project)}`;
  if (app != null) {
    const whole = `${base}/apps/${encodeURIComponent(app)}`;
    if (release != null) return `${whole}/releases`;
    return build != null ? `${whole}/builds/${encodeURIComponent(build)}` : whole;
  }
  return pod != null ? `${base}/pods/${encodeURIComponent(pod)}` : '/apps';
}

function History({ image }: { image: ImageDetail }) {
  return (
    <Card component={SCOPE} aria-label="How it was made">
      <Title order={2} size="h4">
        How it was made
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        The steps of its Dockerfile, as whoever built it wrote them down, the first on top. Big steps are worth a look.
      </Text>
      {image.history.length === 0 ? (
        <Text size="sm" c="dimmed">
          Nothing was written down.
        </Text>
      ) : (
        <ol className={classes.steps}>
          {image.history.map((step, index) => {
            const { word, rest } = instruction(step);
            return (
              // biome-ignore lint/suspicious/noArrayIndexKey: a step is known by its place, and steps never move
              <li key={index} className={classes.step}>
                <code className={classes.text}>
                  {word !== '' && <b>{word} </b>}
                  {rest}
                </code>
                <span className={classes.size}>{step.empty_layer ? '' : bytes(step.bytes)}</span>
              </li>
            );
          })}
        </ol>
      )}
    </Card>
  );
}

function Layers({ image }: { image: ImageDetail }) {
  return (
    <Card component={SCOPE} aria-label="Layers">
      <Title order={2} size="h4">
        Layers
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        {count(image.layers.length, 'layer')}, one on the other. Images that share one keep it once.
      </Text>
      <Table.ScrollContainer minWidth={320}>
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th w={40}>#</Table.Th>
              <Table.Th>Digest</Table.Th>
              <Table.Th>Size</Table.Th>
              <Table.Th visibleFrom="sm">Kind</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {image.layers.map((layer, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the same layer can be there twice; its place tells it
              <Table.Tr key={index}>
                <Table.Td>{index + 1}</Table.Td>
                <Table.Td>
                  <Copyable value={layer.digest} shown={shortDigest(layer.digest)} label="Copy the digest" />
                </Table.Td>
                <Table.Td>{bytes(layer.bytes)}</Table.Td>
                <Table.Td visibleFrom="sm" style={{ overflowWrap: 'anywhere' }}>
                  <Text size="xs" c="dimmed">
                    {layer.media_type}
                  </Text>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Card>
  );
}

/** Why an image cannot go, or what would be lost with it. */
export function ProtectionNote({ protection, others }: { protection: Protection; others: readonly string[] }) {
  if (others.length > 0 && protection.level !== 'never') {
    return <Text size="sm">Only the tag goes. The image stays as {others.join(', ')}.</Text>;
  }
  if (protection.level === 'free') {
    return <Text size="sm">Nothing on this platform uses it. Once it is deleted it cannot be pulled any more.</Text>;
  }
  return (
    <Alert
      color={protection.level === 'never' ? 'red' : 'orange'}
      icon={<IconLock />}
      title={protection.level === 'never' ? 'It is in use and stays' : 'It can be rolled back to'}
    >
      <Stack gap="xs">
        <Text size="sm">
          {protection.level === 'never'
            ? 'An image that runs, or is being deployed, is not deleted: pods could not start again. Deploy another one first.'
            : 'Nothing runs it now. After its deletion these releases cannot be brought back:'}
        </Text>
        <Uses uses={protection.by} />
      </Stack>
    </Alert>
  );
}

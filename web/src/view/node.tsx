/** Nodes: how they are, what they have, and how they are emptied. */
import {
  Alert,
  Anchor,
  Badge,
  Button,
  Card,
  Code,
  Group,
  List,
  Loader,
  Progress,
  Radio,
  SimpleGrid,
  Stack,
  Table,
  Text,
  Title,
} from '@mantine/core';
import { IconInfoCircle, IconServer } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { bytes } from '../model/format';
import { drainWords, nodeHealth, nodeOpening, type Share, shares, told } from '../model/node';
import type { DrainBlock, DrainMode, Node, NodeCondition, NodeResources } from '../model/schema';
import { Bar } from './bar';
import { ProblemAlert } from './page';
import { PhaseBadge } from './phase';
import { Ago } from './text';

/** Health, and whether it takes new pods. */
export function NodeSigns({ node }: { node: Node }) {
  const opening = nodeOpening(node);
  return (
    <Group gap={6} wrap="nowrap">
      <PhaseBadge phase={nodeHealth(node)} />
      {opening !== 'open' && <PhaseBadge phase={opening} />}
      {(told(node).roles ?? []).map((role) => (
        <Badge key={role} color="gray" variant="outline">
          {role}
        </Badge>
      ))}
    </Group>
  );
}

const cores = (amount: number) => `${Number(amount.toFixed(amount < 10 ? 1 : 0))}`;
const FORMATS: Record<Share['name'], (amount: number) => string> = {
  cpu: cores,
  memory: bytes,
  disk: bytes,
  pods: (amount) => String(amount),
};

export function NodeBars({ node, used }: { node: Node; used: NodeResources | null | undefined }) {
  return (
    <Stack gap="sm">
      {shares(node, used).map((share) => (
        <Bar
          key={share.name}
          label={share.label}
          used={share.used}
          capacity={share.allocatable ?? share.capacity}
          format={FORMATS[share.name]}
        />
      ))}
    </Stack>
  );
}

/** One machine among others. */
export function NodeCard({ node, used }: { node: Node; used: NodeResources | null | undefined }) {
  const status = told(node);
  const { name } = node.metadata;
  return (
    <Card component="section" aria-label={`Node ${name}`}>
      <Stack gap="md">
        <div>
          <Group justify="space-between" gap="xs">
            <Group gap={8} wrap="nowrap" style={{ minWidth: 0 }}>
              <IconServer size={20} aria-hidden style={{ flexShrink: 0 }} />
              <Anchor component={Link} to={`/nodes/${encodeURIComponent(name)}`} fw={650} truncate>
                {name}
              </Anchor>
            </Group>
            <NodeSigns node={node} />
          </Group>
          <Text size="sm" c="dimmed" mt={4}>
            {[status.os, status.architecture, status.runtime].filter(Boolean).join(' · ')}
          </Text>
          {status.reason != null && (
            <Text size="sm" c="red" mt={4}>
              {status.reason}
            </Text>
          )}
        </div>
        <NodeBars node={node} used={used} />
      </Stack>
    </Card>
  );
}

export function NodeCards({
  nodes,
  used,
}: {
  nodes: readonly Node[];
  used: ReadonlyMap<string, NodeResources> | undefined;
}) {
  return (
    <SimpleGrid cols={{ base: 1, md: nodes.length === 1 ? 1 : 2 }} spacing="md">
      {nodes.map((node) => (
        <NodeCard key={node.metadata.uid ?? node.metadata.name} node={node} used={used?.get(node.metadata.name)} />
      ))}
    </SimpleGrid>
  );
}

interface DrainStatusProps {
  node: Node;
  /** What may be done about it is offered. */
  mayChange: boolean;
  busy: boolean;
  onEnd: () => void;
  onForce: () => void;
  onOpen: () => void;
}

/** How far a drain is, and what keeps it from going on. */
export function DrainStatus({ node, mayChange, busy, onEnd, onForce, onOpen }: DrainStatusProps) {
  const drain = told(node).drain;
  const finished = drain?.phase === 'drained';
  const blocked = drain?.blocked_by ?? [];
  const left = drain?.left ?? told(node).pods ?? 0;
  // What it began with is not told: the most that was seen since is what the bar measures by.
  const [most, setMost] = useState(left);
  if (left > most) setMost(left);
  const part = finished ? 100 : most === 0 ? 0 : (100 * (most - left)) / most;
  return (
    <Card component="section" aria-label="Drain" aria-live="polite">
      <Stack gap="sm">
        <Group justify="space-between">
          <Group gap={8}>
            {!finished && drain?.phase !== 'blocked' && <Loader size={16} aria-hidden />}
            <Title order={2} size="h4">
              {finished ? 'This node is empty' : drain?.phase === 'blocked' ? 'The drain waits' : 'Pods are leaving'}
            </Title>
          </Group>
          {drain != null && (
            <Text size="sm" c="dimmed">
              asked for <Ago at={drain.started} />
            </Text>
          )}
        </Group>
        <Progress
          value={part}
          color={finished ? 'green' : drain?.phase === 'blocked' ? 'orange' : 'blue'}
          aria-label={`${left} pods left`}
        />
        <Text size="sm">
          {drainWords(drain)} {!finished && (left === 1 ? 'One pod is left.' : `${left} pods are left.`)}
        </Text>
        {drain?.moving != null && (
          <Text size="sm">
            Moving now: <Code>{drain.moving.workload}</Code> of project <Code>{drain.moving.project}</Code>, since{' '}
            <Ago at={drain.moving.since} />.
          </Text>
        )}
        {blocked.length > 0 && <Blocks blocks={blocked} />}
        {mayChange && (
          <Group gap="xs">
            {finished ? (
              <Button size="xs" onClick={onOpen} loading={busy}>
                Open it again
              </Button>
            ) : (
              <>
                <Button size="xs" variant="default" onClick={onEnd} loading={busy}>
                  End the drain
                </Button>
                {node.spec.drain?.mode !== 'force' && blocked.length > 0 && (
                  <Button size="xs" variant="light" color="red" onClick={onForce}>
                    Go on by force…
                  </Button>
                )}
              </>
            )}
          </Group>
        )}
      </Stack>
    </Card>
  );
}

function Blocks({ blocks }: { blocks: readonly DrainBlock[] }) {
  return (
    <Alert color="orange" icon={<IconInfoCircle />} title="What cannot move, and why">
      <List size="sm" spacing={4}>
        {blocks.map(({ project, workload, reason }) => (
          <List.Item key={`${project}/${workload}`} style={{ overflowWrap: 'anywhere' }}>
            <Code>{workload}</Code> of project <Code>{project}</Code>: {reason}
          </List.Item>
        ))}
      </List>
    </Alert>
  );
}

interface DrainFormProps {
  node: string;
  pods: number;
  /** Are there other nodes that pods could go to? */
  elsewhere: boolean;
  first: DrainMode;
  busy: boolean;
  error: unknown;
  onDrain: (mode: DrainMode) => void;
  onClose: () => void;
}

export function DrainForm({ node, pods, elsewhere, first, busy, error, onDrain, onClose }: DrainFormProps) {
  const [mode, setMode] = useState<DrainMode>(first);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onDrain(mode);
      }}
    >
      <Stack>
        <Text size="sm">
          {node} takes no new pods from now on, and{' '}
          {pods === 1 ? 'the one pod on it moves' : `the ${pods} pods on it move`} to other nodes. Do this before you
          repair a machine or switch it off. You can end it at any time.
        </Text>
        {!elsewhere && (
          <Alert color="orange" icon={<IconInfoCircle />} title="There is no other node">
            Nothing can run elsewhere. A gentle drain is refused while apps run here. By force they stop, and they are
            away until a node is open again.
          </Alert>
        )}
        <Radio.Group label="How" value={mode} onChange={(value) => setMode(value === 'force' ? 'force' : 'gentle')}>
          <Stack gap="xs" mt="xs">
            <Radio
              value="gentle"
              label="Gently"
              description="Each pod is replaced elsewhere before it stops. What cannot be replaced so stays, and you are told why."
            />
            <Radio
              value="force"
              label="By force"
              description="Pods that cannot be replaced first are stopped too: bare pods are gone, and apps with a volume pause until they run elsewhere."
            />
          </Stack>
        </Radio.Group>
        {error != null && <ProblemAlert error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" color={mode === 'force' ? 'red' : 'orange'} loading={busy}>
            Drain {mode === 'force' ? 'by force' : 'gently'}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Conditions where `true` is what one hopes for. */
const GOOD_WHEN_TRUE = new Set(['Ready']);

export function Conditions({ conditions }: { conditions: readonly NodeCondition[] }) {
  return (
    <Table.ScrollContainer minWidth={420}>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Condition</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Why</Table.Th>
            <Table.Th>Since</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {conditions.map((condition) => {
            const good = (condition.status === 'true') === GOOD_WHEN_TRUE.has(condition.type);
            const color = condition.status === 'unknown' ? 'orange' : good ? 'green' : 'red';
            return (
              <Table.Tr key={condition.type}>
                <Table.Td>{condition.type}</Table.Td>
                <Table.Td>
                  <Badge color={color}>
                    {condition.status === 'unknown' ? 'unknown' : condition.status === 'true' ? 'yes' : 'no'}
                  </Badge>
                </Table.Td>
                <Table.Td style={{ overflowWrap: 'anywhere' }}>{condition.message ?? condition.reason ?? '–'}</Table.Td>
                <Table.Td>
                  <Ago at={condition.since} />
                </Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

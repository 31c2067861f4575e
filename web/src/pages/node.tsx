import {
  Anchor,
  Button,
  Card,
  Code,
  Group,
  List,
  Modal,
  SegmentedControl,
  SimpleGrid,
  Stack,
  Text,
  Title,
} from '@mantine/core';
import { IconBox, IconServer } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useCordon, useDrain, useEndDrain, useUncordon } from '../actions/node';
import { useNodes, useOne } from '../model/collections';
import { useMay } from '../model/me';
import { isThere, nodeOpening, told, usedNow, useNodePods, useNodesUsed } from '../model/node';
import type { DrainMode, Node, Pod } from '../model/schema';
import { RANGE_WORDS, RANGES, usageRange, useUsage, useUsageSample } from '../model/usage';
import { Facts, Pairs } from '../view/facts';
import { Conditions, DrainForm, DrainStatus, NodeBars, NodeSigns } from '../view/node';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { PhaseBadge } from '../view/phase';
import { type Column, DataTable } from '../view/table';
import { Ago, Copyable } from '../view/text';
import { UsageCharts } from '../view/usage';

const route = getRouteApi('/inside/nodes/$node');
const CRUMBS = [{ label: 'Nodes', to: '/nodes' }];

export default function NodePage() {
  const { node: name } = route.useParams();
  const node = useOne('Node', null, name);
  if (node === undefined) {
    return (
      <Page title={name} crumbs={CRUMBS}>
        <Loading rows={3} height={160} />
      </Page>
    );
  }
  if (node === null) {
    return (
      <Page title={name} crumbs={CRUMBS}>
        <EmptyState
          icon={<IconServer />}
          title="There is no such node"
          action={
            <Button component={Link} to="/nodes" variant="light">
              All nodes
            </Button>
          }
        >
          It may have left the cluster, or you may not see it.
        </EmptyState>
      </Page>
    );
  }
  return <NodeView node={node} />;
}

function NodeView({ node }: { node: Node }) {
  const { name } = node.metadata;
  const status = told(node);
  const mayChange = useMay('admin');
  const asked = useNodesUsed(useMay('viewer'))?.get(name);
  const sample = useUsageSample()?.nodes.find((of) => of.name === name);
  const now = usedNow(asked, sample);
  const pods = useNodePods(name);
  // The stream tells of pods sooner than a sample does.
  const used = now === undefined || pods === undefined ? now : { ...now, pods: pods.filter(isThere).length };
  const others = useNodes()?.some((other) => other.metadata.name !== name && nodeOpening(other) === 'open') ?? false;
  const cordon = useCordon();
  const uncordon = useUncordon();
  const drain = useDrain();
  const endDrain = useEndDrain();
  const [asking, setAsking] = useState<DrainMode>();
  const opening = nodeOpening(node);
  const drained = node.spec.drain != null;
  return (
    <Page
      title={name}
      crumbs={CRUMBS}
      sign={<NodeSigns node={node} />}
      lead={[status.os, status.architecture, status.runtime].filter(Boolean).join(' · ')}
      actions={
        mayChange && (
          <>
            {opening === 'open' ? (
              <Button variant="default" size="sm" loading={cordon.isPending} onClick={() => cordon.mutate(name)}>
                Close to new pods
              </Button>
            ) : (
              !drained && (
                <Button variant="default" size="sm" loading={uncordon.isPending} onClick={() => uncordon.mutate(name)}>
                  Open to new pods
                </Button>
              )
            )}
            {!drained && (
              <Button variant="light" color="orange" size="sm" onClick={() => setAsking('gentle')}>
                Drain…
              </Button>
            )}
          </>
        )
      }
    >
      {status.reason != null && !status.ready && (
        <Card>
          <Text c="red" size="sm">
            {status.reason}
          </Text>
        </Card>
      )}
      {opening === 'cordoned' && !drained && (
        <Text size="sm">
          This node is cordoned: it takes no new pods. Those that run here stay. Open it again when it may be used.
        </Text>
      )}
      {drained && (
        <DrainStatus
          node={node}
          mayChange={mayChange}
          busy={endDrain.isPending || uncordon.isPending}
          onEnd={() => endDrain.mutate(name)}
          onForce={() => setAsking('force')}
          onOpen={() => uncordon.mutate(name)}
        />
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Card component="section" aria-label="In use">
          <Title order={2} size="h4" mb="sm">
            In use now
          </Title>
          <NodeBars node={node} used={used} />
        </Card>
        <Card component="section" aria-label="About this machine">
          <Title order={2} size="h4" mb="sm">
            About this machine
          </Title>
          <NodeFacts node={node} />
        </Card>
      </SimpleGrid>
      <NodeHistory node={name} />
      <section aria-label="Pods on this node">
        <Title order={2} size="h4" mb="sm">
          Pods on this node
        </Title>
        {pods === undefined ? (
          <Loading />
        ) : pods.length === 0 ? (
          <EmptyState icon={<IconBox />} title="No pods run here">
            {opening === 'open' ? 'New pods of apps come here by themselves.' : 'The node takes no new pods.'}
          </EmptyState>
        ) : (
          <DataTable label="Pods on this node" rows={pods} columns={PODS} rowKey={podKey} maxHeight="50vh" />
        )}
      </section>
      {(status.conditions ?? []).length > 0 && (
        <section aria-label="Conditions">
          <Title order={2} size="h4" mb="sm">
            What is watched of it
          </Title>
          <Conditions conditions={status.conditions ?? []} />
        </section>
      )}
      {(Object.keys(status.labels ?? {}).length > 0 || (status.taints ?? []).length > 0) && (
        <Card component="section" aria-label="Labels and taints">
          <Stack gap="sm">
            <Title order={2} size="h4">
              Labels
            </Title>
            <Pairs pairs={Object.entries(status.labels ?? {})} none="This node has no labels." />
            {(status.taints ?? []).length > 0 && (
              <>
                <Title order={2} size="h4">
                  Taints
                </Title>
                <Text size="sm" c="dimmed">
                  What keeps pods away from it.
                </Text>
                <Group gap={6}>
                  {(status.taints ?? []).map((taint) => (
                    <Code key={taint}>{taint}</Code>
                  ))}
                </Group>
              </>
            )}
          </Stack>
        </Card>
      )}
      <Modal opened={asking !== undefined} onClose={() => setAsking(undefined)} title={`Drain ${name}`} size="lg">
        {asking !== undefined && (
          <DrainForm
            node={name}
            pods={pods?.length ?? 0}
            elsewhere={others}
            first={asking}
            busy={drain.isPending}
            error={drain.error}
            onClose={() => setAsking(undefined)}
            onDrain={(mode) => drain.mutate({ node: name, mode }, { onSuccess: () => setAsking(undefined) })}
          />
        )}
      </Modal>
    </Page>
  );
}

/** What it used over time, and goes on using while somebody looks. */
function NodeHistory({ node }: { node: string }) {
  const { range } = route.useSearch();
  const navigate = useNavigate({ from: '/nodes/$node' });
  const chosen = usageRange(range);
  const usage = useUsage({ of: 'node', name: node }, chosen);
  return (
    <Card component="section" aria-label="Use over time">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">
          Over time
        </Title>
        <SegmentedControl
          aria-label="How far back"
          size="xs"
          data={RANGES.map((value) => ({ value, label: RANGE_WORDS[value] }))}
          value={chosen}
          onChange={(value) => void navigate({ search: { range: value }, replace: true })}
        />
      </Group>
      {usage.error !== null ? (
        <ProblemAlert error={usage.error} retry={() => void usage.refetch()} />
      ) : usage.data === undefined ? (
        <Loading rows={1} height={160} />
      ) : (
        <UsageCharts usage={usage.data} />
      )}
    </Card>
  );
}

const podKey = (pod: Pod) => `${pod.metadata.project}/${pod.metadata.name}`;

const PODS: Column<Pod>[] = [
  {
    key: 'name',
    title: 'Pod',
    width: '3fr',
    cell: ({ metadata }) => (
      <Anchor
        component={Link}
        to={`/projects/${encodeURIComponent(metadata.project ?? '')}/pods/${encodeURIComponent(metadata.name)}`}
        size="sm"
      >
        {metadata.name}
      </Anchor>
    ),
  },
  { key: 'phase', title: 'State', width: '120px', cell: ({ status }) => <PhaseBadge phase={status.phase} /> },
  {
    key: 'app',
    title: 'App',
    width: '2fr',
    wide: true,
    cell: ({ metadata, spec }) => (spec.app == null ? 'on its own' : `${spec.app} in ${metadata.project}`),
  },
  { key: 'address', title: 'Address', width: '130px', wide: true, cell: ({ status }) => status.address ?? '–' },
  { key: 'restarts', title: 'Restarts', width: '80px', wide: true, cell: ({ status }) => status.restarts ?? 0 },
  { key: 'age', title: 'Since', width: '130px', wide: true, cell: ({ metadata }) => <Ago at={metadata.created} /> },
];

const SCOPES = { internal: 'within the cluster', external: 'from outside', hostname: 'its name' } as const;

function NodeFacts({ node }: { node: Node }) {
  const status = told(node);
  const addresses = status.addresses ?? [];
  const subnets = status.pod_subnets ?? [];
  return (
    <Facts
      facts={[
        {
          label: 'Addresses',
          hint: 'Where this machine is reached, and from where each address is good.',
          value:
            addresses.length === 0 ? (
              status.address
            ) : (
              <List listStyleType="none" size="sm" spacing={2}>
                {addresses.map(({ scope, address }) => (
                  <List.Item key={`${scope} ${address}`}>
                    <Copyable value={address} />{' '}
                    <Text span size="xs" c="dimmed">
                      {SCOPES[scope]}
                    </Text>
                  </List.Item>
                ))}
              </List>
            ),
        },
        {
          label: 'Pod addresses',
          hint: 'The ranges that pods on this machine get their own addresses from. Each pod has one of its own.',
          value:
            subnets.length === 0 ? null : (
              <Group gap={6}>
                {subnets.map((subnet) => (
                  <Copyable key={subnet} value={subnet} />
                ))}
              </Group>
            ),
        },
        {
          label: 'Overlay',
          hint: 'How pods on this machine reach those on others.',
          value:
            status.overlay == null
              ? null
              : [status.overlay.back_end, status.overlay.public_address].filter(Boolean).join(' by '),
        },
        { label: 'System', value: status.os },
        { label: 'Kernel', value: status.kernel },
        { label: 'Architecture', hint: 'Images must be made for it to run here.', value: status.architecture },
        { label: 'Runs pods with', value: status.runtime },
        { label: 'Kubelet', hint: 'The part of Kubernetes on this machine.', value: status.kubelet },
        { label: 'Here since', value: <Ago at={node.metadata.created} /> },
      ]}
    />
  );
}

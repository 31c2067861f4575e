import { Anchor } from '@mantine/core';
import { IconServer } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useNodes } from '../model/collections';
import { count } from '../model/format';
import { useMay } from '../model/me';
import { usedNow, useNodesUsed } from '../model/node';
import { useUsageSample } from '../model/usage';
import { NodeCards } from '../view/node';
import { EmptyState, Loading, Page } from '../view/page';

export default function NodesPage() {
  const may = useMay('viewer');
  const nodes = useNodes();
  const asked = useNodesUsed(may);
  const sample = useUsageSample();
  const used = new Map(
    nodes?.flatMap(({ metadata: { name } }) => {
      const now = usedNow(
        asked?.get(name),
        sample?.nodes.find((of) => of.name === name),
      );
      return now === undefined ? [] : [[name, now] as const];
    }),
  );
  const ready = nodes?.filter((node) => node.status.ready).length ?? 0;
  return (
    <Page
      title="Nodes"
      lead={
        <>
          The machines that run your pods.
          {nodes !== undefined && nodes.length > 0 && ` ${ready} of ${count(nodes.length, 'node')} ready.`}
        </>
      }
    >
      {!may ? (
        <EmptyState icon={<IconServer />} title="Nodes belong to the whole platform">
          Your access is to single projects, so the machines below them are not shown. An administrator can change that.
        </EmptyState>
      ) : nodes === undefined ? (
        <Loading rows={2} height={220} />
      ) : nodes.length === 0 ? (
        <EmptyState icon={<IconServer />} title="No node answers">
          Coracle finds its nodes by itself: with Docker it is the machine it runs on, with Kubernetes all of the
          cluster. None is there now, so nothing can run. The{' '}
          <Anchor component={Link} to="/" underline="always">
            overview
          </Anchor>{' '}
          says what is wrong.
        </EmptyState>
      ) : (
        <NodeCards nodes={nodes} used={used} />
      )}
    </Page>
  );
}

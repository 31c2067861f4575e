/** A terminal in one of an app's pods. */
import { Select } from '@mantine/core';
import { IconBox, IconLock } from '@tabler/icons-react';
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { useAppPods } from '../../model/collections';
import { canExec } from '../../model/exec';
import { useMay } from '../../model/me';
import { EmptyState, Loading } from '../../view/page';
import { PodTerminal } from '../pod_terminal';

export default function TerminalPage() {
  const { project, app } = useParams({ from: '/inside/projects/$project/apps/$app/terminal' });
  const search = useSearch({ from: '/inside/projects/$project/apps/$app/terminal' });
  const navigate = useNavigate({ from: '/projects/$project/apps/$app/terminal' });
  const pods = useAppPods({ project, app });
  const may = useMay('developer', project);
  const running = (pods ?? []).filter(({ status }) => canExec(status.phase ?? 'pending'));
  // A session stays with its pod, also when another one comes to the front of the list.
  const [first, setFirst] = useState<string>();
  const pod = search.pod ?? first ?? running[0]?.metadata.name;
  if (pod !== undefined && pod !== first && search.pod === undefined) setFirst(pod);

  if (!may)
    return (
      <EmptyState icon={<IconLock />} title="A terminal takes the role of a developer">
        In a terminal commands run inside the app. Ask an administrator of this platform for that role.
      </EmptyState>
    );
  if (pods === undefined) return <Loading />;
  if (pod === undefined)
    return (
      <EmptyState icon={<IconBox />} title="No pod of this app runs">
        A terminal runs commands inside a running pod. It opens as soon as one is there.
      </EmptyState>
    );
  const names = [...new Set([pod, ...running.map(({ metadata }) => metadata.name)])].sort();
  return (
    <PodTerminal
      project={project}
      pod={pod}
      command={search.command ?? 'auto'}
      onCommand={(command) => void navigate({ search: (was) => ({ ...was, command }), replace: true })}
    >
      <Select
        size="xs"
        aria-label="Pod"
        data={names}
        value={pod}
        onChange={(value) => {
          if (value !== null) void navigate({ search: (was) => ({ ...was, pod: value }), replace: true });
        }}
        allowDeselect={false}
        w={240}
      />
    </PodTerminal>
  );
}

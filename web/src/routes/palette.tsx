/** The command palette: every place, app, pod and node by name, by Ctrl or Cmd and K. */
import { Spotlight, type SpotlightActionGroupData } from '@mantine/spotlight';
import { IconApps, IconBox, IconSearch, IconServer } from '@tabler/icons-react';
import { useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useApps, useNodes, usePods } from '../model/collections';
import { may, useMe } from '../model/me';
import { paletteStore } from './open_palette';
import { PLACES } from './places';

/** So many are shown at once; typing narrows them. */
const SHOWN = 12;

export default function Palette() {
  const me = useMe();
  const navigate = useNavigate();
  const apps = useApps();
  const pods = usePods();
  const nodes = useNodes();
  const actions = useMemo<SpotlightActionGroupData[]>(() => {
    const places = PLACES.flatMap((group) => group.places).filter(
      (place) => place.platform === undefined || may(me, place.platform),
    );
    return [
      {
        group: 'Go to',
        actions: places.map((place) => ({
          id: place.to,
          label: place.label,
          description: place.hint,
          leftSection: place.icon,
          onClick: () => void navigate({ to: place.to }),
        })),
      },
      {
        group: 'Apps',
        actions: (apps ?? []).map(({ metadata }) => ({
          id: `app ${metadata.project}/${metadata.name}`,
          label: metadata.name,
          description: `in ${metadata.project}`,
          leftSection: <IconApps size={18} />,
          onClick: () =>
            void navigate({
              to: '/projects/$project/apps/$app',
              params: { project: metadata.project ?? '', app: metadata.name },
            }),
        })),
      },
      {
        group: 'Pods',
        actions: (pods ?? []).map(({ metadata, spec }) => ({
          id: `pod ${metadata.project}/${metadata.name}`,
          label: metadata.name,
          description: spec.app == null ? `in ${metadata.project}` : `of ${spec.app} in ${metadata.project}`,
          leftSection: <IconBox size={18} />,
          onClick: () =>
            void navigate({
              to: '/projects/$project/pods/$pod',
              params: { project: metadata.project ?? '', pod: metadata.name },
            }),
        })),
      },
      {
        group: 'Nodes',
        actions: (nodes ?? []).map(({ metadata }) => ({
          id: `node ${metadata.name}`,
          label: metadata.name,
          leftSection: <IconServer size={18} />,
          onClick: () => void navigate({ to: '/nodes/$node', params: { node: metadata.name } }),
        })),
      },
    ];
  }, [apps, me, navigate, nodes, pods]);
  return (
    <Spotlight
      store={paletteStore}
      actions={actions}
      limit={SHOWN}
      shortcut={null}
      nothingFound="Nothing of that name"
      highlightQuery
      scrollable
      searchProps={{ leftSection: <IconSearch size={18} />, placeholder: 'Search for a place, an app, a pod, a node' }}
    />
  );
}

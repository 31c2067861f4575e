import { ActionIcon, Popover, Text } from '@mantine/core';
import { IconHelp } from '@tabler/icons-react';
import type { ReactNode } from 'react';

/** What a word means, for who meets it for the first time: by mouse, touch and keyboard alike. */
export function Hint({ about, children }: { about: string; children: ReactNode }) {
  return (
    <Popover width={280} position="top" withArrow shadow="md" withinPortal>
      <Popover.Target>
        <ActionIcon variant="transparent" color="gray" size={18} aria-label={`What is ${about}?`}>
          <IconHelp size={15} />
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown>
        <Text size="sm">{children}</Text>
      </Popover.Dropdown>
    </Popover>
  );
}

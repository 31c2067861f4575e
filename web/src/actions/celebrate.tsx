/** Telling that an app runs, wherever the page went meanwhile. */
import { Anchor, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { isWeb } from '../model/address';
import { Celebration } from '../view/celebration';

/** Time to go to the address, in milliseconds. */
const SHOWN = 30_000;

export function celebrate(app: string, url: string | null | undefined): void {
  notifications.show({
    color: 'green',
    autoClose: SHOWN,
    title: `${app} is live`,
    message: (
      <Stack gap={2}>
        <Celebration />
        {isWeb(url) ? (
          <Anchor href={url} target="_blank" rel="noreferrer" fw={600} style={{ overflowWrap: 'anywhere' }}>
            {url}
          </Anchor>
        ) : (
          <Text size="sm">It works in the background.</Text>
        )}
      </Stack>
    ),
  });
}

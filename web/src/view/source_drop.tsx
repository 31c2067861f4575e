/** Where a folder or an archive is dropped, or chosen: by mouse, by keyboard, and on phones. */
import { Button, FileButton, Group, Progress, Stack, Text, ThemeIcon, VisuallyHidden } from '@mantine/core';
import { IconFileZip, IconFolderOpen, IconFolderUp } from '@tabler/icons-react';
import { useRef } from 'react';
import { bytes, count } from '../model/format';
import classes from './source_drop.module.css';

export function DropPlace(props: { over: boolean; onFiles: (files: File[]) => void }) {
  const { over, onFiles } = props;
  const folder = useRef<HTMLInputElement>(null);
  return (
    <div className={classes.place} data-over={over || undefined}>
      <Stack align="center" gap="sm">
        <ThemeIcon size={64} radius="xl" variant="light">
          <IconFolderUp size={32} stroke={1.5} />
        </ThemeIcon>
        <div>
          <Text fw={650} size="lg" ta="center">
            {over ? 'Let go to begin' : 'Drop your app’s folder here'}
          </Text>
          <Text c="dimmed" size="sm" ta="center" maw={460}>
            Or an archive (.zip, .tar.gz, .tgz). Nothing is deployed before you have seen what Coracle found in it.
          </Text>
        </div>
        <Group gap="xs" justify="center">
          <Button leftSection={<IconFolderOpen size={16} />} onClick={() => folder.current?.click()}>
            Choose a folder
          </Button>
          <FileButton onChange={(files) => files.length > 0 && onFiles(files)} multiple>
            {(button) => (
              <Button variant="default" leftSection={<IconFileZip size={16} />} {...button}>
                Choose files or an archive
              </Button>
            )}
          </FileButton>
        </Group>
      </Stack>
      <VisuallyHidden>
        <input
          ref={(input) => {
            folder.current = input;
            // React knows no types for it, and browsers only the attribute.
            input?.setAttribute('webkitdirectory', '');
          }}
          type="file"
          multiple
          tabIndex={-1}
          aria-label="A folder"
          data-testid="folder"
          onChange={(event) => {
            const files = [...(event.currentTarget.files ?? [])];
            event.currentTarget.value = '';
            if (files.length > 0) onFiles(files);
          }}
        />
      </VisuallyHidden>
    </div>
  );
}

export type UploadShown =
  | { phase: 'reading'; files: number }
  | { phase: 'packing'; done: number; of: number; files: number }
  | { phase: 'uploading'; done: number; of: number };

const WORDS = { reading: 'Reading the folder', packing: 'Packing', uploading: 'Sending it to Coracle' } as const;

/** How far it is, and a way to end it. */
export function UploadProgress({ state, onCancel }: { state: UploadShown; onCancel: () => void }) {
  const percent = state.phase === 'reading' ? 100 : state.of === 0 ? 0 : Math.min(100, (100 * state.done) / state.of);
  const words =
    state.phase === 'reading'
      ? count(state.files, 'file')
      : `${bytes(state.done)} of ${bytes(state.of)}${state.phase === 'packing' && state.files > 0 ? `, ${count(state.files, 'file')}` : ''}`;
  return (
    <div className={classes.place}>
      <Stack gap="sm" maw={480} mx="auto" w="100%">
        <Group justify="space-between" gap="xs">
          <Text fw={600} role="status">
            {WORDS[state.phase]}
          </Text>
          <Text size="sm" c="dimmed">
            {words}
          </Text>
        </Group>
        <Progress
          value={percent}
          animated={state.phase === 'reading'}
          aria-label={`${WORDS[state.phase]}: ${words}`}
          size="lg"
        />
        <Group justify="space-between">
          <Text size="xs" c="dimmed">
            Step {state.phase === 'uploading' ? 2 : 1} of 2
          </Text>
          <Button variant="default" size="xs" onClick={onCancel}>
            Cancel
          </Button>
        </Group>
      </Stack>
    </div>
  );
}

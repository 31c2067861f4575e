/** Telling that something was done, with a way back, or why it was not. */
import { Button, Group, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { ApiProblem } from '../model/problem';

/** Time to read a message, and to undo what it tells of, in milliseconds. */
const READ = 5000;
const UNDO = 12_000;

/** Something was done; `undo` takes it back. */
export function done(message: string, undo?: () => void): void {
  const id = notifications.show({
    color: 'green',
    autoClose: undo === undefined ? READ : UNDO,
    message:
      undo === undefined ? (
        message
      ) : (
        <Group justify="space-between" wrap="nowrap">
          <Text size="sm">{message}</Text>
          <Button
            size="compact-sm"
            variant="light"
            onClick={() => {
              notifications.hide(id);
              undo();
            }}
          >
            Undo
          </Button>
        </Group>
      ),
  });
}

/** Something was not done, and why. For what has no place of its own on the page; a form shows its own problems. */
export function failed(error: unknown): void {
  const problem = error instanceof ApiProblem ? error.problem : undefined;
  notifications.show({
    color: 'red',
    autoClose: false,
    title: problem?.title ?? 'This did not work',
    message: [error instanceof Error ? error.message : String(error), problem?.hint, problem && `Code ${problem.code}`]
      .filter(Boolean)
      .join(' '),
  });
}

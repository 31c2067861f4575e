import { Button } from '@mantine/core';
import { IconCompass } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { EmptyState } from './page';

export function NotFound() {
  return (
    <EmptyState
      icon={<IconCompass />}
      title="There is nothing here"
      action={
        <Button component={Link} to="/" variant="light">
          To the overview
        </Button>
      }
    >
      The address may be old, or what was here is gone.
    </EmptyState>
  );
}

import { Box, Button, Group } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { Page } from './page';

/** For addresses that lead nowhere. It stands alone: which page it would have been within is not known either. */
export function NotFound() {
  return (
    <Box component="main" p="xl">
      <Page title="There is nothing here" lead="The address may be old, or what was here is gone.">
        <Group>
          <Button component={Link} to="/" variant="light">
            To the overview
          </Button>
        </Group>
      </Page>
    </Box>
  );
}

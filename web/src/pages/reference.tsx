import { Anchor, Button, Select, Stack, Text, TextInput } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { IconApi, IconDownload, IconSearch } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import { count } from '../model/format';
import { type ApiDocument, found, grouped, operationsOf, useApiDocument } from '../model/reference';
import { EmptyState, Loading, Page, ProblemAlert } from '../view/page';
import { OperationList, OperationView } from '../view/reference';
import classes from '../view/reference.module.css';

const route = getRouteApi('/inside/reference');

export default function ReferencePage() {
  const document = useApiDocument();
  return (
    <Page
      title="API"
      lead={
        <>
          Everything that this dashboard does, programs can do too: it has no other way in than this one. They log in
          with a{' '}
          <Anchor component={Link} to="/tokens" size="sm" underline="always">
            token
          </Anchor>
          .
        </>
      }
      actions={
        <Button
          component="a"
          href="/api/v1/openapi.json"
          download="coracle-openapi.json"
          variant="default"
          leftSection={<IconDownload size={16} />}
        >
          OpenAPI document
        </Button>
      }
    >
      {document.error !== null ? (
        <ProblemAlert error={document.error} retry={() => void document.refetch()} />
      ) : document.data === undefined ? (
        <Loading rows={8} />
      ) : (
        <Reference document={document.data} />
      )}
    </Page>
  );
}

function Reference({ document }: { document: ApiDocument }) {
  const { q, operation: id } = route.useSearch();
  const navigate = useNavigate({ from: '/reference' });
  const narrow = useMediaQuery('(max-width: 62em)') ?? false;
  const operations = useMemo(() => operationsOf(document), [document]);
  const shown = found(operations, q);
  const groups = useMemo(() => grouped(shown), [shown]);
  const chosen = operations.find((operation) => operation.id === id) ?? groups[0]?.[1][0];
  const choose = (operation: string) => void navigate({ search: (before) => ({ ...before, operation }) });
  return (
    <Stack gap="sm">
      <TextInput
        aria-label="Find an operation"
        placeholder="Find an operation, such as scale or tokens"
        leftSection={<IconSearch size={16} />}
        value={q ?? ''}
        onChange={(event) => {
          const words = event.currentTarget.value || undefined;
          void navigate({ search: (before) => ({ ...before, q: words }), replace: true });
        }}
        maw={420}
      />
      <Text size="xs" c="dimmed" role="status">
        {count(shown.length, 'operation')} · version {document.info.version}
      </Text>
      {shown.length === 0 ? (
        <EmptyState icon={<IconApi />} title="No operation is like that">
          Try a single word: the name of a thing, or of what is done to it.
        </EmptyState>
      ) : (
        <div className={classes.columns}>
          {narrow ? (
            <Select
              label="Operation"
              data={groups.map(([group, operations]) => ({
                group,
                items: operations.map(({ id, method, path }) => ({ value: id, label: `${method} ${path}` })),
              }))}
              value={chosen?.id ?? null}
              onChange={(value) => {
                if (value !== null) choose(value);
              }}
              allowDeselect={false}
              searchable
            />
          ) : (
            <OperationList groups={groups} chosen={chosen?.id} onChoose={choose} />
          )}
          {chosen !== undefined && (
            <OperationView
              key={chosen.id}
              operation={chosen}
              document={document}
              origin={window.location.origin}
              link={`${window.location.origin}/reference?operation=${encodeURIComponent(chosen.id)}`}
            />
          )}
        </div>
      )}
    </Stack>
  );
}

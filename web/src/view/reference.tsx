/** The API, operation by operation. */
import {
  Anchor,
  Badge,
  Box,
  Button,
  Code,
  CopyButton,
  Group,
  NavLink,
  ScrollArea,
  Stack,
  Table,
  Text,
  Title,
  UnstyledButton,
} from '@mantine/core';
import { IconCheck, IconChevronDown, IconChevronRight, IconCopy, IconLink } from '@tabler/icons-react';
import { useState } from 'react';
import {
  type ApiDocument,
  bare,
  curlOf,
  fieldsOf,
  type Operation,
  refName,
  resolved,
  type Schema,
  typeWords,
} from '../model/reference';
import classes from './reference.module.css';

const METHOD_COLORS: Record<string, string> = {
  GET: 'blue',
  POST: 'green',
  PUT: 'orange',
  PATCH: 'yellow',
  DELETE: 'red',
};

export function Method({ method }: { method: string }) {
  return (
    <Badge size="sm" color={METHOD_COLORS[method] ?? 'gray'} w={62} style={{ flexShrink: 0 }} ff="monospace">
      {method}
    </Badge>
  );
}

/** Text with names in it, as the document writes them between backticks. */
function Prose({ children }: { children: string }) {
  return children.split('`').map((part, index) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: parts of one text never move
    index % 2 === 1 ? <Code key={index}>{part}</Code> : part,
  );
}

interface OperationListProps {
  groups: readonly (readonly [string, readonly Operation[]])[];
  chosen: string | undefined;
  onChoose: (id: string) => void;
}

export function OperationList({ groups, chosen, onChoose }: OperationListProps) {
  return (
    <ScrollArea.Autosize mah="75vh" type="auto" className={classes.list}>
      <nav aria-label="Operations">
        {groups.map(([group, operations]) => (
          <Box key={group} mb="xs">
            <Text size="xs" c="dimmed" fw={600} px="sm" py={4} tt="capitalize">
              {group}
            </Text>
            {operations.map((operation) => (
              <NavLink
                key={operation.id}
                component="button"
                type="button"
                active={operation.id === chosen}
                aria-current={operation.id === chosen ? 'true' : undefined}
                onClick={() => onChoose(operation.id)}
                leftSection={<Method method={operation.method} />}
                label={operation.summary.split(/[.\n]/)[0] || operation.path}
                description={operation.path.replace('/api/v1', '') || operation.path}
                classNames={{ label: classes.summary ?? '', description: classes.path ?? '' }}
                py={4}
                style={{ borderRadius: 'var(--mantine-radius-sm)' }}
              />
            ))}
          </Box>
        ))}
      </nav>
    </ScrollArea.Autosize>
  );
}

interface OperationViewProps {
  operation: Operation;
  document: ApiDocument;
  origin: string;
  /** The address that leads others here. */
  link: string;
}

export function OperationView({ operation, document, origin, link }: OperationViewProps) {
  const [summary, ...more] = operation.summary.split('\n');
  const curl = curlOf(operation, document, origin);
  return (
    <Stack gap="md" component="article" aria-label={`${operation.method} ${operation.path}`}>
      <div>
        <Group gap="xs" wrap="nowrap" align="flex-start">
          <Method method={operation.method} />
          <Code style={{ overflowWrap: 'anywhere' }}>{operation.path}</Code>
          <CopyButton value={link}>
            {({ copied, copy }) => (
              <UnstyledButton
                onClick={copy}
                aria-label={copied ? 'Copied' : 'Copy a link to this operation'}
                c="dimmed"
              >
                {copied ? <IconCheck size={16} /> : <IconLink size={16} />}
              </UnstyledButton>
            )}
          </CopyButton>
        </Group>
        <Title order={2} size="h4" mt="xs" fw={600} style={{ overflowWrap: 'anywhere' }}>
          <Prose>{summary ?? ''}</Prose>
        </Title>
        {[...more, operation.description].filter(Boolean).length > 0 && (
          <Text size="sm" style={{ whiteSpace: 'pre-wrap' }}>
            <Prose>{[...more, operation.description].filter(Boolean).join('\n')}</Prose>
          </Text>
        )}
      </div>
      {operation.parameters.length > 0 && <Parameters operation={operation} />}
      {operation.body.map(({ type, schema }) => (
        <section key={type} aria-label={`What is sent as ${type}`}>
          <Title order={3} size="h5">
            What is sent <Code>{type}</Code>
          </Title>
          {type !== 'application/json' ? (
            <Text size="sm">The bytes of a file.</Text>
          ) : (
            schema !== undefined && <SchemaView schema={schema} document={document} way="sent" />
          )}
        </section>
      ))}
      <section aria-label="As a command">
        <Group justify="space-between" mb={4}>
          <Title order={3} size="h5">
            As a command
          </Title>
          <CopyButton value={curl}>
            {({ copied, copy }) => (
              <Button
                size="compact-xs"
                variant="subtle"
                onClick={copy}
                leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
              >
                {copied ? 'Copied' : 'Copy'}
              </Button>
            )}
          </CopyButton>
        </Group>
        <Code block className={classes.block} tabIndex={0}>
          {curl}
        </Code>
        <Text size="xs" c="dimmed" mt={4}>
          Words in capitals are yours to put in. A token is made under{' '}
          <Anchor href="/tokens" size="xs" underline="always">
            Tokens
          </Anchor>
          .
        </Text>
      </section>
      <section aria-label="What is answered">
        <Title order={3} size="h5" mb={4}>
          What is answered
        </Title>
        <Stack gap="sm">
          {operation.answers.map((answer) => (
            <div key={answer.status}>
              <Group gap="xs">
                <Badge color={answer.status === 'default' ? 'red' : 'green'}>
                  {answer.status === 'default' ? 'a problem' : answer.status}
                </Badge>
                <Text size="sm">{answer.description}</Text>
              </Group>
              {answer.schema !== undefined && (
                <SchemaView schema={answer.schema} document={document} way="told" open={answer.status !== 'default'} />
              )}
            </div>
          ))}
        </Stack>
      </section>
    </Stack>
  );
}

const PLACES: Record<string, string> = { path: 'in the path', query: 'after the ?', header: 'as a header' };

function Parameters({ operation }: { operation: Operation }) {
  return (
    <section aria-label="Parameters">
      <Title order={3} size="h5">
        Parameters
      </Title>
      <Table.ScrollContainer minWidth={360}>
        <Table>
          <Table.Tbody>
            {operation.parameters.map((parameter) => (
              <Table.Tr key={`${parameter.in} ${parameter.name}`}>
                <Table.Td>
                  <Code>{parameter.name}</Code>
                  {parameter.required && (
                    <Text span c="red" size="xs">
                      {' '}
                      needed
                    </Text>
                  )}
                </Table.Td>
                <Table.Td>
                  <Text size="sm">{typeWords(parameter.schema)}</Text>
                  <Text size="xs" c="dimmed">
                    {PLACES[parameter.in] ?? parameter.in}
                  </Text>
                </Table.Td>
                <Table.Td>
                  <Text size="sm">
                    <Prose>{parameter.description ?? parameter.schema?.description ?? ''}</Prose>
                  </Text>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </section>
  );
}

interface SchemaViewProps {
  schema: Schema;
  document: ApiDocument;
  /** What is told has all of its fields: only of what is sent it is said what is needed. */
  way: 'sent' | 'told';
  open?: boolean;
}

/** A schema with its fields; what it refers to opens on demand, because schemas can go round. */
function SchemaView(props: SchemaViewProps) {
  const { schema, document, way, open = true } = props;
  const [opened, setOpened] = useState(open);
  const { schema: inner } = bare(schema);
  const items = inner.items;
  const target = items ?? inner;
  const fields = fieldsOf(target, document);
  const name = refName(target);
  const whole = resolved(target, document);
  const choices = (whole.oneOf ?? whole.anyOf ?? []).filter((one) => one.type !== 'null');
  if (fields.length === 0 && choices.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        {typeWords(whole.enum !== undefined || name === undefined ? whole : target)}
      </Text>
    );
  }
  return (
    <div className={classes.schema}>
      {(name !== undefined || items !== undefined) && (
        <UnstyledButton className={classes.toggle} onClick={() => setOpened(!opened)} aria-expanded={opened}>
          {opened ? <IconChevronDown size={14} aria-hidden /> : <IconChevronRight size={14} aria-hidden />}
          <Code>{typeWords(inner)}</Code>
          <Text span size="xs" c="dimmed">
            <Prose>{whole.description?.split('\n')[0] ?? ''}</Prose>
          </Text>
        </UnstyledButton>
      )}
      {(opened || (name === undefined && items === undefined)) && (
        <ul className={classes.fields}>
          {fields.map((field) => (
            <Field key={field.name} {...field} document={document} way={way} />
          ))}
          {choices.map((choice) => (
            <li key={JSON.stringify(choice).slice(0, 200)}>
              <Text size="sm">
                {fields.length > 0 || choices.length > 1 ? 'One of: ' : ''}
                {typeWords(choice)}
              </Text>
              {choice.description !== undefined && (
                <Text size="xs" c="dimmed">
                  <Prose>{choice.description}</Prose>
                </Text>
              )}
              {isDeep(choice, document) && <SchemaView schema={choice} document={document} way={way} open={false} />}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** Is there more to see than its name? */
function isDeep(schema: Schema, document: ApiDocument): boolean {
  const { schema: inner } = bare(schema);
  const target = inner.items ?? inner;
  const whole = resolved(target, document);
  return (
    fieldsOf(target, document).length > 0 ||
    whole.oneOf !== undefined ||
    (refName(target) !== undefined && whole.enum !== undefined)
  );
}

function Field(props: SchemaViewProps & { name: string; required: boolean }) {
  const { name, schema, required, document, way } = props;
  const { schema: inner, nullable } = bare(schema);
  const bounds = [
    inner.minimum !== undefined && `at least ${inner.minimum}`,
    inner.maximum !== undefined && `at most ${inner.maximum}`,
    inner.maxLength !== undefined && `at most ${inner.maxLength} signs`,
    schema.default != null && JSON.stringify(schema.default) !== '{}' && `else ${JSON.stringify(schema.default)}`,
    nullable && 'or null',
  ].filter(Boolean);
  return (
    <li>
      <Group gap={8} wrap="wrap">
        <Code fw={600}>{name}</Code>
        <Text span size="sm">
          {typeWords(inner)}
        </Text>
        {required && way === 'sent' && (
          <Text span size="xs" c="red">
            needed
          </Text>
        )}
        {bounds.length > 0 && (
          <Text span size="xs" c="dimmed">
            {bounds.join(', ')}
          </Text>
        )}
      </Group>
      {(schema.description ?? inner.description) !== undefined && (
        <Text size="xs" c="dimmed">
          <Prose>{schema.description ?? inner.description ?? ''}</Prose>
        </Text>
      )}
      {isDeep(inner, document) && <SchemaView schema={inner} document={document} way={way} open={false} />}
    </li>
  );
}

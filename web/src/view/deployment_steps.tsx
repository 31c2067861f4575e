/** A deployment, step by step: what is done, what goes on, what comes. */
import { Loader, Text, VisuallyHidden } from '@mantine/core';
import { IconCheck, IconX } from '@tabler/icons-react';
import type { Step, StepState } from '../model/deployment';
import classes from './deployment_steps.module.css';

const SAID: Record<StepState, string> = { done: 'done', now: 'going on', next: 'to come', failed: 'failed' };

export function DeploymentSteps({ steps }: { steps: readonly Step[] }) {
  return (
    <ol className={classes.steps} aria-label="Steps of the deployment" aria-live="polite">
      {steps.map((step) => (
        <li
          key={step.key}
          className={classes.step}
          data-state={step.state}
          aria-current={step.state === 'now' ? 'step' : undefined}
        >
          <span className={classes.sign} aria-hidden>
            {step.state === 'done' && <IconCheck size={16} stroke={2.5} />}
            {step.state === 'failed' && <IconX size={16} stroke={2.5} />}
            {step.state === 'now' && <Loader size={14} />}
          </span>
          <div style={{ minWidth: 0 }}>
            <Text fw={600} size="sm">
              {step.title} <VisuallyHidden component="span">{SAID[step.state]}</VisuallyHidden>
            </Text>
            <Text size="xs" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
              {step.detail}
            </Text>
          </div>
        </li>
      ))}
    </ol>
  );
}

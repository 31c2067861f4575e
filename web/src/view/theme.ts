/** How everything looks: one place for colours, shapes and defaults of components. */
import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from '@mantine/core';

/** The water that the boat is on. */
const sea: MantineColorsTuple = [
  '#e6f8fa',
  '#d4ecef',
  '#a9d8dd',
  '#7bc4cb',
  '#57b3bc',
  '#3fa8b3',
  '#2e9fab',
  '#1d8a95',
  '#0b7285',
  '#005f6d',
];

export const theme = createTheme({
  primaryColor: 'sea',
  // White words are read on it, light and dark: Mantine asks only for the light one.
  primaryShade: 8,
  colors: { sea },
  fontFamily: "'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  headings: { fontFamily: "'Inter Variable', system-ui, sans-serif", fontWeight: '650' },
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  autoContrast: true,
  // White words only where the colour below is dark enough for them.
  luminanceThreshold: 0.2,
  components: {
    Card: { defaultProps: { withBorder: true, padding: 'md', radius: 'md' } },
    Table: { defaultProps: { verticalSpacing: 'xs', highlightOnHover: true } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true } },
    Modal: {
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        centered: true,
        overlayProps: { backgroundOpacity: 0.4, blur: 2 },
      },
    },
    Notification: { defaultProps: { closeButtonProps: { 'aria-label': 'Close the message' } } },
    Badge: { defaultProps: { variant: 'light', radius: 'sm', tt: 'none' } },
  },
});

/** Colours of badges and quiet buttons: their words stand on a tint of the same colour. */
const TINTED = ['green', 'orange', 'red', 'blue', 'yellow', 'indigo', 'grape', 'violet', 'gray', 'sea'];

/** Quiet and tinted text is still read by those who see less: 4.5 to 1 at least. Mantine's own has less. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  // Lines that stand on the page itself: of charts, and around what has the focus.
  light: {
    '--coracle-accent': 'var(--mantine-color-sea-8)',
    '--mantine-color-dimmed': 'var(--mantine-color-gray-7)',
    '--mantine-color-orange-text': 'color-mix(in srgb, var(--mantine-color-orange-9) 80%, black)',
    ...Object.fromEntries(
      TINTED.map((color) => [
        `--mantine-color-${color}-light-color`,
        `color-mix(in srgb, var(--mantine-color-${color}-9) 70%, black)`,
      ]),
    ),
  },
  dark: { '--coracle-accent': 'var(--mantine-color-sea-5)', '--mantine-color-dimmed': 'var(--mantine-color-dark-1)' },
});

/** A graph as small as a word: how something went. Its words are in its label. */
export interface SparklineProps {
  /** The oldest first; null where nothing is known. */
  values: readonly (number | null)[];
  /** What it shows, with its newest figure, for those who do not see it. */
  label: string;
  width?: number;
  height?: number;
  /** As CSS says it. */
  color?: string;
  /** The most that the scale has, where it has an end. */
  most?: number | undefined;
}

const MARGIN = 1.5;

/** The parts of the line: it has gaps where nothing is known. */
export function parts(values: readonly (number | null)[], width: number, height: number, most?: number): string[] {
  const known = values.filter((value): value is number => value !== null && Number.isFinite(value));
  const top = Math.max(most ?? 0, ...known, Number.MIN_VALUE);
  const x = (index: number) => (values.length < 2 ? width : (index / (values.length - 1)) * width);
  const y = (value: number) => height - MARGIN - (Math.max(0, value) / top) * (height - 2 * MARGIN);
  const lines: string[] = [];
  let line: string[] = [];
  const end = () => {
    // One value alone is a short stroke: a point would not be seen.
    const [only] = line;
    if (line.length === 1 && only !== undefined) {
      const [at = '0', level = '0'] = only.split(',');
      lines.push(`${Math.max(0, Number(at) - 2)},${level} ${only}`);
    } else if (line.length > 1) lines.push(line.join(' '));
    line = [];
  };
  values.forEach((value, index) => {
    if (value === null || !Number.isFinite(value)) end();
    else line.push(`${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  });
  end();
  return lines;
}

export function Sparkline(props: SparklineProps) {
  const { values, label, width = 96, height = 28, color = 'var(--coracle-accent)', most } = props;
  const lines = parts(values, width, height, most);
  return (
    <svg
      role="img"
      aria-label={label}
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      style={{ width: '100%', maxWidth: width, height, display: 'block', overflow: 'visible' }}
    >
      <title>{label}</title>
      <line
        x1={0}
        x2={width}
        y1={height - 0.5}
        y2={height - 0.5}
        stroke="var(--mantine-color-default-border)"
        vectorEffect="non-scaling-stroke"
      />
      {lines.map((points) => (
        <g key={points}>
          <polygon
            points={`${points.split(' ')[0]?.split(',')[0]},${height} ${points} ${points.split(' ').at(-1)?.split(',')[0]},${height}`}
            fill={color}
            opacity={0.12}
          />
          <polyline
            points={points}
            fill="none"
            stroke={color}
            strokeWidth={1.5}
            strokeLinejoin="round"
            vectorEffect="non-scaling-stroke"
          />
        </g>
      ))}
    </svg>
  );
}

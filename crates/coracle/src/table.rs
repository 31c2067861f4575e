//! Tables as people read them: a header, columns as wide as their widest cell, nothing at the ends of lines.

/// What a cell says beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Wrong.
    Bad,
    /// Of little interest.
    Dim,
    /// One of several, told apart by colour.
    Nth(u8),
}

impl Tone {
    pub(crate) const fn code(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Good => Some(32),
            Self::Busy => Some(33),
            Self::Bad => Some(31),
            Self::Dim => Some(2),
            Self::Nth(n) => Some(34 + n % 3),
        }
    }

    /// Always the same one for a name.
    pub(crate) fn of_name(name: &str) -> Self {
        Self::Nth(name.bytes().fold(0_u8, u8::wrapping_add))
    }

    /// The one for a phase as the API writes it.
    pub(crate) fn of_phase(phase: &str) -> Self {
        match phase {
            "running" | "ready" | "live" | "succeeded" | "ok" => Self::Good,
            "deploying" | "pending" | "starting" | "queued" | "stopping" | "unready" | "warn" => {
                Self::Busy
            }
            "failed" | "fail" => Self::Bad,
            "superseded" | "cancelled" | "stopped" | "sleeping" | "exited" => Self::Dim,
            _ => Self::Plain,
        }
    }
}

/// A cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A phase, in its tone.
    pub(crate) fn phase(phase: &impl serde::Serialize) -> Self {
        let text = word(phase);
        let tone = Tone::of_phase(&text);
        Self { text, tone }
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.to_string(),
            tone: Tone::Plain,
        }
    }
}

/// What an enum is called in the API.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_unwritable) => String::new(),
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    empty: &'static str,
}

impl Table {
    /// With these columns; `empty` is said when there are no rows.
    pub(crate) fn new(head: &[&'static str], empty: &'static str) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
            empty,
        }
    }

    /// One object: a line for each field.
    pub(crate) fn fields() -> Self {
        Self::new(&[], "")
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// A field of [`Table::fields`]; left out when it has no value.
    pub(crate) fn field(&mut self, name: &str, value: impl Into<Cell>) {
        let value = value.into();
        if !value.text.is_empty() {
            self.rows
                .push(vec![Cell::toned(format!("{name}:"), Tone::Dim), value]);
        }
    }

    pub(crate) fn empty(&self) -> Option<&'static str> {
        self.rows.is_empty().then_some(self.empty)
    }

    pub(crate) fn render(&self, paint: impl Fn(Tone, &str) -> String) -> String {
        let head = self
            .head
            .iter()
            .map(|text| Cell::toned(*text, Tone::Dim))
            .collect::<Vec<_>>();
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        if !head.is_empty() {
            rows.push(head);
        }
        rows.extend(self.rows.iter().map(|row| {
            row.iter()
                .map(|cell| Cell {
                    text: crate::output::harmless(&cell.text, false),
                    tone: cell.tone,
                })
                .collect()
        }));
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            let last = row.iter().rposition(|cell| !cell.text.is_empty());
            for (column, cell) in row.iter().enumerate() {
                line.push_str(&paint(cell.tone, &cell.text));
                if Some(column) >= last {
                    break;
                }
                let gap = widths[column] - cell.text.chars().count() + 2;
                line.extend(std::iter::repeat_n(' ', gap));
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// How long ago, in one unit.
pub(crate) fn age(at: chrono::DateTime<chrono::Utc>, now: chrono::DateTime<chrono::Utc>) -> String {
    let seconds = (now - at).num_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// Bytes in the unit that people would choose.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = u128::from(bytes) * 10;
    while value >= 10_240 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    if unit == 0 || value >= 1000 {
        format!("{} {}", value / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", value / 10, value % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["NAME", "PHASE", "URL"], "none");
        table.row(vec![
            "a".into(),
            Cell::toned("running", Tone::Good),
            "http://a".into(),
        ]);
        table.row(vec!["longer".into(), "x".into(), "".into()]);
        assert_eq!(
            table.render(|_, text| text.to_owned()),
            "NAME    PHASE    URL\na       running  http://a\nlonger  x\n"
        );
        assert_eq!(Table::new(&["NAME"], "none").empty(), Some("none"));
    }

    #[test]
    fn ages_and_sizes_have_one_unit() {
        let now = chrono::Utc::now();
        let ago = |seconds| age(now - chrono::Duration::seconds(seconds), now);
        assert_eq!(
            [ago(5), ago(300), ago(7200), ago(200_000)],
            ["5s", "5m", "2h", "2d"]
        );
        assert_eq!(
            [
                bytes(0),
                bytes(1023),
                bytes(1536),
                bytes(200 << 20),
                bytes(3 << 40)
            ],
            ["0 B", "1023 B", "1.5 KiB", "200 MiB", "3.0 TiB"]
        );
    }
}

//! Quantities: amounts of memory, CPU and time as people write them.
//!
//! Each is kept in its smallest unit and printed in the largest that is exact, so that what a person wrote
//! is what a person reads. Serde goes through the same parser.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::shown;

/// Why a quantity was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is no {what}: {rule}")]
pub struct InvalidQuantity {
    what: &'static str,
    shown: String,
    rule: &'static str,
}

/// An amount of memory or disk, in bytes. Written `256Mi`, `1Gi`, `500M` or plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, example = "256Mi")]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 9] = [
        ("Ti", 1 << 40),
        ("Gi", 1 << 30),
        ("Mi", 1 << 20),
        ("Ki", 1 << 10),
        ("T", 1_000_000_000_000),
        ("G", 1_000_000_000),
        ("M", 1_000_000),
        ("k", 1_000),
        ("", 1),
    ];

    /// `n` mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidQuantity;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || InvalidQuantity {
            what: "amount of memory",
            shown: shown(s),
            rule: "use a whole number with Ki, Mi, Gi or Ti, such as 256Mi",
        };
        let digits = s.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = s.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let (_, factor) = Self::UNITS
            .into_iter()
            .find(|(u, _)| *u == unit)
            .ok_or_else(bad)?;
        number.checked_mul(factor).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, factor): &(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        // Binary units come first: 1024 is 1Ki, not 1024.
        let (unit, factor) = Self::UNITS.into_iter().find(exact).unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// A share of processors, in thousandths of one. Written `0.5`, `2` or `500m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = f64, example = 0.5)]
pub struct Cpu(u32);

impl Cpu {
    /// `milli` thousandths of a processor.
    #[must_use]
    pub const fn from_milli(milli: u32) -> Self {
        Self(milli)
    }

    /// Thousandths of a processor.
    #[must_use]
    pub const fn milli(self) -> u32 {
        self.0
    }

    /// Processors.
    #[must_use]
    pub fn cores(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    fn bad(s: &str) -> InvalidQuantity {
        InvalidQuantity {
            what: "share of processors",
            shown: shown(s),
            rule: "use a number of processors from 0.01 to 1024, such as 0.5 or 500m",
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be within 10 and 1,024,000"
    )]
    fn from_cores(cores: f64, shown: &str) -> Result<Self, InvalidQuantity> {
        let milli = (cores * 1000.0).round();
        if (10.0..=1_024_000.0).contains(&milli) {
            Ok(Self(milli as u32))
        } else {
            Err(Self::bad(shown))
        }
    }
}

impl FromStr for Cpu {
    type Err = InvalidQuantity;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let number = |n: &str| n.parse::<f64>().map_err(|_| Self::bad(s));
        match s.strip_suffix('m') {
            Some(milli) => Self::from_cores(number(milli)? / 1000.0, s),
            None => Self::from_cores(number(s)?, s),
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cores())
    }
}

/// A length of time. Written `500ms`, `2s`, `10m`, `1h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, example = "10s")]
pub struct Span(pub Duration);

impl Span {
    const UNITS: [(&'static str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];

    /// `n` seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

impl FromStr for Span {
    type Err = InvalidQuantity;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || InvalidQuantity {
            what: "length of time",
            shown: shown(s),
            rule: "use a whole number with ms, s, m, h or d, such as 30s",
        };
        let digits = s.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = s.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let (_, factor) = Self::UNITS
            .into_iter()
            .find(|(u, _)| *u == unit)
            .ok_or_else(bad)?;
        number
            .checked_mul(factor)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(bad)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        let exact = |(_, factor): &(&str, u64)| millis.is_multiple_of(*factor);
        let (unit, factor) = Self::UNITS.into_iter().find(exact).unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / factor)
    }
}

/// A quantity may be written as text or, where that is plain, as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Whole(u64),
    Number(f64),
}

impl TextOrNumber {
    fn parse<T: FromStr<Err = InvalidQuantity>, E: serde::de::Error>(self) -> Result<T, E> {
        match self {
            Self::Text(s) => s.parse(),
            Self::Whole(n) => n.to_string().parse(),
            Self::Number(n) => n.to_string().parse(),
        }
        .map_err(E::custom)
    }
}

macro_rules! serde_by_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                TextOrNumber::deserialize(d)?.parse()
            }
        }
    )*};
}
serde_by_text!(ByteSize, Cpu, Span);

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl Serialize for Cpu {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.cores())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["256Mi", "1Gi", "0", "1000", "500M", "7"] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(
                text.parse::<ByteSize>().unwrap(),
                size.to_string().parse().unwrap()
            );
        }
        assert_eq!("256Mi".parse::<ByteSize>().unwrap().to_string(), "256Mi");
        assert_eq!("0.5".parse::<Cpu>().unwrap().milli(), 500);
        assert_eq!("250m".parse::<Cpu>().unwrap().to_string(), "0.25");
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "90s");
        assert_eq!("600s".parse::<Span>().unwrap().to_string(), "10m");
        assert_eq!("0s".parse::<Span>().unwrap().to_string(), "0s");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "Mi",
            "-1",
            "1.5Gi",
            "99999999999999999999",
            "18446744073709551615Ti",
            "1 Gi",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        for bad in ["", "0", "-1", "NaN", "inf", "1e9", "m"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad}");
        }
        for bad in ["", "10", "s", "1w", "-1s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn sizes_and_spans_survive_a_round_trip(n in any::<u64>(), ms in 0..u64::from(u32::MAX)) {
            prop_assert_eq!(ByteSize(n).to_string().parse::<ByteSize>().unwrap(), ByteSize(n));
            let span = Span(Duration::from_millis(ms));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }
}

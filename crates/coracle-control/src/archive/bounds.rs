//! How much the records of an archive may have.
//!
//! Theory of operation: an import has all records in memory. A short text such as `"a",` becomes many times its size there, so
//! bytes alone are no bound: values are counted too, before a record is made of them. What counts them keeps nothing. A record
//! that was made is checked at once ([`Record::check`]), and not when all are there.

use std::fmt;

use coracle_model::name::shown;
use coracle_model::quantity::ByteSize;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::archive::{RECORD_BYTES, RECORDS_BYTES, refused};
use crate::error::OperationError;

/// The most values (texts, numbers, lists, objects) in one record. An app with all releases and variables that it may have
/// has fewer.
pub const RECORD_VALUES: u64 = 250_000;
/// The most of them in all records together.
pub const RECORDS_VALUES: u64 = 1_000_000;

/// What is in one file of an archive.
pub trait Record: DeserializeOwned {
    /// Could a platform have written it?
    ///
    /// # Errors
    /// [`OperationError::InvalidSource`], naming the thing.
    fn check(&self) -> Result<(), OperationError>;
}

/// What is left for the records of an archive.
#[derive(Debug)]
pub struct RecordBudget {
    bytes: u64,
    values: u64,
}

impl Default for RecordBudget {
    fn default() -> Self {
        Self {
            bytes: RECORDS_BYTES,
            values: RECORDS_VALUES,
        }
    }
}

impl RecordBudget {
    /// Takes the bytes of a record, before it is in memory.
    ///
    /// # Errors
    /// [`OperationError::TooLarge`].
    pub fn take_bytes(&mut self, bytes: u64) -> Result<(), OperationError> {
        match self.bytes.checked_sub(bytes) {
            Some(left) if bytes <= RECORD_BYTES => {
                self.bytes = left;
                Ok(())
            }
            _ => Err(OperationError::TooLarge {
                what: "a record of the export",
                limit: format!(
                    "{} for one record and {} for all",
                    ByteSize(RECORD_BYTES),
                    ByteSize(RECORDS_BYTES)
                ),
            }),
        }
    }

    /// Makes the record of the file `path`, within what is left.
    ///
    /// # Errors
    /// As [`RecordBudget::take_values`], and as [`Record::check`].
    pub fn read<T: Record>(&mut self, path: &str, json: &[u8]) -> Result<T, OperationError> {
        self.take_values(path, json)?;
        let record: T = serde_json::from_slice(json).map_err(|error| malformed(path, &error))?;
        record.check()?;
        Ok(record)
    }

    /// Takes the values of the record in the file `path`, before anything is made of them.
    ///
    /// # Errors
    /// [`OperationError::TooLarge`], [`OperationError::InvalidSource`] for what is not JSON.
    pub fn take_values(&mut self, path: &str, json: &[u8]) -> Result<(), OperationError> {
        let most = self.values.min(RECORD_VALUES);
        let mut left = most;
        let mut reader = serde_json::Deserializer::from_slice(json);
        let counted = Values(&mut left).deserialize(&mut reader);
        match counted.and_then(|()| reader.end()) {
            Ok(()) => {
                self.values -= most - left;
                Ok(())
            }
            Err(error) if error.is_data() => Err(OperationError::TooLarge {
                what: "the number of values in a record of the export",
                limit: format!("{RECORD_VALUES} for one record and {RECORDS_VALUES} for all"),
            }),
            Err(error) => Err(malformed(path, &error)),
        }
    }
}

/// What is wrong with a record, without repeating what is in it: that may be a secret in the wrong place.
#[must_use]
pub fn malformed(path: &str, error: &serde_json::Error) -> OperationError {
    let (line, column) = (error.line(), error.column());
    let path = shown(path);
    refused(format!(
        "{path} is not as it should be (line {line}, column {column})"
    ))
}

/// Counts down for each value.
struct Values<'a>(&'a mut u64);

impl Values<'_> {
    fn one<E: de::Error>(&mut self) -> Result<(), E> {
        match self.0.checked_sub(1) {
            Some(left) => {
                *self.0 = left;
                Ok(())
            }
            None => Err(E::custom("too many values")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: de::Error>(mut self) -> Result<(), E> {
        self.one()
    }
    fn visit_bool<E: de::Error>(mut self, _: bool) -> Result<(), E> {
        self.one()
    }
    fn visit_i64<E: de::Error>(mut self, _: i64) -> Result<(), E> {
        self.one()
    }
    fn visit_u64<E: de::Error>(mut self, _: u64) -> Result<(), E> {
        self.one()
    }
    fn visit_f64<E: de::Error>(mut self, _: f64) -> Result<(), E> {
        self.one()
    }
    fn visit_str<E: de::Error>(mut self, _: &str) -> Result<(), E> {
        self.one()
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.one()?;
        while list.next_element_seed(Values(self.0))?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.one()?;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Values(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(json: &str) -> Result<u64, OperationError> {
        let mut budget = RecordBudget::default();
        budget.take_values("some.json", json.as_bytes())?;
        Ok(RECORDS_VALUES - budget.values)
    }

    #[test]
    fn every_value_counts_and_no_name_does() {
        for (json, values) in [
            ("null", 1),
            (r#"[1, -1, 0.5, true, "a", null]"#, 7),
            (r#"{"a": {"b": []}, "c": "\u00e4"}"#, 4),
        ] {
            assert_eq!(taken(json).unwrap(), values, "{json}");
        }
        for broken in ["", "{", "[1,]", "1 1", "\"\u{1}\"", &"[".repeat(1000)] {
            let told = taken(broken).unwrap_err();
            assert!(told.to_string().contains("some.json"), "{told}");
        }
    }

    #[test]
    fn one_record_and_all_records_have_an_end() {
        let too_large =
            |error: OperationError| assert!(matches!(error, OperationError::TooLarge { .. }));
        let list = |n: u64| format!("[{}0]", "0,".repeat(usize::try_from(n).unwrap() - 2));
        assert_eq!(taken(&list(RECORD_VALUES)).unwrap(), RECORD_VALUES);
        too_large(taken(&list(RECORD_VALUES + 1)).unwrap_err());
        let mut budget = RecordBudget::default();
        let full = list(RECORD_VALUES);
        for _ in 0..RECORDS_VALUES / RECORD_VALUES {
            budget.take_values("a", full.as_bytes()).unwrap();
        }
        too_large(budget.take_values("a", b"0").unwrap_err());
        for _ in 0..RECORDS_BYTES / RECORD_BYTES {
            budget.take_bytes(RECORD_BYTES).unwrap();
        }
        too_large(budget.take_bytes(1).unwrap_err());
        let mut budget = RecordBudget::default();
        too_large(budget.take_bytes(RECORD_BYTES + 1).unwrap_err());
    }
}

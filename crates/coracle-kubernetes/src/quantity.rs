//! Quantities as the cluster writes them: `64Mi`, `250m`, `1e3`.

/// The number that a quantity stands for.
pub(crate) fn number(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let text = text.trim();
    if let Ok(plain) = text.parse::<f64>() {
        return plain.is_finite().then_some(plain);
    }
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let value: f64 = text.strip_suffix(unit)?.parse().ok()?;
    value.is_finite().then_some(value * factor)
}

/// The bytes that a quantity stands for.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be within what a u64 holds; no machine has 2^63 bytes"
)]
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let number = number(text)?;
    (0.0..9e18).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        assert_eq!(bytes("64Mi"), Some(64 << 20));
        assert_eq!(bytes("67108864"), Some(64 << 20));
        assert_eq!(bytes("1e3"), Some(1000));
        assert_eq!(bytes("128974848000m"), Some(128_974_848));
        assert_eq!(number("250m"), Some(0.25));
        assert_eq!(number("lots"), None);
        assert_eq!(bytes("-1"), None);
    }
}

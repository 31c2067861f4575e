//! How much of a disk is kept free for the platform itself: its store and its logs.

/// The most that is kept free, and the share of a small disk.
const MOST_BYTES: u64 = 256 << 20;
const SHARE: u64 = 20;

/// The bytes that are kept free of a disk of `disk` bytes, whatever people send.
#[must_use]
pub const fn kept_free(disk: u64) -> u64 {
    let share = disk / SHARE;
    if share < MOST_BYTES {
        share
    } else {
        MOST_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_share_and_a_large_one_enough() {
        assert_eq!(kept_free(20 << 20), 1 << 20);
        assert_eq!(kept_free(1 << 40), 256 << 20);
        assert_eq!(kept_free(0), 0);
    }
}

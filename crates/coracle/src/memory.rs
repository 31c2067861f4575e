//! What the C library's allocator keeps of memory that was freed.
//!
//! Theory of operation: glibc learns from the largest block that was ever freed to keep as much for the next one, up to
//! 32 MiB. A password's hash takes 19 MiB, aligned, so that the block that is kept is never quite large enough for the
//! next hash: each login would add as much for ever. With bounds of our own large blocks are the kernel's again when
//! they are freed, and there are few arenas, since each keeps memory of its own.

/// From so many bytes on a block is mapped by itself, and unmapped when it is freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: i32 = 1024 * 1024;
/// So many free bytes at the end of the heap go back to the kernel.
#[cfg(target_env = "gnu")]
const TRIMMED_BYTES: i32 = 512 * 1024;
/// Heaps that threads share. Few threads allocate, and little.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Sets the bounds. To be called before there are threads.
#[cfg(target_env = "gnu")]
pub(crate) fn bound() {
    let bounds = [
        (libc::M_MMAP_THRESHOLD, MAPPED_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIMMED_BYTES),
        (libc::M_ARENA_MAX, ARENAS),
    ];
    for (parameter, value) in bounds {
        // A bound that is refused leaves the library's own: the platform works with it.
        #[expect(
            unsafe_code,
            reason = "two numbers go to the allocator, and no thread runs yet"
        )]
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}

/// Other C libraries have nothing of the kind.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn bound() {}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// What a hash of a password is computed in: kibibytes, aligned.
    #[derive(Clone)]
    #[repr(align(64))]
    struct Block([u8; 1024]);

    const BLOCKS: usize = 19 * 1024;

    fn resident_kilobytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }

    #[test]
    fn memory_of_one_hash_is_not_kept_for_the_next() {
        bound();
        let before = resident_kilobytes();
        let mut kept = Vec::new();
        for round in 0..8_u8 {
            let blocks = vec![Block([round; 1024]); BLOCKS];
            kept.push(blocks[usize::from(round)].0.to_vec());
            drop(blocks);
            kept.push(vec![round; 4096]);
        }
        let more = resident_kilobytes().saturating_sub(before);
        assert!(more < BLOCKS, "{more} kB more for {} blocks", kept.len());
    }
}

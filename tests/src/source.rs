//! Folders to deploy.

use std::path::Path;

use tempfile::TempDir;

/// The image that everything is built from and run from: BusyBox and a few pages (`images/test/README.md`).
pub const TEST_IMAGE: &str = "coracle-test:1";

/// A folder to deploy. Removed when dropped.
#[derive(Debug)]
pub struct Source(TempDir);

impl Source {
    /// An empty one.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    pub fn empty() -> Self {
        Self(TempDir::with_prefix("coracle-e2e-source.").expect("a folder can be made"))
    }

    /// An app whose page says `text`.
    #[must_use]
    pub fn page(text: &str) -> Self {
        let source = Self::empty();
        source.write(
            "Dockerfile",
            &format!("FROM {TEST_IMAGE}\nCOPY index.html /www/index.html\n"),
        );
        source.write("index.html", &format!("{text}\n"));
        source
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where it is, as an argument.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn arg(&self) -> &str {
        self.path().to_str().expect("it was made by this harness")
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("the file can be written");
    }

    /// Makes a file of so many bytes that take no room.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn sparse(&self, name: &str, bytes: u64) {
        let file = std::fs::File::create(self.path().join(name)).expect("the file can be made");
        file.set_len(bytes)
            .expect("the file system has sparse files");
    }

    /// Makes a file of so many bytes that no compressor makes smaller.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn noise(&self, name: &str, bytes: usize) {
        let mut noise = vec![0; bytes];
        fastrand::fill(&mut noise);
        std::fs::write(self.path().join(name), noise).expect("the file can be written");
    }

    /// All of it as a compressed tar.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn archive(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        tar.append_dir_all(".", self.path())
            .expect("the folder can be packed");
        tar.into_inner()
            .and_then(flate2::write::GzEncoder::finish)
            .expect("it fits memory")
    }

    /// A small compressed tar that unpacks to so many files of 64 MiB.
    ///
    /// # Panics
    /// When it does not fit memory.
    #[must_use]
    pub fn bomb(files: u32) -> Vec<u8> {
        // A gzip header without a name, then blocks of a deflate stream that are cut at whole bytes, so that the
        // same zeros are compressed once. Nobody reads as far as the checksum at its end.
        let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let zeros = block(&vec![0; MIB]);
        let dockerfile = format!("FROM {TEST_IMAGE}\n");
        let mut first = dockerfile.clone().into_bytes();
        first.resize(512, 0);
        bomb.extend(block(&header("Dockerfile", dockerfile.len())));
        bomb.extend(block(&first));
        for number in 0..files {
            bomb.extend(block(&header(&format!("bomb-{number}"), 64 * MIB)));
            for _ in 0..64 {
                bomb.extend(&zeros);
            }
        }
        bomb
    }
}

const MIB: usize = 1 << 20;

fn header(name: &str, size: usize) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("a short name");
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_cksum();
    *header.as_bytes()
}

/// A part of a raw deflate stream that depends on nothing before it and ends at a whole byte.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut deflate = flate2::Compress::new(flate2::Compression::fast(), false);
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    deflate
        .compress_vec(bytes, &mut out, flate2::FlushCompress::Full)
        .expect("it fits memory");
    assert_eq!(deflate.total_in(), bytes.len() as u64);
    out
}

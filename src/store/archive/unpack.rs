//! Reads an archive into a directory, and verifies all of it before anything is used.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use zstd::stream::read::Decoder;

use crate::digest::{CopyError, Digest};
use crate::files;
use crate::store::StoreError;

use super::manifest::{
    BLOCK, LARGEST, MANIFEST, Manifest, Part, RECORDS, header, is_ours, name_of,
};
use super::record::{LONGEST, Record};
use super::{ArchiveError, Refusal, WINDOW_LOG};

/// The first bytes of a zstd frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An archive that was unpacked and verified. Its directory belongs to the caller.
pub struct Staged {
    dir: PathBuf,
    pub(super) manifest: Manifest,
    /// The keys of the latest runs.
    pub(super) latest: HashSet<Digest>,
}

/// Unpacks an archive into an empty directory. It is refused if anything in it is not as clm writes it, or if it would
/// become larger than `max_size` bytes.
pub fn unpack(input: impl Read, dir: &Path, max_size: u64) -> Result<Staged, ArchiveError> {
    let mut source = Source {
        inner: input,
        first: Vec::new(),
        failed: None,
    };
    let staged = unpack_from(&mut source, dir, max_size);
    // Decoders report errors of the input as if the data was damaged.
    if let Some(error) = source.failed {
        return Err(ArchiveError::Stream {
            what: "read",
            source: error,
        });
    }
    match staged {
        Err(ArchiveError::Refused(_)) if source.first.is_empty() => {
            Err(Refusal::Foreign("it is empty".to_owned()).into())
        }
        Err(ArchiveError::Refused(_)) if !MAGIC.starts_with(&source.first) => {
            let reason = "it is not in the format of zstd";
            Err(Refusal::Foreign(reason.to_owned()).into())
        }
        staged => staged,
    }
}

/// Returns whether a file begins like an archive of any version of clm.
pub(crate) fn is_archive(file: impl Read) -> bool {
    let mut first = Vec::new();
    let decoded = Decoder::new(file).and_then(|mut decoder| {
        decoder.window_log_max(WINDOW_LOG)?;
        decoder.take(1024).read_to_end(&mut first)
    });
    // A short archive, or one that is damaged behind these bytes, is one all the same.
    let _ = decoded;
    let Some((block, beginning)) = first.split_at_checked(BLOCK) else {
        return false;
    };
    let found = tar::Header::from_byte_slice(block);
    let size = found.entry_size().unwrap_or_default();
    found.as_bytes() == header(MANIFEST, size).as_bytes() && is_ours(beginning)
}

/// The input, with its first bytes and its error.
struct Source<R> {
    inner: R,
    first: Vec<u8>,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Ok(read) => {
                    let missing = (MAGIC.len() - self.first.len()).min(read);
                    self.first.extend_from_slice(&buffer[..missing]);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    self.failed = Some(error);
                    return Err(kind.into());
                }
            }
        }
    }
}

fn unpack_from<R: Read>(
    source: &mut Source<R>,
    dir: &Path,
    max_size: u64,
) -> Result<Staged, ArchiveError> {
    let mut decoder = Decoder::new(source).map_err(damaged)?.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(damaged)?;
    let mut entries = Entries(decoder);
    let manifest = entries.manifest()?;
    let size = manifest.unpacked_size();
    if size > max_size {
        let limit = max_size;
        return Err(Refusal::TooLarge { size, limit }.into());
    }
    require_space(dir, size)?;
    let records = dir.join(RECORDS);
    entries.unpack(RECORDS, manifest.records, &records)?;
    let latest = check_records(&records, &manifest)?;
    for part in &manifest.blobs {
        let to = dir.join(part.digest.to_string());
        entries.unpack(&name_of(&part.digest), *part, &to)?;
    }
    entries.end()?;
    Ok(Staged {
        dir: dir.to_owned(),
        manifest,
        latest,
    })
}

/// The entries of an archive, one after the other. Only those are read that are exactly as they are written: an archive
/// of another program has nothing that a store could use.
struct Entries<'a, R: BufRead>(Decoder<'a, R>);

impl<R: BufRead> Entries<'_, R> {
    fn manifest(&mut self) -> Result<Manifest, Refusal> {
        let foreign =
            |reason: &str| Refusal::Foreign(format!("it has no `{MANIFEST}` of clm, {reason}"));
        let found = match self.header() {
            Ok(Some(found)) => found,
            Ok(None) => return Err(foreign("and hardly anything else")),
            Err(Refusal::CutOff) => return Err(Refusal::CutOff),
            Err(refusal) => return Err(foreign(&format!("since {refusal}"))),
        };
        let size = found.entry_size().unwrap_or(u64::MAX);
        if size > LARGEST || found.as_bytes() != header(MANIFEST, size).as_bytes() {
            return Err(foreign(&format!("but `{}`", shown(&found))));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.0).take(size).read_to_end(&mut bytes);
        read.map_err(damaged)?;
        if bytes.len() as u64 != size {
            return Err(Refusal::CutOff);
        }
        self.skip_padding(MANIFEST, size)?;
        Manifest::parse(&bytes)
    }

    /// Writes the next entry, which must have this name and content, to a new file.
    fn unpack(&mut self, name: &str, part: Part, to: &Path) -> Result<(), ArchiveError> {
        let found = self.header()?.ok_or(Refusal::CutOff)?;
        if found.as_bytes() != header(name, part.size).as_bytes() {
            return Err(unexpected(&found, name).into());
        }
        let io = |error| StoreError::io("write", to, error);
        let mut file = files::create(to, OpenOptions::new().truncate(true)).map_err(io)?;
        match Digest::of_copy((&mut self.0).take(part.size), &mut file) {
            Ok(copied) if copied == (part.digest, part.size) => {
                Ok(self.skip_padding(name, part.size)?)
            }
            Ok((_, size)) if size < part.size => Err(Refusal::CutOff.into()),
            Ok(_) => {
                let reason = format!("`{name}` has other bytes than its `{MANIFEST}` says");
                Err(Refusal::Damaged(reason).into())
            }
            Err(CopyError::Reading(error)) => Err(damaged(error).into()),
            Err(CopyError::Writing(error)) => Err(io(error).into()),
        }
    }

    /// Returns the next header; `None` if the archive ends before it does.
    fn header(&mut self) -> Result<Option<tar::Header>, Refusal> {
        let mut block = Vec::new();
        let read = (&mut self.0).take(BLOCK as u64).read_to_end(&mut block);
        read.map_err(damaged)?;
        let is_whole = block.len() == BLOCK;
        Ok(is_whole.then(|| tar::Header::from_byte_slice(&block).clone()))
    }

    /// Reads what fills the last block of an entry.
    fn skip_padding(&mut self, name: &str, size: u64) -> Result<(), Refusal> {
        let rest = size.next_multiple_of(BLOCK as u64) - size;
        let mut padding = Vec::new();
        let read = (&mut self.0).take(rest).read_to_end(&mut padding);
        read.map_err(damaged)?;
        if padding.iter().any(|byte| *byte != 0) {
            let reason = format!("`{name}` is longer than its `{MANIFEST}` says");
            return Err(Refusal::Damaged(reason));
        }
        match padding.len() as u64 == rest {
            true => Ok(()),
            false => Err(Refusal::CutOff),
        }
    }

    /// Checks that only the end follows: two empty blocks, the end of the frame, and the end of the input.
    fn end(mut self) -> Result<(), Refusal> {
        let mut rest = Vec::new();
        let read = (&mut self.0)
            .take(2 * BLOCK as u64 + 1)
            .read_to_end(&mut rest);
        read.map_err(damaged)?;
        if let Some((first, _)) = rest.split_at_checked(BLOCK)
            && first.iter().any(|byte| *byte != 0)
        {
            let name = shown(tar::Header::from_byte_slice(first));
            return Err(Refusal::Damaged(format!(
                "its `{MANIFEST}` does not name `{name}`"
            )));
        }
        if rest.len() < 2 * BLOCK {
            return Err(Refusal::CutOff);
        }
        if rest.len() > 2 * BLOCK || rest.iter().any(|byte| *byte != 0) {
            let reason = "something follows its last entry";
            return Err(Refusal::Damaged(reason.to_owned()));
        }
        match self.0.finish().fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(Refusal::Damaged("something follows its end".to_owned())),
            Err(error) => Err(damaged(error)),
        }
    }
}

fn unexpected(header: &tar::Header, name: &str) -> Refusal {
    let shown = shown(header);
    Refusal::Damaged(match shown == name {
        true => format!("`{name}` is no file of the size that its `{MANIFEST}` says"),
        false => format!("it has `{shown}` where `{name}` belongs"),
    })
}

fn shown(header: &tar::Header) -> String {
    let name = header.path_bytes();
    String::from_utf8_lossy(&name).escape_debug().to_string()
}

fn damaged(error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Refusal::CutOff,
        _ => Refusal::Damaged(format!("it is damaged: {error}")),
    }
}

/// Checks that the file system of a directory has room for the unpacked archive.
fn require_space(dir: &Path, size: u64) -> Result<(), StoreError> {
    let Ok(found) = nix::sys::statvfs::statvfs(dir) else {
        return Ok(());
    };
    #[allow(clippy::unnecessary_cast)] // their width differs between platforms
    let free = (found.blocks_available() as u64).saturating_mul(found.fragment_size() as u64);
    if size <= free {
        return Ok(());
    }
    let full = io::Error::from(io::ErrorKind::StorageFull);
    Err(StoreError::io("unpack the archive in", dir, full))
}

/// Checks every record, and returns the keys of the latest runs.
fn check_records(file: &Path, manifest: &Manifest) -> Result<HashSet<Digest>, ArchiveError> {
    let mut latest = HashSet::new();
    for record in Lines::open(file)? {
        let (number, line) = record?;
        if let Record::Latest(found) = Record::parse(&line, number, manifest)? {
            latest.insert(found.key);
        }
    }
    Ok(latest)
}

impl Staged {
    /// Returns the file with a blob.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// Calls a function for every record.
    pub(super) fn for_each(
        &self,
        mut each: impl FnMut(Record) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        for record in Lines::open(&self.dir.join(RECORDS))? {
            let (number, line) = record?;
            each(Record::parse(&line, number, &self.manifest)?)?;
        }
        Ok(())
    }
}

/// The lines of a file, with their numbers from 1.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    number: usize,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let file = files::open(path).map_err(|error| StoreError::io("read", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            number: 0,
        })
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        let mut line = Vec::new();
        let read = (&mut self.file).take(LONGEST).read_until(b'\n', &mut line);
        read.map_err(|error| StoreError::io("read", &self.path, error))?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => {
                let reason = format!("its `{RECORDS}` has a line without an end");
                Err(Refusal::Damaged(reason).into())
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Result<(usize, Vec<u8>), ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.number += 1;
        let line = self.read().transpose()?;
        Some(line.map(|line| (self.number, line)))
    }
}

//! Digests of bytes, and the stamps of files that make it unnecessary to compute digests again.

use std::fmt;
use std::fs::Metadata;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::files;

/// The blake3 digest of some bytes: 32 bytes, displayed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Computes the digest of bytes in memory.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(*blake3::hash(bytes.as_ref()).as_bytes())
    }

    /// Computes the digest of a file without loading it into memory. Errors are those of opening and reading it.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Self::of_reader(files::open(path)?)
    }

    /// Computes the digest of everything from the current position of a reader to its end.
    pub fn of_reader(file: impl Read) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        use_pieces(file, |bytes| {
            hasher.update(bytes);
        })?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    /// Copies a reader to its end, piece by piece, and returns the digest and the size of what was copied. An error is
    /// that of the reader or of the writer.
    pub(crate) fn of_copy(from: impl Read, to: &mut impl Write) -> Result<(Self, u64), CopyError> {
        let (mut from, mut hasher, mut size) = (from, blake3::Hasher::new(), 0);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Reading(error)),
            };
            if read == 0 {
                return Ok((Self(*hasher.finalize().as_bytes()), size));
            }
            hasher.update(&buffer[..read]);
            size += read as u64;
            to.write_all(&buffer[..read]).map_err(CopyError::Writing)?;
        }
    }

    /// Returns whether a file can be read and has this digest.
    pub fn is_of_file(&self, path: &Path) -> bool {
        Self::of_file(path).is_ok_and(|found| found == *self)
    }

    /// Returns the raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first 12 hexadecimal digits, for messages.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The reader.
    Reading(io::Error),
    /// The writer.
    Writing(io::Error),
}

/// Computes the SHA-256 of a file in hexadecimal digits, for other programs to check. Errors are those of opening and
/// reading it.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    read_in_pieces(path, |bytes| hasher.update(bytes))?;
    Ok(hex(&hasher.finalize()))
}

/// Computes the SHA-256 of a file like [`sha256_of_file`], or returns `None` if the file does not have the digest.
pub(crate) fn sha256_of_content(path: &Path, digest: Digest) -> io::Result<Option<String>> {
    let (mut sha256, mut hasher) = (Sha256::new(), blake3::Hasher::new());
    read_in_pieces(path, |bytes| {
        sha256.update(bytes);
        hasher.update(bytes);
    })?;
    let is_this = Digest(*hasher.finalize().as_bytes()) == digest;
    Ok(is_this.then(|| hex(&sha256.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_in_pieces(path: &Path, use_bytes: impl FnMut(&[u8])) -> io::Result<()> {
    use_pieces(files::open(path)?, use_bytes)
}

fn use_pieces(mut file: impl Read, mut use_bytes: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        use_bytes(&buffer[..read]);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A table is faster than formatting each byte, and this is called very often: every record and key has digests.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// The error that a text is not 64 hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest of 64 hexadecimal digits")]
pub struct ParseDigestError(String);

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| ParseDigestError(text.to_owned()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(Self(<[u8; 32]>::deserialize(deserializer)?));
        }
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The metadata of a file. Whether it proves that the file is unchanged is decided only by [`Stamp::proves`].
///
/// The change time is the part that no tool can set: `touch -r`, `cp -p`, `rsync -t` and `tar` copy the size and the
/// modification time of another file, but each write, rename and `utimes` sets the change time to the current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970: negative before, and modulo 2^64 outside the years 1677 to 2262.
    pub mtime_ns: i64,
    /// Change time in nanoseconds since 1970; 0 if it is unknown (in a record of an earlier version).
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// The device that the inode is on.
    pub device: u64,
}

/// The length of a stamp in records, in bytes.
const STAMP_BYTES: usize = 40;

/// Serializes as bytes of a fixed length, which is fast to read: a build with nothing to do reads thousands of stamps.
impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [0; STAMP_BYTES];
        let (words, _) = bytes.as_chunks_mut();
        for (place, word) in words.iter_mut().zip(self.words()) {
            *place = word.to_le_bytes();
        }
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&'de [u8]>::deserialize(deserializer)?;
        let bytes: &[u8; STAMP_BYTES] = bytes
            .try_into()
            .map_err(|_| serde::de::Error::invalid_length(bytes.len(), &"40 bytes"))?;
        let (words, _) = bytes.as_chunks();
        let word = |at: usize| u64::from_le_bytes(words[at]);
        Ok(Self {
            size: word(0),
            mtime_ns: word(1).cast_signed(),
            ctime_ns: word(2).cast_signed(),
            inode: word(3),
            device: word(4),
        })
    }
}

/// How much older than its record a file must be, since the clocks of file systems tick in steps of up to 10 ms.
const MARGIN_NS: i64 = 50_000_000;
/// The margin for file systems with a resolution of one or two seconds.
const COARSE_MARGIN_NS: i64 = 2_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

impl Stamp {
    /// The stamp of a file whose metadata was not read. It proves nothing.
    pub const NONE: Self = Self {
        size: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        inode: 0,
        device: 0,
    };

    /// Returns the stamp in a file's metadata.
    pub fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            size: metadata.len(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Returns the fields in the order of records.
    fn words(&self) -> [u64; STAMP_BYTES / size_of::<u64>()] {
        let (mtime, ctime) = (self.mtime_ns.cast_unsigned(), self.ctime_ns.cast_unsigned());
        [self.size, mtime, ctime, self.inode, self.device]
    }

    /// Returns whether a file with the stamp `found` certainly has the same bytes as when it had this stamp and a
    /// record of it was made at `recorded_ns`. No other code decides whether a stamp is reliable.
    pub fn proves(&self, recorded_ns: i64, found: &Self) -> bool {
        self == found && self.is_reliable_at(recorded_ns)
    }

    /// Returns whether a record made at `recorded_ns` may rely on this stamp. A file that changed within 50 ms of its
    /// record (2 s if the file system stores whole seconds) could change again without a new stamp.
    pub fn is_reliable_at(&self, recorded_ns: i64) -> bool {
        // A modification time far in the future was set explicitly, and the next write sets another one.
        let is_just_written =
            self.mtime_ns.abs_diff(recorded_ns) <= margin(self.mtime_ns).unsigned_abs();
        self.ctime_ns != 0 && self.settled_ns() <= recorded_ns && !is_just_written
    }

    /// Returns the first time at which a record may rely on the change time.
    fn settled_ns(&self) -> i64 {
        self.ctime_ns
            .saturating_add(margin(self.ctime_ns))
            .saturating_add(1)
    }

    /// Returns the time of the record for a file that this process moved to its place. `self` is its stamp before the
    /// move at `moved_ns`, and `found` its stamp after the move.
    ///
    /// The move sets the change time, so at first the new stamp proves nothing. But if the last write was long before
    /// the move, any later write would change the modification time, and the new stamp is as reliable as an old one. In
    /// this case the record gets the first time at which the stamp is reliable.
    pub fn recorded_after_move(&self, moved_ns: i64, found: &Self) -> i64 {
        let is_same = Self {
            ctime_ns: found.ctime_ns,
            ..*self
        } == *found;
        let is_old = self.mtime_ns.saturating_add(margin(self.mtime_ns)) < moved_ns;
        match is_same && is_old {
            true => found.settled_ns().max(moved_ns),
            false => moved_ns,
        }
    }

    /// Returns whether both stamps are of the same inode, whatever its content.
    pub fn is_same_inode(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Converts a time of the file system to nanoseconds since 1970. Times out of range wrap around instead of being
/// clamped, so that different times stay different.
pub(crate) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.wrapping_mul(SECOND_NS).wrapping_add(nanoseconds)
}

fn margin(time_ns: i64) -> i64 {
    match time_ns % SECOND_NS {
        0 => COARSE_MARGIN_NS,
        _ => MARGIN_NS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: i64 = 1_700_000_000_000_000_001;

    fn stamp() -> Stamp {
        Stamp {
            size: 1,
            mtime_ns: 1_600_000_000_000_000_001,
            ctime_ns: NOW,
            inode: 1,
            device: 1,
        }
    }

    fn set_modified(file: &Path, time: std::time::SystemTime) {
        let file = std::fs::File::options().append(true).open(file).unwrap();
        file.set_modified(time).unwrap();
    }

    #[test]
    fn a_digest_survives_its_text() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("abc".parse::<Digest>().is_err());
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp {
            size: u64::MAX,
            mtime_ns: -1,
            ctime_ns: i64::MIN,
            inode: 7,
            device: 1 << 40,
        };
        let bytes = postcard::to_allocvec(&stamp).unwrap();
        assert_eq!(postcard::from_bytes::<Stamp>(&bytes).unwrap(), stamp);
        // The encoding is a length and exactly that many bytes.
        assert_eq!(bytes.len(), 1 + STAMP_BYTES);
        let short = postcard::to_allocvec(&bytes[1..STAMP_BYTES]).unwrap();
        assert!(postcard::from_bytes::<Stamp>(&short).is_err());
    }

    #[test]
    fn a_fresh_stamp_proves_nothing() {
        let stamp = stamp();
        assert!(!stamp.proves(NOW + 49_000_000, &stamp), "changed just now");
        assert!(stamp.proves(NOW + 51_000_000, &stamp));
        let coarse = Stamp {
            ctime_ns: 1_700_000_000_000_000_000,
            ..stamp
        };
        assert!(!coarse.proves(NOW + 1_900_000_000, &coarse));
        assert!(coarse.proves(NOW + 2_100_000_000, &coarse));
        // A change time that is older than the modification time is not relied on alone.
        let written = Stamp {
            mtime_ns: NOW + 100_000_000,
            ..stamp
        };
        assert!(!written.proves(NOW + 101_000_000, &written));
        let future = Stamp {
            mtime_ns: NOW + 1_000_000_000_000,
            ..stamp
        };
        assert!(future.proves(NOW + 101_000_000, &future));
    }

    #[test]
    fn a_record_without_a_change_time_proves_nothing() {
        let old = Stamp {
            ctime_ns: 0,
            ..stamp()
        };
        assert!(!old.proves(NOW + 51_000_000, &old));
        assert!(!Stamp::NONE.proves(i64::MAX, &Stamp::NONE));
    }

    #[test]
    fn another_file_with_the_size_and_times_of_the_first_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let of = || Stamp::of(&std::fs::metadata(&file).unwrap());
        for time in [
            UNIX_EPOCH + Duration::new(1_500_000_000, 5),
            UNIX_EPOCH,
            UNIX_EPOCH - Duration::new(1_000, 500),
            UNIX_EPOCH + Duration::from_secs(4_000_000_000),
        ] {
            std::fs::write(&file, "one").unwrap();
            set_modified(&file, time);
            let before = of();
            // The clock of the file system has a limited resolution.
            while of().ctime_ns == before.ctime_ns {
                std::fs::write(&file, "two").unwrap();
                set_modified(&file, time);
            }
            assert_eq!(of().mtime_ns, before.mtime_ns, "{time:?}");
            assert!(!before.proves(i64::MAX, &of()), "{time:?}");
        }
    }

    #[test]
    fn times_before_1970_differ() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let of = |seconds| {
            set_modified(&file, UNIX_EPOCH - Duration::new(seconds, 250_000_000));
            Stamp::of(&std::fs::metadata(&file).unwrap()).mtime_ns
        };
        assert_eq!(of(3), -3_250_000_000);
        assert_eq!(of(4), -4_250_000_000);
        assert_ne!(
            nanoseconds(20_000_000_000, 0),
            nanoseconds(20_000_000_001, 0)
        );
    }

    #[test]
    fn an_own_move_needs_no_second_look_when_the_last_write_is_old() {
        let moved_ns = NOW;
        let before = Stamp {
            ctime_ns: 1_600_000_000_000_000_001,
            ..stamp()
        };
        let after = stamp();
        let recorded_ns = before.recorded_after_move(moved_ns, &after);
        assert!(after.proves(recorded_ns, &after));
        let written = Stamp {
            mtime_ns: NOW + 3,
            ..after
        };
        let recorded_ns = before.recorded_after_move(moved_ns, &written);
        assert!(!written.proves(recorded_ns, &written), "written meanwhile");
        let young = Stamp {
            mtime_ns: NOW - 1_000,
            ..before
        };
        let after = Stamp {
            ctime_ns: NOW,
            ..young
        };
        let recorded_ns = young.recorded_after_move(moved_ns, &after);
        assert!(!after.proves(recorded_ns, &after), "staged just now");
    }
}

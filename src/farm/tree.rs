//! The input root of an action, as a Merkle tree of the Remote Execution API: directories are messages that name the digests
//! of what they hold.

use std::collections::BTreeMap;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use prost::Message;

use crate::remote::sha256;

/// A message or a file, with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// The digest.
    pub digest: api::Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Returns bytes with their digest.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest_of(&bytes),
            bytes,
        }
    }

    /// Returns a message with its digest.
    pub(crate) fn of(message: &impl Message) -> Self {
        Self::new(message.encode_to_vec())
    }
}

/// Returns the digest of bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> api::Digest {
    api::Digest {
        hash: sha256(bytes),
        size_bytes: bytes.len() as i64,
    }
}

/// A file of an input root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputFile {
    /// Its content.
    pub blob: Blob,
    /// Whether it may be executed.
    pub is_executable: bool,
}

/// A directory that is being put together.
#[derive(Debug, Default)]
struct Node {
    files: BTreeMap<String, api::FileNode>,
    dirs: BTreeMap<String, Node>,
}

/// Returns the digest of the directory with these files, by path, and everything that has to be sent: each file and each
/// directory once.
pub(crate) fn tree(files: BTreeMap<String, InputFile>) -> (api::Digest, Vec<Blob>) {
    let mut root = Node::default();
    let mut blobs: BTreeMap<String, Blob> = BTreeMap::new();
    for (path, file) in files {
        let mut node = &mut root;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                node = node.dirs.entry(part.to_owned()).or_default();
                continue;
            }
            let entry = api::FileNode {
                name: part.to_owned(),
                digest: Some(file.blob.digest.clone()),
                is_executable: file.is_executable,
                ..Default::default()
            };
            node.files.insert(part.to_owned(), entry);
        }
        blobs.insert(file.blob.digest.hash.clone(), file.blob);
    }
    let digest = root.finish(&mut blobs);
    (digest, blobs.into_values().collect())
}

impl Node {
    /// Adds the messages of the directory and of those below it. Returns its digest.
    fn finish(self, blobs: &mut BTreeMap<String, Blob>) -> api::Digest {
        let directories = self.dirs.into_iter();
        let directories = directories.map(|(name, node)| api::DirectoryNode {
            name,
            digest: Some(node.finish(blobs)),
        });
        // Names are sorted, as the digest demands.
        let directory = api::Directory {
            directories: directories.collect(),
            files: self.files.into_values().collect(),
            ..Default::default()
        };
        let blob = Blob::of(&directory);
        let digest = blob.digest.clone();
        blobs.insert(digest.hash.clone(), blob);
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> InputFile {
        InputFile {
            blob: Blob::new(text.into()),
            is_executable: false,
        }
    }

    #[test]
    fn equal_files_make_equal_trees_and_are_sent_once() {
        let files = |second: &str| {
            let files = [("a/x", "1"), ("a/b/y", "1"), ("z", second)];
            let files = files.map(|(path, text)| (path.to_owned(), file(text)));
            BTreeMap::from(files)
        };
        let (one, blobs) = tree(files("2"));
        let (again, _) = tree(files("2"));
        let (other, _) = tree(files("3"));
        assert_eq!(one, again);
        assert_ne!(one, other);
        // Two contents and the directories ``, `a` and `a/b`.
        assert_eq!(blobs.len(), 5);
        for blob in &blobs {
            assert_eq!(blob.digest, digest_of(&blob.bytes));
        }
        let root = blobs.iter().find(|blob| blob.digest == one).unwrap();
        let root = api::Directory::decode(&*root.bytes).unwrap();
        assert_eq!((root.directories.len(), root.files.len()), (1, 1));
    }

    #[test]
    fn names_are_in_the_order_of_their_bytes() {
        let names = ["b", "a.x", "a", "B", "ä", "a-"];
        let files = names.map(|name| (name.to_owned(), file(name)));
        let (digest, blobs) = tree(BTreeMap::from(files));
        let root = blobs.iter().find(|blob| blob.digest == digest).unwrap();
        let root = api::Directory::decode(&*root.bytes).unwrap();
        let found: Vec<&str> = root.files.iter().map(|file| &*file.name).collect();
        let mut sorted = names;
        sorted.sort_unstable();
        assert_eq!(found, sorted);
    }

    #[test]
    fn nothing_is_a_directory_too() {
        let (digest, blobs) = tree(BTreeMap::new());
        assert_eq!((digest.size_bytes, blobs.len()), (0, 1));
    }
}

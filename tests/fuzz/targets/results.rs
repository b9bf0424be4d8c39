//! Archives of cached results.

use clm::testing::digest::Digest;
use clm::testing::store::Store;
use clm::testing::store::archive::{ArchiveError, unpack};

/// What an archive may unpack to here.
const LIMIT: u64 = 1 << 20;
/// The result that archives have.
const CONTENT: &str = "content";

/// The first byte chooses what the rest is: the archive, its tar archive, its manifest, or its records with a manifest
/// that fits. What is not refused can be imported, and is whole then.
pub fn results(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let archive = match kind {
        b'z' => rest.to_vec(),
        b'm' => packed(&[entry("manifest.json", rest), entry("records.jsonl", b"")].concat()),
        b'r' => packed(&with_records(rest)),
        _ => packed(rest),
    };
    let dir = tempfile::tempdir().unwrap();
    let staging = dir.path().join("staging");
    std::fs::create_dir(&staging).unwrap();
    let staged = match unpack(&*archive, &staging, LIMIT) {
        Ok(staged) => staged,
        Err(ArchiveError::Refused(refusal)) => {
            assert!(!refusal.to_string().is_empty());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let sizes = std::fs::read_dir(&staging).unwrap();
    let sizes = sizes.map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() <= LIMIT);
    let (store, _) = Store::open(&dir.path().join("state")).unwrap();
    let first = store.import(&staged).unwrap();
    let again = store.import(&staged).unwrap();
    assert!(
        again.added == 0 && again.known >= first.added,
        "{first:?} {again:?}"
    );
    let verified = store.verify().unwrap();
    assert_eq!((verified.damaged, verified.missing), (0, 0));
}

fn with_records(records: &[u8]) -> Vec<u8> {
    let part = |bytes: &[u8]| {
        let (digest, size) = (Digest::of(bytes), bytes.len());
        format!("{{\"digest\":\"{digest}\",\"size\":{size}}}")
    };
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    // The version of the records, which changes with them, is that of a new store.
    let manifest = format!(
        "{{\"format\":\"clm cache\",\"version\":1,\"schema\":{},\"platform\":\"{platform}\",\
         \"records\":{},\"blobs\":[{}]}}",
        clm::testing::store::archive::SCHEMA,
        part(records),
        part(CONTENT.as_bytes())
    );
    let digest = Digest::of(CONTENT).to_string();
    [
        entry("manifest.json", manifest.as_bytes()),
        entry("records.jsonl", records),
        entry(
            &format!("blobs/{}/{}", &digest[..2], &digest[2..]),
            CONTENT.as_bytes(),
        ),
    ]
    .concat()
}

fn entry(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend_from_slice(bytes);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn packed(tar: &[u8]) -> Vec<u8> {
    zstd::encode_all(&*[tar, &[0; 1024]].concat(), 1).unwrap()
}
